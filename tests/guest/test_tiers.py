"""The tiers in a network: what is not at the edge comes one round trip later, and is pulled once however many ask."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from insitu.vm import machine
from insitu.vm.kernel import Kernel
from scenarios import plan as plans
from scenarios import records
from scenarios.load import load
from scenarios.planner import Published, decide
from tests.conftest import PROGRAMS, PROJECT

sys.path.append(str(PROJECT / "tests" / "unit"))

from builders import digest_of, manifest_of, publish  # noqa: E402

SCENARIO = """
name: tiers
network:
  core: {rate: 1 Gbit/s, delay: 20 ms}
  regions:
    - name: west
      link: {rate: 1 Gbit/s, delay: 15 ms}
      gnbs: [{name: square, link: {rate: 1 Gbit/s, delay: 10 ms}, radio: {rate: 1 Gbit/s, delay: 2 ms}}]
devices: [{name: phone, count: 100, at: square}]
"""
ROUND_TRIP_MS = 2 * (20 + 15 + 10)  # from the edge by the local library to the central one, and back
PACKETS_MS = 0.5  # what the first packets' bytes take over eight links at 1 Gbit/s, and the kernels' timers
SIZES = (1_000, 2_000_000, 30_000, 1_500, 300_000)  # the first opens the connection, the last is what all ask for
TIERS = ("square-edge", "west-local")


@pytest.fixture(scope="module")
def out(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiers")
    blocks = [bytes([number]) * size for number, size in enumerate(SIZES)]
    manifest = manifest_of("digits", blocks, whole={"blocks": range(len(blocks))})
    models = publish(folder / "library", (manifest, blocks))
    (folder / "library" / "digests").write_text("\n".join(map(digest_of, blocks)))
    (folder / "scenario.yaml").write_text(SCENARIO)
    plan = decide(load(folder / "scenario.yaml"), 3, Published(models, "sha256:" + "0" * 64))
    (folder / "plan.json").write_bytes(plans.canonical(plan))
    status = machine.run(
        machine.Machine(kernel, plan.seed, "virtual", plan.machine.memory_mb),
        [sys.executable, str(PROGRAMS / "tiers.py")],
        folder,
        wall_limit_s=300,
        cwd=PROJECT,
        env={"PYTHONPATH": f"{PROJECT}:{PROGRAMS}"},
    )
    assert status == 0, (folder / "logs" / "command.log").read_text()[-3000:]
    return folder


@pytest.fixture(scope="module")
def measured(out: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return result


def test_the_first_byte_comes_one_round_trip_later_than_from_a_warm_edge(measured: dict[str, Any]) -> None:
    """However large the object is: 2 MB take 16 ms to send, and more while TCP's window is small."""
    for cold, warm in zip(measured["cold"], measured["warm"], strict=True):
        later = cold["first_ms"] - warm["first_ms"]
        assert ROUND_TRIP_MS <= later <= ROUND_TRIP_MS + PACKETS_MS
        assert cold["right"] and warm["right"]
    assert measured["cold"][0]["last_ms"] > measured["cold"][0]["first_ms"] + 16


def test_what_a_hundred_devices_ask_for_at_once_is_pulled_once(measured: dict[str, Any], out: Path) -> None:
    assert measured["crowd"] == [True] * 100
    crowds = (out / "library" / "digests").read_text().split()[-1]
    for tier in TIERS:
        pulled = Counter(event.object for event in events(out, tier) if isinstance(event, records.Pulled))
        assert pulled[crowds] == 1
        assert set(pulled.values()) == {1}
    asked = [e for e in events(out, "square-edge") if isinstance(e, records.Served) and e.object == crowds]
    assert len(asked) == 100
    above = [e for e in events(out, "west-local") if isinstance(e, records.Served) and e.object == crowds]
    assert len(above) == 1


def test_what_the_tiers_keep_never_reaches_the_runs_folder(out: Path) -> None:
    inside = out / "library" / "blocks"
    files = [file for file in out.rglob("*") if len(file.name) == 64 and file.parent != inside]
    assert files == []


def events(out: Path, tier: str) -> list[Any]:
    decoder = msgspec.json.Decoder(records.AnyEvent)
    return [decoder.decode(line) for line in (out / "events" / f"{tier}.jsonl").read_bytes().splitlines()]
