"""Set-ups and tear-downs of sessions a second of wall time, over paths of three switches in a network of 20.

`python -m benchmarks.sessions [OPERATIONS [STANDING ...]]` prints a table: first with no session, then beside so many that stand.
The guest has a real clock and one core. Links take next to no time, so that what is measured is what computing takes.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.network import SEED, plan_of
from insitu.vm import machine
from insitu.vm.kernel import find_or_build
from scenarios import plan as plans

PROJECT = Path(__file__).resolve().parent.parent
PROGRAMS = (PROJECT / "benchmarks" / "guest", PROJECT / "tests" / "guest" / "programs")
REGIONS = {"west": 3, "north": 3, "south": 2}  # with so many gNBs; with each one's cell, and the core, 20 switches
STANDING, CLIENTS = [0, 2000], [1, 2, 8]


def scenario() -> str:
    names = [f"{region}-{number}" for region, gnbs in REGIONS.items() for number in range(gnbs)]
    link = "{rate: 10 Gbit/s, delay: 1 us}"
    regions = [
        f"{{name: {region}, link: {link}, gnbs: [{', '.join(f'{{name: {n}}}' for n in names if n.startswith(region))}]}}"
        for region in REGIONS
    ]
    devices = [f"{{name: ue-{name}, count: 3, at: {name}, slice: models}}" for name in names]
    return f"""
name: churn
network: {{regions: [{", ".join(regions)}]}}
slices: [{{name: models, guarantee: 50 %, profiles: [small]}}, {{name: default}}]
devices: [{", ".join(devices)}]
profiles: [{{name: small, down: 50 kbit/s, up: 10 kbit/s}}]
policies: {{slicing: deadline}}
"""


def main() -> None:
    operations, *standing = map(int, sys.argv[1:] or ["400"])
    plan = plan_of(scenario())
    plan = msgspec.structs.replace(plan, machine=msgspec.structs.replace(plan.machine, clock="real"))
    with tempfile.TemporaryDirectory(prefix="insitu-sessions-") as folder:
        out = Path(folder)
        (out / "plan.json").write_bytes(plans.canonical(plan))
        order = {"operations": operations, "standing": [0, *standing] if standing else STANDING, "clients": CLIENTS}
        (out / "order.json").write_text(json.dumps(order))
        guest = machine.Machine(find_or_build(print), SEED, "real", plan.machine.memory_mb)
        path = os.pathsep.join(map(str, (PROJECT, *PROGRAMS)))
        command = [sys.executable, str(PROGRAMS[0] / "sessions.py")]
        if machine.run(guest, command, out, wall_limit_s=900, cwd=PROJECT, env={"PYTHONPATH": path}):
            raise SystemExit((out / "logs" / "command.log").read_text()[-3000:])
        runs = json.loads((out / "result.json").read_text())["runs"]
    print(f"{len(plan.switches)} switches, {len(plan.links)} links, paths of 3 switches; wall time, one core")
    print("set-ups and tear-downs a second; processor time of the controller and of Open vSwitch for one")
    print("| sessions that stand | clients at once | a second | a set-up, median | p99 | controller | switches |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for run in runs:
        up = sorted(run["up_s"])
        median, late = up[len(up) // 2] * 1e3, up[len(up) * 99 // 100] * 1e3
        controller, switches = (run["cpu_s"][name] / len(up) * 1e3 for name in ("controller", "switches"))
        about = f"| {run['standing']} | {run['clients']} | {len(up) / run['whole_s']:.0f} | {median:.1f} ms | {late:.1f} ms |"
        print(f"{about} {controller:.1f} ms | {switches:.1f} ms |")


if __name__ == "__main__":
    main()
