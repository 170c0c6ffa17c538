"""Do slices and sessions hold? `python -m benchmarks.slices` floods every class of a port and prints docs/slices.md's tables.

Three slices: gold with 40 % of the link, silver with 30 % and a ceiling of 50 %, default with 30 % and a priority after theirs.
Sessions share nine tenths of gold's guarantee; its default class keeps the rest.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks import guests
from benchmarks.tables import Row, Table
from insitu.vm.kernel import Kernel, find_or_build
from insitu.vm.process import cleaning_up_on_signals

DEFAULT, GOLD, SILVER, FIRST = 0, 1, 2, 64  # queues
KEPT, OVER, LATER = (
    0.97,
    1.01,
    1.10,
)  # of a guarantee at least, of a ceiling at most, of a download's time alone at most
OVERLOAD = 1.3  # of its guarantee sends each class
PINGS = {"count": 200, "gap_ns": 311_117}  # a time that no frames have
DOWNLOAD_S = 0.05  # so much of a session's rate is a small download
SCENARIO = """
name: slices
network:
  core: {{rate: 40 Gbit/s, delay: 10 us}}
  regions:
    - name: west
      link: {{rate: {rate} bit/s, delay: 1 ms}}
      gnbs: [{{name: a, link: {{rate: 40 Gbit/s, delay: 10 us}}, radio: {{rate: 40 Gbit/s, delay: 10 us}}}}]
slices: [{{name: gold, guarantee: 40 %}}, {{name: silver, guarantee: 30 %, ceiling: 50 %}}, {{name: default, priority: 1}}]
devices: [{{name: phone, at: a}}, {{name: probe, at: a}}]
"""
GUARANTEES = """
Every class of the port sends 1.3 times its guarantee (UDP) or all that it can (TCP): what each slice and session got of its
guarantee (limit: 97 % at least), and how much of the link was used (limit: 101 % at most). Then a session's download of 50 ms of
its rate while all others flood, in times of that alone on a link of the session's rate (limit: 1.10); and the 99th percentile of
200 pings in an idle session while nobody floods, and by how much it grows while all others do. Measured for 0.4 s (1 Gbit/s),
0.1 s (10 Gbit/s) or 0.3 s (10 Gbit/s, 100 sessions) of virtual time.
""".strip()
LENDING = """
Silver and default each send 60 % of the link by UDP. While gold is idle: what silver has of its ceiling (limit: 101 %), and
default of the link. Then gold comes for 50 ms with all of its guarantee, and goes: the least share of the link that is in use in
any 5 ms, and how much later the latest of gold's frames is than when gold comes alone. Last, silver is idle, and gold (priority 0)
and default (priority 1) each send 65 % of the link: what each gets.
""".strip()


@dataclass(frozen=True)
class Case:
    """A link's rate, how many sessions gold has, by what the floods are sent, and how long is measured."""

    rate_bps: int
    sessions: int
    transport: str
    seconds: float

    @property
    def session_bps(self) -> int:
        return self.rate_bps * 36 // 100 // self.sessions // 8 * 8

    @property
    def classes(self) -> dict[int, float]:
        """Each class's guarantee."""
        rate = self.rate_bps
        slices = {DEFAULT: 0.3 * rate, GOLD: 0.4 * rate - self.session_bps * self.sessions, SILVER: 0.3 * rate}
        return slices | {FIRST + n: float(self.session_bps) for n in range(self.sessions)}

    def floods(self, *left_out: int) -> list[dict[str, Any]]:
        return [
            {"queue": queue, "transport": self.transport, "rate_bps": OVERLOAD * guarantee}
            for queue, guarantee in self.classes.items()
            if queue not in left_out
        ]

    def order(self) -> guests.Order:
        """The session FIRST has a download, then pings, while all others send too much; then it sends too much as well."""
        made = [(GOLD, FIRST + n, self.session_bps) for n in range(self.sessions)]
        steps: list[dict[str, Any]] = [
            {"do": "sessions", "sessions": made},
            {"do": "pings_in", "q": FIRST},
            {"do": "pings", **PINGS},
            {"do": "flood", "floods": self.floods(FIRST), "seconds": 0.07, "ping": PINGS},
            {"do": "settle"},
            {
                "do": "flood",
                "floods": self.floods(FIRST),
                "seconds": 0.08,
                "download": {"queue": FIRST, "size": self.size},
            },
            {"do": "settle"},
            {"do": "flood", "floods": self.floods(), "seconds": self.seconds},
        ]
        return guests.Order(str(self), steps, SCENARIO.format(rate=self.rate_bps), program="slicing.py")

    @property
    def size(self) -> int:
        return int(self.session_bps * DOWNLOAD_S / 8)

    def alone(self) -> guests.Order:
        """The same download by a link of the session's rate."""
        steps = [{"do": "downloads", "queue": DEFAULT, "size": self.size}]
        return guests.Order(f"{self}, alone", steps, SCENARIO.format(rate=self.session_bps), program="slicing.py")

    def __str__(self) -> str:
        return f"{self.rate_bps // 10**9} Gbit/s, {self.sessions} sessions, {self.transport}"


class Held(NamedTuple):
    """What came out: shares of guarantees, of the ceilings; a download's time beside that alone; pings' p99, us."""

    slices: Mapping[str, float]
    least_session: float
    most_session: float
    link: float
    download: float
    ping_idle_us: float
    ping_us: float

    @property
    def holds(self) -> bool:
        kept = min(*self.slices.values(), self.least_session) >= KEPT
        return kept and self.link <= OVER and self.download <= LATER


def judged(case: Case, answers: list[Any], alone: list[Any]) -> Held:
    _, _, idle, pinged, _, downloaded, _, flooded = answers
    rates = {int(queue): rate for queue, rate in flooded["rates"].items()}
    sessions = [rates[FIRST + n] / case.session_bps for n in range(case.sessions)]
    gold = rates[GOLD] + sum(share * case.session_bps for share in sessions)
    slices = {"gold": gold / 0.4, "silver": rates[SILVER] / 0.3, "default": rates[DEFAULT] / 0.3}
    return Held(
        slices={name: share / case.rate_bps for name, share in slices.items()},
        least_session=min(sessions),
        most_session=max(sessions),
        link=sum(rates.values()) / case.rate_bps,
        download=downloaded["download_s"][0] / alone[0][0],
        ping_idle_us=idle["p99"],
        ping_us=pinged["ping"]["p99"],
    )


def lending(rate_bps: int) -> guests.Order:
    """Silver and default send all they can; gold comes for a while, at its guarantee. First gold comes alone."""
    gold = {"queue": GOLD, "transport": "udp", "rate_bps": 0.4 * rate_bps, "from_s": 0.15, "to_s": 0.2}
    others = [{"queue": queue, "transport": "udp", "rate_bps": 0.6 * rate_bps} for queue in (SILVER, DEFAULT)]
    rivals = [{"queue": queue, "transport": "udp", "rate_bps": 0.65 * rate_bps} for queue in (GOLD, DEFAULT)]
    steps: list[dict[str, Any]] = [
        {"do": "sessions", "sessions": []},
        {"do": "flood", "floods": [gold], "seconds": 0.15},
        {"do": "settle"},
        {"do": "flood", "floods": [gold, *others], "seconds": 0.15, "bin_s": 0.005},
        {"do": "settle"},
        {"do": "flood", "floods": others, "seconds": 0.15},
        {"do": "settle"},
        {"do": "flood", "floods": rivals, "seconds": 0.15},
    ]
    return guests.Order(f"lending at {rate_bps}", steps, SCENARIO.format(rate=rate_bps), program="slicing.py")


class Lent(NamedTuple):
    """How late the comer's frames were beside when it came alone; the least share of the link in use in any 5 ms; while gold was
    idle, what silver had of its ceiling and default of the link; while silver was, what gold and default had of the link.
    """

    late_us: float
    least_used: float
    silver: float
    default: float
    first: float
    last: float

    @property
    def holds(self) -> bool:
        return self.silver <= OVER


def judged_lending(rate_bps: int, answers: list[Any]) -> Lent:
    _, alone, _, beside, _, idle, _, rivals = answers
    late = beside["late_us"][str(GOLD)] - alone["late_us"][str(GOLD)]
    silver, default = (idle["rates"][str(queue)] / rate_bps for queue in (SILVER, DEFAULT))
    first, last = (rivals["rates"][str(queue)] / rate_bps for queue in (GOLD, DEFAULT))
    return Lent(late, beside["least"] / rate_bps, silver / 0.5, default, first, last)


def cases() -> Iterator[Case]:
    for rate in (10**9, 10**10):
        for sessions in (1, 10, 100):
            for transport in ("udp", "tcp"):
                yield Case(rate, sessions, transport, 0.4 if rate == 10**9 else 0.1 if sessions < 100 else 0.3)


def tables(kernel: Kernel) -> list[Table]:
    every, rates = list(cases()), (10**9, 10**10)
    orders = [case.order() for case in every] + [case.alone() for case in every] + [lending(rate) for rate in rates]
    answers = guests.run_all(kernel, orders, lambda line: print(line, file=sys.stderr, flush=True))
    rows, count = [], len(every)
    for case, found, alone in zip(every, answers, answers[count:], strict=False):
        held = judged(case, found, alone)
        cells = [f"{case.rate_bps // 10**9} Gbit/s", str(case.sessions), case.transport.upper()]
        cells += [
            f"{100 * share:.2f} %"
            for share in (*held.slices.values(), held.least_session, held.most_session, held.link)
        ]
        cells += [f"{held.download:.3f}", f"{held.ping_idle_us:.1f} us", f"{held.ping_us - held.ping_idle_us:+.1f} us"]
        rows.append(Row(tuple(cells), held.holds))
    guarantees = ("link", "sessions", "by", "gold", "silver", "default", "least session", "most", "link used")
    made = [Table("Guarantees", GUARANTEES, (*guarantees, "download", "ping, idle", "flooded"), rows)]
    rows = []
    for rate, found in zip(rates, answers[2 * count :], strict=True):
        lent = judged_lending(rate, found)
        shares = [
            f"{100 * share:.2f} %" for share in (lent.silver, lent.default, lent.least_used, lent.first, lent.last)
        ]
        rows.append(Row((f"{rate // 10**9} Gbit/s", *shares[:3], f"{lent.late_us:.1f} us", *shares[3:]), lent.holds))
    lendings = (
        "link",
        "silver of its ceiling",
        "default",
        "least in use",
        "gold later by",
        "gold, first",
        "default, last",
    )
    return [*made, Table("Lending", LENDING, lendings, rows)]


def main() -> int:
    with cleaning_up_on_signals():
        made = tables(find_or_build(lambda line: print(line, file=sys.stderr)))
    print("\n".join(table.markdown() for table in made))
    print(f"On {os.cpu_count()} CPUs; the figures are of virtual time and do not depend on it.")
    return 1 if sum(table.misses for table in made) else 0


if __name__ == "__main__":
    sys.exit(main())
