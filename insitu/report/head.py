"""What is above the fold of a run's report: what was run, the verdict, the figures that matter, and what was expected."""

import json
import shlex
from collections.abc import Iterator

from markupsafe import Markup

from insitu.report.page import Tile, fold, paragraph, table, tiles, verdict
from insitu.report.reading import Run
from scenarios.expectation import Expectation
from scenarios.quantity import about


def head(run: Run) -> Markup:
    judged = run.summary["verdict"]
    parts = [
        paragraph(_what(run)),
        verdict(judged["status"], judged["reasons"]),
        tiles(_tiles(run)),
        *_expectations(run),
        fold("Command, versions, scenario", *_provenance(run)),
    ]
    return Markup("\n").join(parts)


def _what(run: Run) -> str:
    plan, time, policies = run.plan, run.summary["time_s"], run.plan.policies
    where = "in the guest" if run.provenance.on == "vm" else "on the host"
    applications = ", ".join(sorted({device.application for device in plan.devices}))
    return (
        f"{time['virtual']:g} s of {plan.machine.clock} time in {time['wall']:g} s, {where}. "
        f"{_count(len(plan.devices), 'device')} ({applications}), "
        f"{_count(sum(switch.role == 'gnb' for switch in plan.switches), 'gNB')}, {len(plan.libraries)} libraries. "
        f"Slicing {policies.slicing}, compression {policies.compression}, caching {policies.caching}, prefetch {policies.prefetch}."
    )


def _tiles(run: Run) -> Iterator[Tile]:
    figures, accuracy = run.summary["downloads"], run.summary["accuracy"]
    asked, on_time, latency = figures["requested"], figures["on_time"], figures["latency_ms"]
    missed = [f"{figures[name]} {name}" for name in ("failed", "cut") if figures[name]]
    share = f"{100 * on_time / asked:.1f} %" if asked else "no downloads"
    state = "good" if on_time == asked else "bad" if figures["failed"] else "warn"
    yield Tile("downloads on time", f"{on_time:,} of {asked:,}", ", ".join([share, *missed]), state)
    deadlines = sorted({device.deadline_ns / 1e6 for device in run.plan.devices})
    limit = (
        f"deadline {' to '.join(f'{ms:g}' for ms in sorted({deadlines[0], deadlines[-1]}))} ms; " if deadlines else ""
    )
    if latency["p95"] is None:
        yield Tile("latency, p95", "–", "nothing was downloaded")
    else:
        state = "good" if not deadlines or latency["p95"] <= deadlines[0] else "bad"
        yield Tile(
            "latency, p95", _ms(latency["p95"]), f"{limit}p50 {_ms(latency['p50'])}, max {_ms(latency['max'])}", state
        )
    around = f"at the swaps {_percent(accuracy['before'])} before, {_percent(accuracy['after'])} after"
    yield Tile("accuracy, mean", _percent(accuracy["mean"]), around)
    of_slices = run.summary["slices"].values()
    violations, sessions, granted = (
        sum(one[name] for one in of_slices) for name in ("violations", "sessions", "granted")
    )
    yield Tile(
        "violations",
        f"{violations:,}",
        f"{granted:,} of {sessions:,} sessions granted in full",
        "bad" if violations else "good",
    )
    yield Tile("downloaded", about(figures["bytes"], "size"), f"{_count(figures['completed'], 'download')} completed")


def _ms(ms: float) -> str:
    return f"{ms:.4g} ms" if ms < 10_000 else f"{ms / 1000:,.1f} s"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _expectations(run: Run) -> Iterator[Markup]:
    measured = [Expectation.parse(text).measure(run.summary) for text in run.provenance.scenario.expect]
    if measured:
        said = {
            True: Markup('<span class="good-text">holds</span>'),
            False: Markup('<span class="bad-text">does not hold</span>'),
        }
        rows = [(one.text, said[one.holds], one.said) for one in measured]
        yield table(["expected", "", "measured"], rows, "What the scenario expects")


def _provenance(run: Run) -> Iterator[Markup]:
    came, source, machine = run.provenance, run.provenance.scenario, run.provenance.machine
    rows = [
        ("command", _code(shlex.join(came.command) or "none: run from Python")),
        ("scenario", _code(source.file)),
        ("settings over it", _code(", ".join(source.settings) or "none")),
        ("digest of the records", _code(run.summary["digest"])),
        ("digest of the plan", _code(came.plan)),
        ("machine", f"{machine.system}, {machine.architecture}, {machine.cpus} CPUs"),
        ("controller", run.plan.controller),
        ("segments", run.plan.segments),
    ]
    yield table(["what", "is"], rows, "From provenance.json and summary.json")
    yield fold(
        "Versions", table(["of", "version"], sorted(came.versions.items()), "Everything that the digest may depend on")
    )
    yield fold("The scenario", _listing((run.folder / "scenario.yaml").read_text()))
    yield fold("The summary", _listing(json.dumps(run.summary, indent=2)))


def _code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(text)


def _listing(text: str) -> Markup:
    return Markup("<pre><code>{}</code></pre>").format(text)
