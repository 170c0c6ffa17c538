"""Bytes per second of wall time that a download takes through the network: `python -m benchmarks.datapath [ROUNDS]` prints a table,
its conditions, and what the wall time of a download goes to (by perf, if that is there).
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.tables import Row, Table
from insitu.vm import machine
from insitu.vm.kernel import Kernel, find_or_build
from scenarios import plan as plans
from scenarios.load import load
from scenarios.plan import Plan
from scenarios.planner import Published, decide

PROJECT = Path(__file__).resolve().parent.parent
PATHS = (PROJECT, PROJECT / "tests" / "guest" / "programs", PROJECT / "tests" / "unit")
sys.path.append(str(PATHS[-1]))

from builders import manifest_of, publish  # noqa: E402

RATES = ("100 Mbit/s", "1 Gbit/s", "10 Gbit/s")
BLOCKS = {"exact": 8, "bulk": 32}
BLOCK = 16_000_000
CARRIERS = {"ours": "our delivery, verified", "plain": "plain sockets", "aiohttp": "aiohttp GET"}
LINKS = ("2", "4")  # a host is no less from any other
PROFILED = ("1 Gbit/s", "ours,4,")
LIMITS = {("exact", "1 Gbit/s"): 200, ("bulk", "1 Gbit/s"): 500}  # MB/s of wall time, our delivery over 4 links
SCENARIO = """
name: datapath
network:
  segments: {segments}
  core: {{rate: {rate}, delay: 100 us}}
  regions:
    - {{name: west, link: {{rate: {rate}, delay: 100 us}}, gnbs: [
        {{name: quad, link: {{rate: {rate}, delay: 100 us}}, radio: {{rate: {rate}, delay: 100 us}}}}]}}
devices: [{{name: phone, at: quad}}]
"""
# What a symbol of the guest's kernel belongs to; the first that matches
PARTS = (
    ("copies", r"memcpy|memset|memmove|copy_|csum"),
    ("queues and shaping", r"htb|netem|qdisc|sch_|tfifo|rb_|dev_queue_xmit"),
    ("switches", r"ovs_|flow|key_extract|do_execute|do_output|jhash|mask"),
    ("virtual clock, timers, interrupts", r"time|clock|irq|signal|idle|stub|futex|ktime|softirq"),
    ("TCP, IP, veth", r"tcp|inet|ip_|sock|skb|gro|veth|napi|netif|net_rx|eth|dst|fib|nf_"),
    ("memory", r"kmem|alloc|free|page|slab|refill"),
)


class Profile:
    """perf over the whole machine while one transfer runs, reduced to what the guest did."""

    def __init__(self, marks: Path, transfer: str) -> None:
        self._marks, self._transfer, self._file = marks, transfer, marks.parent / "perf.data"
        self._perf: subprocess.Popen[bytes] | None = None

    def poll(self, _: int) -> None:
        begun = list(self._marks.glob(f"{self._transfer}*,begin"))
        if self._perf is None and begun and not (begun[0].with_name(begun[0].name.replace("begin", "end"))).exists():
            record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "2000", "-a", "-o", str(self._file)]
            self._perf = subprocess.Popen(
                [*record, "sleep", "0.4"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )

    def lines(self) -> Iterator[tuple[float, str]]:
        """(% of the guest's time, what for); nothing where the transfer was too short, or perf may not record."""
        if self._perf is None or self._perf.wait() != 0:
            return
        report = ["perf", "report", "-i", str(self._file), "--stdio", "-q", "--sort", "dso,sym"]
        text = subprocess.run(
            [*report, "--comms", "linux,[uml-userspace]"], capture_output=True, text=True, check=False
        ).stdout
        shares: defaultdict[str, float] = defaultdict(float)
        for line in text.splitlines():
            if found := re.match(r"\s*([\d.]+)%\s+(.+?)\s+\[([.k])\]\s+(\S+)", line):
                shares[_part(found[2], found[3], found[4])] += float(found[1])
        total = sum(shares.values())
        yield from ((100 * share / total, part) for part, share in sorted(shares.items(), key=lambda item: -item[1]))


def _part(file: str, level: str, symbol: str) -> str:
    if level == "k":
        return "the host's kernel: hand-over between the guest's kernel and its processes"
    if file != "linux":
        return "processes: Python, SHA-256, the library of C"
    return next((part for part, pattern in PARTS if re.search(pattern, symbol)), "other parts of the guest's kernel")


def measure(
    kernel: Kernel, rate: str, segments: str, rounds: int
) -> tuple[dict[tuple[str, str], float], list[tuple[float, str]]]:
    """The best MB/s of each carrier over each number of links, and a profile."""
    with tempfile.TemporaryDirectory(prefix="insitu-datapath-") as folder:
        out = Path(folder)
        plan = _plan(out, rate, segments)
        profile = Profile(out / "marks", PROFILED[1]) if rate == PROFILED[0] and shutil.which("perf") else None
        status = machine.run(
            machine.Machine(kernel, plan.seed, "virtual", 4096),
            [sys.executable, str(PROJECT / "benchmarks" / "guest" / "transfers.py"), str(rounds)],
            out,
            wall_limit_s=600,
            cwd=PROJECT,
            env={"PYTHONPATH": ":".join(map(str, PATHS))},
            on_poll=profile.poll if profile else None,
        )
        if status:
            raise RuntimeError((out / "logs" / "command.log").read_text()[-3000:])
        size = BLOCKS[segments] * BLOCK
        speeds: defaultdict[tuple[str, str], float] = defaultdict(float)
        for end in (out / "marks").glob("*,end"):
            carrier, links, number, _ = end.name.split(",")
            begin = end.with_name(f"{carrier},{links},{number},begin")
            seconds = (end.stat().st_mtime_ns - begin.stat().st_mtime_ns) / 1e9
            speeds[carrier, links] = max(speeds[carrier, links], size / seconds / 1e6)
        return speeds, list(profile.lines()) if profile else []


def _plan(out: Path, rate: str, segments: str) -> Plan:
    blocks = [bytes([number]) * BLOCK for number in range(BLOCKS[segments])]
    manifest = manifest_of("payload", blocks, whole={"blocks": range(len(blocks))})
    models = publish(out / "library", (manifest, blocks))
    (out / "scenario.yaml").write_text(SCENARIO.format(rate=rate, segments=segments))
    plan = decide(load(out / "scenario.yaml"), 7, Published(models, "sha256:" + "0" * 64))
    (out / "plan.json").write_bytes(plans.canonical(plan))
    return plan


def tables(rounds: int) -> list[Table]:
    """MB per second of wall time, and what it goes to."""
    kernel = find_or_build(lambda line: print(line, file=sys.stderr))
    sizes = " or ".join(f"{count * BLOCK // 10**6} MB ({segments})" for segments, count in BLOCKS.items())
    columns = [(carrier, links) for carrier in CARRIERS for links in LINKS]
    names = tuple(f"{CARRIERS[carrier]}, {links} links" for carrier, links in columns)
    rows, profiles = [], []
    for segments in BLOCKS:
        for rate in RATES:
            speeds, lines = measure(kernel, rate, segments, rounds)
            limit = LIMITS.get((segments, rate))
            holds = None if limit is None else speeds["ours", "4"] >= limit
            rows.append(Row((segments, rate, *(f"{speeds[column]:.0f}" for column in columns)), holds))
            profiles += [Row((segments, f"{share:.0f} %", part)) for share, part in lines]
    note = (
        f"MB per second of wall time: {sizes} in blocks of {BLOCK // 10**6} MB, the best of {rounds}, on {os.cpu_count()} "
        f"CPUs with a load of {os.getloadavg()[0]:.1f}. Limit at {PROFILED[0]}: our delivery over 4 links carries "
        f"{LIMITS['exact', PROFILED[0]]} (exact) or {LIMITS['bulk', PROFILED[0]]} (bulk)."
    )
    made = [Table("Speed of the data path (wall time)", note, ("segments", "rate", *names), rows, wall=True)]
    if profiles:
        what = f"Of the guest's wall time: our delivery, {PROFILED[0]}, 4 links."
        made.append(Table("What bounds it (wall time)", what, ("segments", "share", "part"), profiles, wall=True))
    return made


def main() -> None:
    print("\n".join(table.markdown() for table in tables(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))


if __name__ == "__main__":
    main()
