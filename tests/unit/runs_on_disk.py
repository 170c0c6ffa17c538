"""Run folders as runs leave them, with made-up figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insitu import provenance
from insitu.summary import summarise
from scenarios import plan as plans
from scenarios.load import load
from scenarios.planner import Published, decide
from tests.conftest import PROJECT

HELLO = PROJECT / "scenarios" / "hello.yaml"


def made_run(
    folder: Path,
    seed: int,
    figures: Mapping[str, float | None] | None = None,
    settings: tuple[str, ...] = (),
    scenario: Path = HELLO,
    status: str = "VALID",
    versions: Mapping[str, str] | None = None,
) -> Path:
    """`figures` by name, as in {"downloads.late": 3}; all others are those of a run in which nothing happened."""
    plan = decide(load(scenario, settings), seed, Published({}, ""))
    summary = summarise(plan, [], None, 1.0)
    summary["verdict"] = {"status": status, "reasons": [] if status == "VALID" else ["a made-up reason"]}
    for name, value in (figures or {}).items():
        place: Any = summary
        *way, last = name.split(".")
        for key in way:
            place = place[key]
        place[last] = value
    source = provenance.source(scenario, scenario.read_bytes(), list(settings), [])
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_bytes(scenario.read_bytes())
    (folder / "plan.json").write_bytes(plans.canonical(plan))
    (folder / "summary.json").write_text(json.dumps(summary))
    provenance.write(provenance.of(plan, source, dict(versions or {"kernel": "7.3"}), "vm", []), folder)
    return folder


def failed_run(folder: Path, seed: int) -> Path:
    made_run(folder, seed)
    (folder / "summary.json").unlink()
    (folder / "FAILED").write_text("the guest died\n")
    return folder
