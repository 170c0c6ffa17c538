"""How long a UDP stream from the central site to a phone is interrupted by faults, with a second way to the phone and without.

`python -m benchmarks.failures` prints a table in Markdown. Times are virtual, so every run gives the same.
"""

import sys
from typing import Any

from benchmarks import guests
from benchmarks.network import plan_of
from benchmarks.tables import Row, Table
from insitu.vm.kernel import Kernel, find_or_build
from scenarios import plan as plans

MOST_MS = 50.0
DOWN_MS = 500.0
TREE = """
name: failing
network:
  regions:
    - name: west
      link: {rate: 1 Gbit/s, delay: 5 ms}
      gnbs: [{name: quad, link: {rate: 1 Gbit/s, delay: 1 ms}, radio: {rate: 100 Mbit/s, delay: 2 ms}}]
    - {name: east, link: {rate: 1 Gbit/s, delay: 5 ms}, gnbs: [{name: market}]}
slices: [{name: gold, guarantee: 50 %, profiles: [one]}, {name: default}]
profiles: [{name: one, down: 1 Mbit/s, up: 80 kbit/s}]
devices: [{name: phone, at: quad, slice: gold}]
"""
MESH = TREE.replace("slices:", "  links: [{from: quad, to: east, rate: 1 Gbit/s, delay: 8 ms}]\nslices:", 1)
WHAT = {"link": "link west-link", "switch": "switch west", "controller": "controller killed"}


def measured(kernel: Kernel, scenario: str) -> dict[str, Any]:
    """Of each fault the stream's gaps (ms since the fault, ms long), and datagrams lost. Raises RuntimeError, MachineError."""
    command, plan = [guests.TESTS_PROGRAMS / "failures.py"], plans.canonical(plan_of(scenario))
    faults: dict[str, Any] = guests.result(kernel, command, {"plan.json": plan})["faults"]
    return faults


def rows(way: str, faults: dict[str, Any], has_limit: bool) -> list[Row]:
    made = []
    for fault, name in WHAT.items():
        seen = faults[fault]
        gaps = (
            seen["gaps"] if seen["lost"] else []
        )  # the sender shares its process with who starts controllers, and may be late
        longest = max((length for _, length in gaps), default=0.0)
        cells = (name, way, f"{longest:.0f}", str(seen["lost"]), str(len(gaps)))
        made.append(Row(cells, longest < MOST_MS if has_limit or fault == "controller" else None))
    return made


def main() -> int:
    kernel = find_or_build(lambda line: print(line, file=sys.stderr))
    table = Table(
        "Faults",
        f"A datagram each millisecond from `central` to `phone`, 13 ms away by `west`, 20 ms by `east`; each fault lasts "
        f"{DOWN_MS:.0f} ms. Interrupted: the longest time between two arrivals, under {MOST_MS:.0f} ms where there is "
        "another way. Gaps: those when something fails and those when it comes back.",
        ("fault", "another way", "interrupted, ms", "lost", "gaps"),
        [*rows("yes", measured(kernel, MESH), True), *rows("no", measured(kernel, TREE), False)],
    )
    print(table.markdown())
    return int(table.misses > 0)


if __name__ == "__main__":
    sys.exit(main())
