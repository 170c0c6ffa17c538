"""A model's delivery beside a plain HTTP download of the whole float32 model: `python -m benchmarks.delivery` writes
docs/delivery.md.

Both over the same links, with the same deadline: devices that need another model at one moment, each behind a link of its own.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import guests
from benchmarks.network import SEED
from benchmarks.runs import PROJECT, Played, play
from benchmarks.tables import Row, Table
from edge_nodes.models.manifest import Manifest
from insitu import experiment
from insitu.vm.kernel import find_or_build
from scenarios import plan as plans
from scenarios import records
from scenarios.device_classes import DEVICE_CLASSES
from scenarios.load import load
from scenarios.planner import decide

DOCUMENT = PROJECT / "docs" / "delivery.md"
RATES = (2, 5, 10, 20, 50, 100, 200, 500)  # Mbit/s
LOSSES = (0.0, 0.1, 1.0)  # %
DEVICES = 10  # of each rate and loss
MODEL = "digits@night"
DEADLINE_S = 0.5
HEAD = """# Delivery beside a plain download

Made by `python -m benchmarks.delivery`.
"""


def scenario() -> str:
    """A group of devices for each rate and loss, behind a cell that none of them fills."""
    groups = [
        f"  - {{name: {group(rate, loss)}, count: {DEVICES}, at: cell, class: phone, application: digits, infer: 5/s, "
        f"link: {{rate: {rate} Mbit/s, delay: 4 ms, loss: {loss} %}}}}"
        for rate in RATES
        for loss in LOSSES
    ]
    return "\n".join(
        [
            "name: delivery",
            "duration: 4 s",
            "network:",
            "  gnbs: [{name: cell, link: {rate: 40 Gbit/s, delay: 1 ms}, radio: {rate: 100 Gbit/s, delay: 10 us}}]",
            "devices:",
            *groups,
            "situations:",
            f"  - {{time: 1 s.., model: {MODEL}}}",
            "  - {model: digits}",
            f"requests: {{deadline: {DEADLINE_S * 1000:g} ms}}",
            "",
        ]
    )


def group(rate: int, loss: float) -> str:
    return f"r{rate}-l{round(loss * 10)}-n"


def plain(file: Path, size: int) -> dict[str, float]:
    """Seconds that a plain download of `size` bytes takes each device of a scenario's file, loading included."""
    plan = decide(load(file), SEED, experiment.published_models(experiment.model_library(print)))
    content = np.random.Generator(np.random.PCG64(SEED)).bytes(size)
    files = {"plan.json": plans.canonical(plan), "file": content}
    took: dict[str, int] = guests.result(find_or_build(print), [guests.PROGRAMS / "plain.py", DEVICES], files)
    loading = size / DEVICE_CLASSES["phone"].load_bytes_per_s
    return {host: ns / 1e9 + loading for host, ns in took.items()}


def row(rate: int, loss: float, ours: Played, theirs: dict[str, float], whole: float) -> Row:
    """`whole` is the accuracy of the whole float32 model."""
    before = float(np.mean([event.accuracy_before for event in ours.events if isinstance(event, records.Swapped)]))
    mine = {f"{group(rate, loss)}{number}" for number in range(1, DEVICES + 1)}
    swaps = {event.node: event for event in ours.events if isinstance(event, records.Swapped) and event.node in mine}
    done = {event.node: event for event in ours.events if isinstance(event, records.Completed) and event.node in mine}
    in_time = {host for host, event in done.items() if event.on_time and host in swaps}
    accuracy = np.mean([swaps[host].accuracy_after if host in in_time else before for host in mine])
    plainly = np.mean([theirs[host] <= DEADLINE_S for host in mine])
    cells = (
        f"{rate} Mbit/s",
        f"{loss:g} %",
        f"{100 * len(in_time) / DEVICES:.0f} %",
        f"{100 * plainly:.0f} %",
        f"{100 * accuracy:.1f} %",
        f"{100 * (plainly * whole + (1 - plainly) * before):.1f} %",
        f"{np.median([event.bytes for event in done.values()]) / 1e3:.0f} kB" if done else "–",
        f"{1e3 * np.median([event.latency_ns / 1e9 for event in done.values()]):.0f} ms" if done else "–",
        f"{1e3 * np.median([theirs[host] for host in mine]):.0f} ms",
    )
    return Row(cells)


def table(say: Callable[[str], None]) -> Table:
    manifest = Manifest.load(experiment.model_library(say) / "manifests" / f"{MODEL}.json")
    file = manifest.variant("file")
    with tempfile.TemporaryDirectory(prefix="insitu-delivery-") as folder:
        written = Path(folder) / "delivery.yaml"
        written.write_text(scenario())
        theirs = plain(written, file.bytes)
        say("plain downloads done")
        ours = play(written, Path(folder) / "run")
    rows = [row(rate, loss, ours, theirs, file.accuracy) for rate in RATES for loss in LOSSES]
    note = (
        f"{DEVICES} devices of each rate and loss, which need {MODEL} at one moment. `ours`: the adaptive policy, by one "
        f"request to an edge library that has to pull the model first; `plain`: a GET of its float32 parameters, "
        f"{file.bytes / 1e6:.2f} MB, from nginx at the edge, which has them. The link's rate, 4 ms one way, and the loss are "
        f"the device's alone. On time: loaded within {DEADLINE_S * 1000:g} ms. Accuracy: on what the device sees, at "
        "the deadline, mean of the devices; one that is late still runs what it had. kB and ms: medians."
    )
    columns = (
        "link",
        "loss",
        "on time: ours",
        "plain",
        "accuracy: ours",
        "plain",
        "bytes: ours",
        "took: ours",
        "plain",
    )
    return Table("Share on time, and accuracy on time", note, columns, rows)


def main() -> None:
    made = table(lambda line: print(line, file=sys.stderr))
    written = DOCUMENT.with_suffix(".partial")
    written.write_text(f"{HEAD}\n{made.markdown()}")
    written.rename(DOCUMENT)


if __name__ == "__main__":
    main()
