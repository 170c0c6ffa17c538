"""A run's report: report.html, and trace.json, its timeline for Perfetto; both are made of the run's folder alone."""

import os
from pathlib import Path

from insitu.report import reading, trace
from insitu.report.accuracy import accuracy_section
from insitu.report.downloads import downloads
from insitu.report.head import head
from insitu.report.latency import downloads_section
from insitu.report.network import network_section
from insitu.report.page import page
from insitu.report.reading import Run
from insitu.report.tiers import sessions_section, tiers_section
from insitu.report.use import use_section


def write(folder: Path) -> Path:
    """Makes both files, over those that are there, and gives the first. Raises NoRun, OSError."""
    run = reading.read(folder)
    _put(folder / "trace.json", trace.to_json(run))
    _put(folder / "report.html", run_page(run).encode())
    return folder / "report.html"


def run_page(run: Run) -> str:
    rows = downloads(run)
    return page(
        f"{run.plan.scenario}, seed {run.plan.seed}",
        [
            head(run),
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
