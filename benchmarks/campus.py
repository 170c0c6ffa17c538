"""Where the wall time of a run goes: `python benchmarks/campus.py [SCENARIO] [RUNS]` prints a table and its conditions."""

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from insitu import experiment
from insitu.experiment import Progress
from scenarios.load import load

PROJECT = Path(__file__).resolve().parent.parent
PHASES = {
    "boot": "boot, Open vSwitch",
    "network": "imports, network, controller",
    "services": "libraries, devices (PyTorch's import)",
    "run": "the run itself",
    "end": "end, records, summary",
}


def measure(file: Path) -> tuple[dict[str, float], float, str]:
    """Seconds of each phase, seconds of it all, the digest."""
    began = [("boot", time.monotonic())]

    def follow(state: Progress) -> None:
        if state.phase != began[-1][0]:
            began.append((state.phase, time.monotonic()))

    with tempfile.TemporaryDirectory() as folder:
        result = experiment.run(load(file, models=experiment.shipped()), file, 7, Path(folder) / "run", progress=follow)
    ends = [*(start for _, start in began[1:]), time.monotonic()]
    phases = {name: end - start for (name, start), end in zip(began, ends, strict=True)}
    return phases, ends[-1] - began[0][1], result.summary["digest"]


def main() -> None:
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "scenarios" / "campus.yaml"
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print(
        f"{file.name}, seed 7, {runs} runs; {platform.platform()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    )
    measured = [measure(file) for _ in range(runs)]
    print(f"{'phase':40}" + "".join(f"{f'run {n + 1}':>9}" for n in range(runs)))
    for phase, what in PHASES.items():
        print(f"{what:40}" + "".join(f"{phases.get(phase, 0):8.2f}s" for phases, _, _ in measured))
    print(f"{'all':40}" + "".join(f"{total:8.2f}s" for _, total, _ in measured))
    print("digests: " + ("equal" if len({digest for *_, digest in measured}) == 1 else "DIFFERENT"), measured[0][2])


if __name__ == "__main__":
    main()
