"""How exact the network is: measures everything beside theory and writes docs/fidelity.md. `python -m benchmarks.fidelity [WORD…]`

WORDs choose the cases whose names contain one of them; their tables are only printed. Exit status 1: a limit was missed.
"""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import datapath, guests, impairments, round_trips, startup, throughput
from benchmarks.cases import Section
from benchmarks.network import SEED
from benchmarks.tables import Row, Table
from insitu.vm.kernel import Kernel, find_or_build
from insitu.vm.process import cleaning_up_on_signals

PAGE = guests.PROJECT / "docs" / "fidelity.md"
VERDICTS = guests.PROJECT / "docs" / "fidelity.json"
INTRODUCTION = """# Fidelity

What the network does beside what theory says, measured in the guest with the virtual clock. `make fidelity` writes this page
again; it takes under half an hour on 2 cores and ends with an error when a limit is missed. The figures do not depend on how
busy the machine is, except in tables that say "wall time".
"""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(chosen: Sequence[Section], kernel: Kernel) -> list[Table]:
    """All cases of all sections, as many guests at once as there are cores."""
    cases = [case for section in chosen for case in section.cases]
    answers = guests.run_all(kernel, [order for case in cases for order in case.orders], say)
    rows: dict[str, list[Row]] = {}
    for case in cases:
        mine, answers = answers[: len(case.orders)], answers[len(case.orders) :]
        rows[case.name] = case.judge([answer for order in mine for answer in order])
    return [Table(s.title, s.note, s.columns, [row for case in s.cases for row in rows[case.name]]) for s in chosen]


def wall_time_tables() -> list[Table]:
    """The other benchmarks' tables, one guest at a time."""
    say("start-up times, speed of the data path")
    return [startup.table(), *datapath.tables(rounds=3)]


def conditions(kernel: Kernel) -> str:
    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]

    parts = {
        "guest": f"Linux {kernel.version}, User-Mode Linux, virtual clock, {guests.MEMORY_MB} MB of memory",
        "seed": str(SEED),
        "iperf3": said("iperf3", "--version").removeprefix("iperf ").split(" ")[0],
        "ping": said("ping", "-V").removeprefix("ping from "),
        "tc": said("tc", "-V").split(",")[1].strip(),
        "Open vSwitch": said("ovs-vswitchd", "--version").split()[-1],
        "Mininet": said("mn", "--version").strip() or "2.3.0",
        "Python": platform.python_version(),
    }
    return "Conditions: " + "; ".join(f"{what} {value}" for what, value in parts.items()) + ".\n"


def page(tables: Sequence[Table], kernel: Kernel) -> str:
    misses = sum(table.misses for table in tables)
    judged = sum(row.holds is not None for table in tables for row in table.rows)
    verdict = f"{judged - misses} of {judged} figures are within their limits.\n"
    return "\n".join([INTRODUCTION, conditions(kernel), verdict, *(table.markdown() for table in tables)])


def verdicts(tables: Sequence[Table]) -> str:
    """For machines: every row with its limit, but no wall times."""
    found = [
        {"table": table.title, **dict(zip(table.columns, row.cells, strict=True)), "holds": row.holds}
        for table in tables
        if not table.wall
        for row in table.rows
    ]
    return json.dumps(found, indent=0, ensure_ascii=False) + "\n"


def sections() -> list[Section]:
    return [
        throughput.goodput(),
        round_trips.idle(),
        round_trips.saturated(),
        impairments.chance(),
        impairments.queues(),
        throughput.long_path(),
    ]


def chosen_sections(words: Sequence[str]) -> list[Section]:
    def wanted(name: str) -> bool:
        return not words or any(word in name for word in words)

    every = [Section(s.title, s.note, s.columns, [case for case in s.cases if wanted(case.name)]) for s in sections()]
    return [section for section in every if section.cases]


def main() -> int:
    words = sys.argv[1:]
    start = time.monotonic()
    with cleaning_up_on_signals():
        kernel = find_or_build(say)
        tables = measure(chosen_sections(words), kernel) + ([] if words else wall_time_tables())
    if words:
        print("\n".join(table.markdown() for table in tables))
    else:
        PAGE.write_text(page(tables, kernel))
        VERDICTS.write_text(verdicts(tables))
    say(f"{time.monotonic() - start:.0f} s")
    misses = sum(table.misses for table in tables if not table.wall)  # a busy machine is not insitu's fault
    if misses:
        say(f"{misses} figures are outside their limits")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
