"""How many bytes a TCP connection brings by when: slow start, then the link's rate. Pure, and the same on every processor."""

import math
from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SEGMENT = 1448  # bytes of payload in a full frame
FRAME = 1514  # bytes of that frame, as links count them
FIRST_WINDOW = 10 * SEGMENT  # RFC 6928
Times = NDArray[np.float64]


def payload_bps(rate_bps: int) -> int:
    """What TCP can carry at a rate of frames."""
    return rate_bps * SEGMENT // FRAME


class Channel(NamedTuple):
    """A path's rate, in bit/s of frames, and what it takes a packet there and back."""

    rate_bps: int
    round_trip_ns: int

    def bytes_within(self, times_ns: Times) -> NDArray[np.float64]:
        """The payload that has arrived at each time [N] after the sender began.

        A window leaves each round trip, twice as large as the one before (RFC 5681, section 3.1), until it fills the path; the
        path is a link at its rate, without loss, and each window's first byte travels for half a round trip.
        """
        if not self.rate_bps:
            return np.zeros_like(times_ns)
        begins, before, windows = self._windows()
        rounds = np.maximum(np.searchsorted(begins, times_ns, "right") - 1, 0)
        passed = np.maximum(times_ns - np.take(begins, rounds), 0)
        arrived: NDArray[np.float64] = np.take(before, rounds) + np.minimum(
            self._bytes_per_ns() * passed, np.take(windows, rounds)
        )
        return np.floor(arrived)

    def bytes_by(self, time_ns: float) -> float:
        """The same for one time, which takes less."""
        if not self.rate_bps:
            return 0.0
        begins, before, windows = self._windows()
        number = max(bisect_right(begins, time_ns) - 1, 0)
        passed = max(time_ns - begins[number], 0.0)
        return float(math.floor(before[number] + min(self._bytes_per_ns() * passed, windows[number])))

    def _bytes_per_ns(self) -> float:
        return self.rate_bps / 8 * SEGMENT / FRAME / 1e9

    def _windows(self) -> tuple[list[float], list[float], list[float]]:
        """Of each round trip until the path is full: when it begins to arrive, what came before, and its bytes."""
        filling = self._bytes_per_ns() * self.round_trip_ns
        begins, before, windows = [self.round_trip_ns / 2], [0.0], [float(FIRST_WINDOW)]
        while windows[-1] < filling:
            begins.append(begins[-1] + self.round_trip_ns)
            before.append(before[-1] + windows[-1])
            windows.append(2 * windows[-1])
        windows[-1] = math.inf
        return begins, before, windows
