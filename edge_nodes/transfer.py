"""How many bytes a TCP connection brings by when: slow start, then the link's rate. Pure, and the same on every processor."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SEGMENT = 1448  # bytes of payload in a full frame
FRAME = 1514  # bytes of that frame, as links count them
FIRST_WINDOW = 10 * SEGMENT  # RFC 6928
Times = NDArray[np.float64]


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
        rate = self.rate_bps / 8 * SEGMENT / FRAME / 1e9  # bytes per ns
        filling = rate * self.round_trip_ns
        begins, before, windows = [self.round_trip_ns / 2], [0.0], [float(FIRST_WINDOW)]
        while windows[-1] < filling:
            begins.append(begins[-1] + self.round_trip_ns)
            before.append(before[-1] + windows[-1])
            windows.append(2 * windows[-1])
        windows[-1] = np.inf
        rounds = np.maximum(np.searchsorted(begins, times_ns, "right") - 1, 0)
        passed = np.maximum(times_ns - np.take(begins, rounds), 0)
        arrived: NDArray[np.float64] = np.take(before, rounds) + np.minimum(rate * passed, np.take(windows, rounds))
        return np.floor(arrived)
