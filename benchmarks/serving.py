"""An edge library's throughput beside nginx's, for the same bytes in the same guest: `python -m benchmarks.serving [ROUNDS]`."""

import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.datapath import PATHS, PROJECT
from benchmarks.network import SEED
from benchmarks.tables import Row, Table
from insitu.vm import machine
from insitu.vm.kernel import Kernel, find_or_build
from scenarios import plan as plans
from scenarios.load import load
from scenarios.planner import Published, decide
from tests.unit.builders import manifest_of, publish

SIZE, FILES = 10_000_000, 8
LEAST = 0.8  # of nginx's throughput
SCENARIO = "{name: serving, network: {gnbs: [{name: quad}]}, devices: [{name: phone, at: quad}]}\n"
SERVERS = {"blob": "edge, a file by GET", "stream": "edge, a download's stream"}


def measure(kernel: Kernel, rounds: int) -> dict[tuple[str, ...], list[float]]:
    """MB/s of wall time by server, client, way and connections, one for each round."""
    with tempfile.TemporaryDirectory(prefix="insitu-serving-") as folder:
        out = Path(folder)
        blocks = [bytes([number]) * SIZE for number in range(FILES)]
        models = publish(out / "library", (manifest_of("payload", blocks, whole={"blocks": range(FILES)}), blocks))
        (out / "scenario.yaml").write_text(SCENARIO)
        plan = decide(load(out / "scenario.yaml"), SEED, Published(models, "sha256:" + "0" * 64))
        (out / "plan.json").write_bytes(plans.canonical(plan))
        status = machine.run(
            machine.Machine(kernel, SEED, "virtual", 4096),
            [sys.executable, str(PROJECT / "benchmarks" / "guest" / "serving.py"), str(rounds)],
            out,
            wall_limit_s=600,
            cwd=PROJECT,
            env={"PYTHONPATH": ":".join(map(str, PATHS))},
        )
        log = (out / "logs" / "command.log").read_text()
        if status:
            raise RuntimeError(log[-3000:])
        return _speeds(out / "marks", log)


def _speeds(marks: Path, log: str) -> dict[tuple[str, ...], list[float]]:
    sizes = {name: int(received) for name, received in (line.split() for line in log.splitlines() if "," in line)}
    speeds = defaultdict(list)
    for end in sorted(marks.glob("*,end")):
        name, number, _ = end.name.rsplit(",", 2)
        begin = end.with_name(f"{name},{number},begin")
        seconds = (end.stat().st_mtime_ns - begin.stat().st_mtime_ns) / 1e9
        speeds[tuple(name.split(","))].append(sizes[name] / seconds / 1e6)
    return speeds


def table(rounds: int) -> Table:
    speeds = measure(find_or_build(lambda line: print(line, file=sys.stderr)), rounds)
    rows = []
    for (_, client, way, connections), theirs in ((key, found) for key, found in speeds.items() if key[0] == "nginx"):
        for server, name in SERVERS.items():
            ours = speeds[server, client, way, connections]
            ratio = max(ours) / max(theirs)
            cells = (name, "10 Gbit/s veth" if way == "10" else way, connections, client)
            figures = f"{max(ours):.0f}", f"{max(theirs):.0f}", f"{ratio:.2f}"
            rows.append(Row((*cells, *figures), ratio >= LEAST if client == "reads" else None))
    note = (
        f"MB per second of wall time, the best of {rounds}, edge and nginx in turn; files of {SIZE // 10**6} MB in memory, nginx "
        "with sendfile, one worker. The client is the same: it reads what comes, or has the kernel drop it, so that next to "
        f"nothing but the server takes time. On {os.cpu_count()} CPUs with a load of {os.getloadavg()[0]:.1f}. Limit: {LEAST} of "
        "nginx's, to the client that reads."
    )
    columns = ("what", "over", "connections", "client", "edge", "nginx", "ratio")
    return Table("An edge library beside nginx (wall time)", note, columns, rows, wall=True)


if __name__ == "__main__":
    print(table(int(sys.argv[1]) if len(sys.argv) > 1 else 5).markdown())
