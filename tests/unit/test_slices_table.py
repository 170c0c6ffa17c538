"""`insitu slices`: rows of slices from a plan, what a run's records add, sessions' lives, and bad input."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from insitu import slices_table, table
from insitu.cli import main
from scenarios import plan as plans
from scenarios import planner, records
from scenarios.load import load
from scenarios.plan import Plan

SCENARIO = """
name: two
network: {gnbs: [{name: quad, radio: {rate: 100 Mbit/s}}]}
slices:
  - {name: models, guarantee: 30 %, ceiling: 60 %, priority: 2}
  - {name: default}
devices: [{name: phone, at: quad, slice: models}]
"""
MBIT = 10**6


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "two.yaml"
    file.write_text(SCENARIO)
    return file


@pytest.fixture
def plan(scenario: Path) -> Plan:
    return planner.decide(load(scenario), 0, planner.Published({}, ""))


def asked(session: str, download: str = "") -> records.SessionAsked:
    about_it = ("phone", "quad-edge", "QOS_M", download, 20 * MBIT, MBIT, 10**9)
    return records.SessionAsked(100, "nef", session, "models", *about_it)


def of_radio(plan: Plan) -> tuple[str, str]:
    """The node and interface of the radio's end towards the device."""
    radio = next(link for link in plan.links if link.name == "quad-radio")
    end = next(end for end in radio.ends if end.node == "quad")
    return end.node, end.interface


def rows_of_radio(rows: list[slices_table.SliceRow]) -> dict[str, slices_table.SliceRow]:
    return {row.slice: row for row in rows if (row.link, row.sender) == ("quad-radio", "quad")}


def shown(rows: list[slices_table.SliceRow], sessions: list[slices_table.SessionRow]) -> str:
    console = Console(width=220)
    with console.capture() as captured:
        console.print(slices_table.slices_table(rows), slices_table.sessions_table(sessions))
    return captured.get()


def test_a_plan_says_guarantee_ceiling_and_priority_of_each_link_and_direction(plan: Plan) -> None:
    rows = slices_table.slice_rows(plan)
    radio = rows_of_radio(rows)
    assert radio["models"][3:6] == (30 * MBIT, 60 * MBIT, 2)
    assert radio["default"][3:6] == (70 * MBIT, 100 * MBIT, 0)
    assert all(row[6:] == (None, None, None, None) for row in rows)
    assert {row.sender for row in rows if row.link == "quad-link"} == {"quad", "region"}
    assert not any(row.link == "phone-link" for row in rows)


def test_a_run_adds_what_the_kernel_had_and_what_was_carried(plan: Plan) -> None:
    node, interface = of_radio(plan)
    events: list[records.AnyEvent] = [
        records.Setting(0, node, interface, "class models", "htb rate 1", "htb rate 2"),
        records.Checked(0, node, interface, 5),
        records.LinkTotal(plan.duration_ns, node, "quad-radio", "models", 10**7, 3),
    ]
    rows = slices_table.slice_rows(plan, events)
    radio = rows_of_radio(rows)
    assert radio["models"].kernel == "class models: htb rate 2"
    assert radio["default"].kernel == slices_table.AS_PLANNED
    assert (radio["models"].bytes, radio["models"].mean_bps, radio["models"].dropped) == (10**7, 8 * MBIT, 3)
    assert all(row.kernel is None for row in rows if row.link == "quad-link")
    assert "8 Mbit/s" in shown(rows, [])


def test_a_sessions_life_is_one_row_with_its_changes() -> None:
    events: list[records.AnyEvent] = [
        asked("a", "phone-1"),
        records.Session(200, "nef", "a", "models", "phone", 20 * MBIT, 15 * MBIT, "reduced", "d2w3b2", 50),
        records.SessionAvailable(300, "nef", "a", "models", 64),
        records.SessionChanged(400, "nef", "a", "models", 9 * MBIT, "d1w3b2", "HANDOVER"),
        records.Completed(10**6 + 300, "phone", "phone-1", "digits", "d1w3b2", 1000, 10**6, True),
        records.SessionEnded(2 * 10**6, "nef", "a", "models", "DELETE_REQUESTED"),
    ]
    (row,) = slices_table.session_rows(events)
    assert (row.asked, row.decided, row.available, row.ended) == (100, 200, 300, 2 * 10**6)
    assert (row.requested_bps, row.granted_bps, row.decision, row.queue) == (20 * MBIT, 15 * MBIT, "reduced", 64)
    assert row.changes == [slices_table.ChangeRow(400, 9 * MBIT, "d1w3b2", "HANDOVER")]
    assert (row.bytes, row.mean_bps) == (1000, 8 * MBIT)
    text = shown([], [row])
    assert "15 Mbit/s of 20 Mbit/s" in text
    assert "d1w3b2, HANDOVER" in text
    assert "DELETE_REQUESTED" in text


def test_one_that_was_refused_was_never_available() -> None:
    refused = records.Session(200, "nef", "b", "models", "phone", 20 * MBIT, 0, "refused")
    (row,) = slices_table.session_rows([asked("b"), refused])
    assert (row.decision, row.available, row.ended, row.mean_bps) == ("refused", None, None, None)
    assert "refused" in shown([], [row])


def test_the_command_reads_a_scenario_and_a_runs_folder(scenario: Path, plan: Plan, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["slices", str(scenario), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["sessions"] == []
    run = tmp_path / "run"
    run.mkdir()
    (run / "plan.json").write_bytes(plans.canonical(plan))
    table.write([asked("a"), records.SessionAvailable(300, "nef", "a", "models", 64)], run / "events.parquet")
    result = CliRunner().invoke(main, ["slices", str(run), "--json"])
    assert [session["queue"] for session in json.loads(result.stdout)["sessions"]] == [64]
    assert "phone" in CliRunner().invoke(main, ["slices", str(run)]).stdout


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no plan.json: this is no run's folder"),
        ({"plan.json": b"{"}, "plan.json: "),
        ({"plan.json": b'{"format": 1}'}, "plan.json: this plan has format 1"),
        ({"plan.json": None}, "no events.parquet: this is no run's folder"),
        ({"plan.json": None, "FAILED": b""}, "no events.parquet: the run failed"),
        ({"plan.json": None, "events.parquet": b"no table"}, "events.parquet: "),
    ],
)
def test_a_folder_of_no_run_is_one_line(files: dict[str, bytes | None], said: str, plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(plans.canonical(plan) if content is None else content)
    result = CliRunner().invoke(main, ["slices", str(folder)])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
