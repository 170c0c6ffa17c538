"""An edge library's throughput beside nginx's, for the same bytes in the same guest: `python -m benchmarks.serving [ROUNDS]`."""

import os
import statistics
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


def measure(kernel: Kernel, rounds: int) -> dict[tuple[str, str, str], list[float]]:
    """MB/s of wall time by server, way and connections, one for each round."""
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


def _speeds(marks: Path, log: str) -> dict[tuple[str, str, str], list[float]]:
    sizes = {}
    for line in log.splitlines():
        server, way, *_, connections, received = line.split()
        sizes[server, way, connections] = int(received)
    speeds = defaultdict(list)
    for end in sorted(marks.glob("*,end")):
        server, way, connections, number, _ = end.name.split(",")
        begin = end.with_name(f"{server},{way},{connections},{number},begin")
        seconds = (end.stat().st_mtime_ns - begin.stat().st_mtime_ns) / 1e9
        speeds[server, way, connections].append(sizes[server, way, connections] / seconds / 1e6)
    return speeds


def table(rounds: int) -> Table:
    speeds = measure(find_or_build(lambda line: print(line, file=sys.stderr)), rounds)
    rows = []
    for server, name in SERVERS.items():
        for _, way, connections in (key for key in speeds if key[0] == "nginx"):
            ours, theirs = speeds[server, way, connections], speeds["nginx", way, connections]
            ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
            cells = (name, "10 Gbit/s veth" if way == "10" else way, connections)
            figures = f"{max(ours):.0f}", f"{max(theirs):.0f}", f"{ratio:.2f}"
            rows.append(Row((*cells, *figures), ratio >= LEAST))
    note = (
        f"MB per second of wall time, the best of {rounds}, and the median of the ratios of each round; files of "
        f"{SIZE // 10**6} MB in memory, nginx with sendfile, one worker; the client is the same, and drops what it reads. "
        f"On {os.cpu_count()} CPUs with a load of {os.getloadavg()[0]:.1f}. Limit: {LEAST} of nginx's."
    )
    columns = ("what", "over", "connections", "edge", "nginx", "ratio")
    return Table("An edge library beside nginx (wall time)", note, columns, rows, wall=True)


if __name__ == "__main__":
    print(table(int(sys.argv[1]) if len(sys.argv) > 1 else 5).markdown())
