"""A run's report: report.html, all that a person asks of a run, and trace.json, its timeline for Perfetto. From its folder alone."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from insitu.report import page, reading, trace
from insitu.report.accuracy import accuracy_section
from insitu.report.downloads import downloads, downloads_section
from insitu.report.network import network_section
from insitu.report.page import Tile
from insitu.report.reading import Run
from insitu.report.tiers import sessions_section, tiers_section
from insitu.report.use import use_section
from scenarios.quantity import about


def write(folder: Path) -> Path:
    """Makes both files, and gives the first. Raises NoRun, OSError."""
    run = reading.read(folder)
    _put(folder / "trace.json", trace.to_json(run))
    _put(folder / "report.html", run_page(run).encode())
    return folder / "report.html"


def run_page(run: Run) -> str:
    rows = downloads(run)
    return page.page(
        f"{run.plan.scenario}, seed {run.plan.seed}",
        [
            _head(run),
            network_section(run, rows),
            downloads_section(run, rows),
            accuracy_section(run),
            use_section(run),
            sessions_section(run),
            tiers_section(run),
        ],
    )


def _put(file: Path, content: bytes) -> None:
    """Whole, or not at all."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.rename(file)


def _head(run: Run) -> Markup:
    summary, plan = run.summary, run.plan
    time, policies = summary["time_s"], plan.policies
    kinds = sorted({device.application for device in plan.devices})
    what = (
        f"{time['virtual']:g} s of {'virtual' if plan.machine.clock == 'virtual' else 'real'} time in {time['wall']:g} s, "
        f"{'in the guest' if run.provenance['on'] == 'vm' else 'on the host'}. {len(plan.devices)} devices ({', '.join(kinds)}), "
        f"{sum(switch.role == 'gnb' for switch in plan.switches)} gNBs, {len(plan.libraries)} libraries; slicing "
        f"{policies.slicing}, compression {policies.compression}, caching {policies.caching}, prefetch {policies.prefetch}."
    )
    return Markup("\n").join(
        [
            page.paragraph(what),
            page.verdict(summary["verdict"]["status"], summary["verdict"]["reasons"]),
            page.tiles(_tiles(run)),
            *_expectations(summary.get("expectations", [])),
            page.fold("Command, versions and files", *_provenance(run)),
        ]
    )


def _tiles(run: Run) -> Iterator[Tile]:
    downloads_, accuracy = run.summary["downloads"], run.summary["accuracy"]
    asked, on_time, latency = downloads_["requested"], downloads_["on_time"], downloads_["latency_ms"]
    missed = [f"{downloads_[key]} {key}" for key in ("failed", "cut") if downloads_[key]]
    share = f"{100 * on_time / asked:.1f} %" if asked else "no downloads"
    yield Tile(
        "downloads on time",
        f"{on_time} of {asked}",
        ", ".join([share, *missed]),
        "good" if on_time == asked else "bad" if missed else "warn",
    )
    deadlines = sorted({device.deadline_ns / 1e6 for device in run.plan.devices})
    limit = f"{deadlines[0]:g}" if len(deadlines) < 2 else f"{deadlines[0]:g} to {deadlines[-1]:g}"
    within = not deadlines or latency["p95"] <= deadlines[0]
    yield Tile("latency, p95", f"{latency['p95']:.4g} ms", f"deadline {limit} ms; p50 {latency['p50']:.4g}, max {latency['max']:.4g}",
               "good" if within else "bad")  # fmt: skip
    around = f"at the swaps {_percent(accuracy['before'])} before, {_percent(accuracy['after'])} after"
    yield Tile("accuracy, mean", _percent(accuracy["mean"]), around)
    sessions = [figures for figures in run.summary["slices"].values() if figures["sessions"]]
    violations = sum(figures["violations"] for figures in sessions)
    granted, asked_for = sum(f["granted"] for f in sessions), sum(f["sessions"] for f in sessions)
    yield Tile(
        "violations",
        str(violations),
        f"{granted} of {asked_for} sessions granted in full",
        "bad" if violations else "good",
    )
    yield Tile("downloaded", about(downloads_["bytes"], "size"), f"{downloads_['completed']} completed")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _expectations(outcomes: list[dict[str, Any]]) -> Iterator[Markup]:
    if outcomes:
        rows = [
            (outcome["expectation"], f"{outcome['measured']:g}",
             Markup('<span class="{}">{}</span>').format(
                 "good-text" if outcome["holds"] else "bad-text", "holds" if outcome["holds"] else "does not hold"))
            for outcome in outcomes
        ]  # fmt: skip
        yield page.table(["expected", "measured", ""], rows, "What the scenario expects.")


def _provenance(run: Run) -> Iterator[Markup]:
    provenance = run.provenance
    machine = provenance["machine"]
    rows = [
        ("command", Markup("<code>{}</code>").format(" ".join(provenance["command"]))),
        ("digest of the records", Markup("<code>{}</code>").format(run.summary["digest"])),
        ("digest of the plan", Markup("<code>{}</code>").format(provenance["plan"])),
        ("machine", ", ".join(f"{name} {value}" for name, value in machine.items())),
        ("controller", run.plan.controller),
        ("segments", run.plan.segments),
        *((f"version of {name}", version) for name, version in provenance["versions"].items()),
    ]
    yield page.table(["what", "is"], rows, "From provenance.json and summary.json.")
    scenario = run.folder / "scenario.yaml"
    if scenario.exists():
        yield page.fold("The scenario", Markup("<pre><code>{}</code></pre>").format(scenario.read_text()))
    yield page.fold("The summary", Markup("<pre><code>{}</code></pre>").format(json.dumps(run.summary, indent=2)))
