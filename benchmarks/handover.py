"""`python -m benchmarks.handover`: how long a handover interrupts a UDP stream and a TCP transfer, by the delay of the radio."""

import sys
from typing import Any

from benchmarks import guests
from benchmarks.network import plan_of
from benchmarks.tables import Row, Table
from insitu.vm.kernel import Kernel, find_or_build
from scenarios import plan as plans

RADIO_MS = (1, 4, 10, 20)
TARGET_MS = 20.0  # beside the radio's delay
SCENARIO = """
name: interruptions
duration: 20 s
network:
  core: {rate: 10 Gbit/s, delay: 5 ms}
  regions:
    - name: west
      link: {rate: 10 Gbit/s, delay: 3 ms}
      gnbs:
        - {name: a, link: {rate: 10 Gbit/s, delay: 1 ms}, radio: {rate: 100 Mbit/s, delay: DELAY ms}}
        - {name: b, link: {rate: 10 Gbit/s, delay: 2 ms}, radio: {rate: 100 Mbit/s, delay: DELAY ms}}
slices: [{name: gold, guarantee: 50 %}, {name: default}]
devices:
  - {name: rover, at: a, slice: gold, route: {1 s: b, 2 s: a, 3 s: b, 4 s: a, 5 s: b, 6 s: a}}
"""
NOTE = (
    "Two cells of 100 Mbit/s at one region, everything from the central site, 9 or 10 ms and the radio away. UDP: a datagram each "
    "ms; the longest time between two that arrived, and those that never did. TCP: as fast as it can; the longest time without a "
    "byte, and what was missing in the first second, as a time at the rate of its second half. Limit: the longest time between two "
    f"datagrams is under {TARGET_MS:.0f} ms and the radio's delay."
)


def measured(kernel: Kernel, radio_ms: int) -> list[dict[str, Any]]:
    """Raises MachineError, and RuntimeError with the program's last words."""
    plan = plans.canonical(plan_of(SCENARIO.replace("DELAY", str(radio_ms))))
    command = [guests.PROGRAMS / "interruptions.py"]
    rows: list[dict[str, Any]] = guests.result(kernel, command, {"plan.json": plan})["rows"]
    return rows


def row(radio_ms: int, found: dict[str, Any]) -> Row:
    udp, tcp = found["udp"], found["tcp"]
    what = "prepared" if found["told"] else "without a word to the controller"
    what += ", with a session" if found["session"] else ""
    figures = (udp["gap_ms"], tcp["silent_ms"], tcp["missed_ms"])
    gap, silent, missed = (f"{figure:.1f}" for figure in figures)
    cells = (f"{radio_ms} ms", what, gap, str(udp["lost"]), silent, missed)
    return Row(cells, udp["gap_ms"] < TARGET_MS + radio_ms)


def main() -> int:
    kernel = find_or_build(lambda line: print(line, file=sys.stderr))
    rows = [row(radio_ms, found) for radio_ms in RADIO_MS for found in measured(kernel, radio_ms)]
    columns = ("radio", "handover", "UDP gap, ms", "datagrams lost", "TCP silent, ms", "TCP missed, ms")
    table = Table("Interruption by a handover", NOTE, columns, rows)
    print(table.markdown())
    return 1 if table.misses else 0


if __name__ == "__main__":
    sys.exit(main())
