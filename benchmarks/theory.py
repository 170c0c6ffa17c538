"""What a network of ideal links does, and whether a sample fits it. Pure: no I/O, no randomness.

Times are ns, rates bit/s, sizes bytes of the Ethernet frame without preamble and gap (as the kernel counts them).
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

SECOND = 1_000_000_000
ETHERNET, IP, UDP, ICMP, TCP = 14, 20, 8, 8, 32  # headers; TCP's with time stamps (RFC 7323, appendix A)
FULL_FRAME = ETHERNET + 1500
CONFIDENCE = 0.99


class Line(NamedTuple):
    """One direction of one link."""

    rate_bps: int
    delay_ns: float


class Verdict(NamedTuple):
    """How likely a sample this far from what was set, or farther, is: below 1 % it does not fit."""

    p_value: float

    @property
    def fits(self) -> bool:
        return self.p_value >= 1 - CONFIDENCE


def tcp_goodput(rate_bps: float) -> float:
    """Payload of full frames: 1448 of every 1514 bytes (RFC 9293 and RFC 7323: MSS 1460 less 12 bytes of time stamps)."""
    return rate_bps * (FULL_FRAME - ETHERNET - IP - TCP) / FULL_FRAME


def udp_goodput(rate_bps: float, payload: int) -> float:
    """Payload over frame (RFC 768, RFC 791)."""
    return rate_bps * payload / (payload + UDP + IP + ETHERNET)


def udp_goodput_in_fragments(rate_bps: float, payload: int, frames: int) -> float:
    """A datagram that IP cuts into `frames` (RFC 791, 3.2): each has its own headers, the first that of UDP too."""
    return rate_bps * payload / (payload + UDP + frames * (IP + ETHERNET))


def serialisation(rate_bps: float, frame: int) -> float:
    """The time in which a frame is put on a line."""
    return frame * 8 * SECOND / rate_bps


def one_way(path: Sequence[Line], frame: int) -> float:
    """Store and forward: every hop sends the whole frame anew (Kurose & Ross, Computer Networking, 1.4: d_trans + d_prop)."""
    return sum(line.delay_ns + serialisation(line.rate_bps, frame) for line in path)


def longest_wait(path: Sequence[Line], frame: int = FULL_FRAME) -> float:
    """How long a packet of a slice with room waits at most for others' packets: one at each hop that has just begun to be sent.

    The non-preemptive priority queue's residual service (Kleinrock, Queueing Systems II, 3.3). A line that interleaves slices
    packet by packet gives between 0 and this, half of it on average when the phases are independent.
    """
    return sum(serialisation(line.rate_bps, frame) for line in path)


class Passage(NamedTuple):
    """When a packet has left a line; None if it was dropped."""

    accepted: bool
    left_ns: float | None


def fifo(
    arrivals: Sequence[float],
    frames: Sequence[int],
    line: Line,
    limit: int,
    *,
    in_bytes: bool = False,
    until: Literal["sent", "arrived", "begun"] = "sent",
) -> list[Passage]:
    """A drop-tail FIFO of `limit` packets (or bytes) before a line: Lindley's recursion (Lindley 1952) with a finite room.

    A packet takes room until it is sent; until it has arrived, as in one netem; or only until its sending has begun.
    """
    passages: list[Passage] = []
    held: list[tuple[float, int]] = []  # (when it makes room, how much), earliest first
    free = -math.inf  # when the line has sent what it holds
    for arrival, frame in zip(arrivals, frames, strict=True):
        held = [entry for entry in held if entry[0] > arrival]
        size = frame if in_bytes else 1
        if sum(taken for _, taken in held) + size > limit:
            passages.append(Passage(False, None))
            continue
        begun = max(free, arrival)
        free = begun + serialisation(line.rate_bps, frame)
        held.append(({"begun": begun, "sent": free, "arrived": free + line.delay_ns}[until], size))
        passages.append(Passage(True, free + line.delay_ns))
    return passages


class Gilbert(NamedTuple):
    """Gilbert–Elliott: a chain of a good and a bad state, each with its loss (Elliott 1963; as in tc-netem(8)).

    `enter` and `leave` are the chances, at each packet, to go into and out of the bad state.
    """

    enter: float
    leave: float
    loss_bad: float = 1.0
    loss_good: float = 0.0

    @property
    def bad(self) -> float:
        """The share of packets that find the bad state: enter / (enter + leave)."""
        return self.enter / (self.enter + self.leave)

    @property
    def loss(self) -> float:
        return self.bad * self.loss_bad + (1 - self.bad) * self.loss_good

    def deviation(self, packets: int) -> float:
        """The standard deviation of the number of losses among `packets` in the steady state.

        Losses at a distance k have the covariance (loss_bad - loss_good)² bad (1 - bad) (1 - enter - leave)^k.
        """
        step = (self.loss_bad - self.loss_good) ** 2 * self.bad * (1 - self.bad)
        keep = 1 - self.enter - self.leave
        k = np.arange(1, packets)
        return math.sqrt(packets * self.loss * (1 - self.loss) + 2 * float(np.sum((packets - k) * step * keep**k)))

    def interval(self, packets: int) -> tuple[float, float]:
        """The 99 % interval of the number of losses (central limit theorem of Markov chains)."""
        spread = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * self.deviation(packets)
        return packets * self.loss - spread, packets * self.loss + spread


def count_interval(share: float, packets: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of the number of packets that meet with something of that chance: the binomial distribution's."""
    low, high = stats.binom.interval(confidence, packets, share)
    return float(low), float(high)


def run_lengths(lost: Sequence[bool]) -> list[int]:
    """How many packets each burst of losses took; a burst at either end, which may be cut, is left out."""
    runs: list[int] = []
    length = 0
    for before, now in zip([True, *lost], lost, strict=False):
        if now:
            length += 1
        elif before and length:
            runs.append(length)
            length = 0
    first = 1 if lost and lost[0] and runs else 0
    return runs[first:]


def geometric_fits(lengths: Sequence[int], leave: float) -> Verdict:
    """Pearson's chi² test that lengths 1, 2, … have the chances leave·(1 - leave)^(n-1).

    The tail is one cell, from the first length on that is expected less than 5 times (Cochran 1954).
    """
    total = len(lengths)
    cells = max(1, sum(1 for _ in _while_expected(total, leave)))
    counted = Counter(min(length, cells + 1) for length in lengths)
    expected = [total * leave * (1 - leave) ** (n - 1) for n in range(1, cells + 1)]
    observed = [counted[n] for n in range(1, cells + 2)]
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, [*expected, total - sum(expected)], strict=True) if e)
    return Verdict(float(stats.chi2.sf(statistic, cells)))


def _while_expected(total: int, leave: float) -> Sequence[int]:
    lengths = []
    n = 1
    while total * leave * (1 - leave) ** (n - 1) >= 5 and total * (1 - leave) ** n >= 5:
        lengths.append(n)
        n += 1
    return lengths


Distribution = Callable[[np.ndarray], np.ndarray]


def distribution_fits(sample: Sequence[float], distribution: Distribution) -> Verdict:
    """Kolmogorov–Smirnov's test of a sample against a cumulative distribution function."""
    return Verdict(float(stats.kstest(sample, distribution).pvalue))


def uniform(centre: float, spread: float) -> Distribution:
    """Between centre - spread and centre + spread: netem's jitter without a distribution (sch_netem.c, tabledist)."""
    cdf: Distribution = stats.uniform(centre - spread, 2 * spread).cdf
    return cdf


def normal(centre: float, spread: float) -> Distribution:
    cdf: Distribution = stats.norm(centre, spread).cdf
    return cdf


def pareto(centre: float, spread: float) -> Distribution:
    """iproute2's table (netem/pareto.c): centre + spread · 4/3 · (X - 3/2), X Pareto-distributed with shape 3, cut at 4 spreads."""

    def cdf(value: np.ndarray) -> np.ndarray:
        scaled = (np.asarray(value) - centre) / spread
        below = stats.pareto(3).cdf(scaled * 3 / 4 + 1.5)
        return np.where(scaled >= 4, 1.0, below)

    return cdf


def table(centre: float, spread: float, entries: Sequence[int]) -> Distribution:
    """A table as tc reads it: each entry as likely, in units of 1/8192 of the spread (NETEM_DIST_SCALE)."""
    points = np.sort(np.asarray(entries))

    def cdf(value: np.ndarray) -> np.ndarray:
        scaled = (np.asarray(value) - centre) / spread * 8192
        # netem rounds to whole ns: half a step more, so that a value is not below the entry that it came of
        return np.searchsorted(points, scaled + 8192 / spread, side="right") / len(points)

    return cdf
