"""What a device runs, when: with a library that a test writes, in time that a test makes pass."""

import asyncio
import itertools
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from builders import Notes, digest_of, manifest_of, planned

from edge_nodes import clock, delivery
from edge_nodes.choosing.policies import Limits
from edge_nodes.devices import trial
from edge_nodes.devices.device import UserEquipment
from edge_nodes.models import codec
from edge_nodes.models.manifest import Manifest, Variant
from scenarios import records
from scenarios.plan import Device

MS = 10**6
START = 10_000 * MS
MODELS = ("digits", "digits@night")
SIZES = (1000, 2000, 4000)
BLOCKS = {model: [f"{model} {n} ".encode() * size for n, size in enumerate(SIZES)] for model in MODELS}
FIGURES: dict[str, dict[str, Any]] = {
    "small": {"blocks": [0], "accuracy": 0.6, "memory": 1_000},
    "middle": {"blocks": [0, 1], "accuracy": 0.7, "memory": 2_000},
    "large": {"blocks": [0, 1, 2], "accuracy": 0.8, "memory": 3_000},
}


class VirtualTime(selectors.SelectSelector):
    """Time passes only where everybody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = START - 100 * MS

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for ever"
        self.now_ns += max(0, round(timeout * 1e9))
        return super().select(0)


class Night:
    """Images whose pixels say of which model's situation they are; `shown` is what is seen in place of some."""

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}

    def draw(self, model: str, random: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        seen = MODELS.index(self.shown.get(model, model))
        return torch.full((count, 1, 8, 8), float(seen)), torch.zeros(count, dtype=torch.long)


class Shop:
    """Nets that are right in their model's situation alone, and are not made without all their blocks."""

    def __init__(self, manifests: dict[str, Manifest]) -> None:
        self.manifests = manifests
        self.limits: Limits | None = None

    def base(self, application: str, limits: Limits) -> tuple[Manifest, Variant, dict[str, bytes]]:
        self.limits = limits
        manifest = self.manifests[application]
        variant = manifest.variant("large" if limits.memory_bytes >= 3000 else "small")
        blocks = {digest_of(BLOCKS[application][n]): BLOCKS[application][n] for n in variant.blocks}
        return manifest, variant, {digest_of(manifest.to_json()): manifest.to_json(), **blocks}

    def build(self, manifest: Manifest, variant: Variant, blocks: dict[str, bytes]) -> Callable[..., torch.Tensor]:
        for block in manifest.blocks_of(variant):
            if digest_of(blocks.get(block.digest, b"")) != block.digest:
                raise codec.BlockError(block.digest, "missing")
        situation = MODELS.index(manifest.model)
        return lambda images: torch.nn.functional.one_hot((images[:, 0, 0, 0] != situation).long(), 2)


Pieces = list[tuple[int, bytes | None]]


class Answer:
    """A response whose bytes come after pauses in ms; None cuts it."""

    status, received = 200, 0

    def __init__(self, script: Pieces) -> None:
        self._script, self._have = script, b""

    async def _more(self) -> bool:
        if not self._script:
            return False
        pause, data = self._script.pop(0)
        await clock.sleep_ns(pause * MS)
        self._have += data or b""
        self.received += 1
        return data is not None

    async def readline(self) -> bytes:
        while b"\n" not in self._have and await self._more():
            pass
        line, newline, rest = self._have.partition(b"\n")
        self._have = rest
        return line + newline

    async def readinto(self, place: memoryview) -> int:
        while len(self._have) < len(place) and await self._more():
            pass
        filled = min(len(self._have), len(place))
        place[:filled], self._have = self._have[:filled], self._have[filled:]
        return filled

    def abort(self) -> None:
        pass


Script = Callable[[delivery.Ask], Pieces]


class World:
    """A phone, and a library that answers by a script; `asks` are what it was asked."""

    def __init__(self, script: Script, memory: int = 10**6, figures: Any = FIGURES, **scenario: Any) -> None:
        self.script, self.notes, self.images = script, Notes(), Night()
        self.asks: list[delivery.Ask] = []
        self.manifests = {model: manifest_of(model, BLOCKS[model], **figures) for model in MODELS}
        models = {model: digest_of(manifest.to_json()) for model, manifest in self.manifests.items()}
        self.shop = Shop(self.manifests)
        plan = planned(models, **{"duration": "5 s", **scenario})
        device = msgspec.structs.replace(
            plan.devices[0],
            phase_ns=0,
            infer_interval_ns=100 * MS,
            retry_ns=[],
            memory_bytes=memory,
            load_bytes_per_s=10**9,
            macs_per_s=10**9,
        )
        self.device: Device = device
        self.plan = plan

    @asynccontextmanager
    async def request(self, _: str, address: Any, path: str, body: bytes) -> AsyncIterator[Answer]:
        ask = msgspec.json.decode(body, type=delivery.Ask)
        self.asks.append(ask)
        yield Answer(self.script(ask))

    def run(self, besides: Callable[[UserEquipment], Coroutine[Any, Any, None]] | None = None) -> UserEquipment:
        time = VirtualTime()
        loop = asyncio.SelectorEventLoop(time)
        loop.time = lambda: time.now_ns / 1e9  # type: ignore[method-assign]
        with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=lambda: loop) as runner:
            patch.setattr(clock.time, "monotonic_ns", lambda: time.now_ns)
            patch.setattr(self.notes, "now", lambda: time.now_ns, raising=False)
            made = UserEquipment(self.plan, self.device, self.shop, self.images, self.notes, self)  # type: ignore[arg-type]

            async def live() -> None:
                others = [asyncio.create_task(besides(made))] if besides else []
                await made.run(START)
                for other in others:
                    other.cancel()

            runner.run(live())
        return made

    def sending(self, ask: delivery.Ask, variant: str = "large", pause: int = 0, end: str = "") -> Pieces:
        """What a good library sends: what the device lacks, with a pause before each block."""
        manifest = self.manifests[ask.model]
        blocks = [BLOCKS[ask.model][number] for number in manifest.variant(end or variant).blocks]
        text = manifest.to_json()
        objects = {digest_of(text): delivery.deflate(text)} | {digest_of(block): block for block in blocks}
        head, *frames = [
            delivery.frame_head(digest, len(data)) + data if digest not in ask.have else b""
            for digest, data in objects.items()
        ]
        offer, done = (delivery.note_frame(note) for note in (delivery.Offer(variant), delivery.End(end or variant)))
        return [(0, head + offer), *((pause, one) for one in frames if one), (0, done)]

    def ran(self) -> list[tuple[str, str]]:
        """What was run, each change once."""
        inferences = [(event.model, event.variant) for event in self.notes.of(records.Inference)]
        return [key for key, _ in itertools.groupby(inferences)]

    def kinds(self, *kinds: type[records.Event]) -> list[str]:
        return [type(event).__name__ for event in self.notes.events if isinstance(event, kinds)]


NIGHT_AT_1_S = [{"time": "1 s..3 s", "model": "digits@night"}, {"model": "digits"}]
NIGHT_FROM_1_S = [{"time": "1 s..", "model": "digits@night"}, {"model": "digits"}]


def world(script: Callable[[World, delivery.Ask], Pieces], **changed: Any) -> World:
    settings: dict[str, Any] = {"situations": NIGHT_FROM_1_S, "requests": {"deadline": "1 s"}, **changed}
    made = World(lambda ask: script(made, ask), **settings)
    return made


def test_a_device_runs_the_part_that_is_complete_while_the_rest_arrives() -> None:
    """A block each 300 ms, an inference each 100 ms."""
    there = world(lambda w, ask: w.sending(ask, pause=300))
    there.run()
    night = [("digits@night", variant) for variant in ("small", "middle", "large")]
    assert there.ran() == [("digits", "large"), *night]
    small, middle = there.notes.of(records.Runnable)
    assert (small.variant, small.on_time, middle.variant) == ("small", True, "middle")
    loading = 9_000 * 1000 // 1000  # ns; 1 GB/s
    assert 300 * MS <= small.latency_ns <= 300 * MS + 10 * loading
    (completed,) = there.notes.of(records.Completed)
    assert 900 * MS <= completed.latency_ns < 1000 * MS and completed.on_time
    (swapped,) = there.notes.of(records.Swapped)
    assert (swapped.variant, swapped.accuracy_before, swapped.accuracy_after) == ("large", 0.0, 1.0)


def test_loading_is_charged_and_a_part_that_is_overtaken_is_not_waited_for() -> None:
    there = world(lambda w, ask: w.sending(ask))
    there.device = msgspec.structs.replace(there.device, load_bytes_per_s=1_000_000)
    there.run()
    size = there.manifests["digits@night"].variant("large").bytes
    (completed,) = there.notes.of(records.Completed)
    assert completed.latency_ns == pytest.approx(size * 1000, rel=0.01)
    assert there.notes.of(records.Runnable) == []


def test_a_cut_download_ends_with_the_part_that_was_loaded_and_in_the_time_when_it_was() -> None:
    there = world(
        lambda w, ask: [
            *w.sending(ask, pause=300, end="middle")[:-1],
            (2000, w.sending(ask, end="middle")[-1][1]),
        ]
    )
    there.run()
    (completed,) = there.notes.of(records.Completed)
    assert completed.variant == "middle" and completed.on_time
    assert there.ran()[-1] == ("digits@night", "middle")


def test_where_all_tiers_fail_after_a_part_the_device_keeps_the_part() -> None:
    there = world(lambda w, ask: [*w.sending(ask, pause=300)[:2], (250, None)] if len(w.asks) == 1 else [(0, None)])
    there.run()
    assert there.kinds(records.Cut, records.Completed, records.Failed) == ["Cut", "Completed"]
    (cut,) = there.notes.of(records.Cut)
    assert (cut.node, cut.planned, cut.kept) == ("phone", "large", "small")
    assert there.ran()[-1] == ("digits@night", "small")


def test_where_nothing_runs_the_old_model_goes_on_and_what_came_is_not_asked_for_again() -> None:
    there = world(lambda w, ask: w.sending(ask) if len(w.asks) > 4 else [w.sending(ask)[0], (10, None)])
    there.run()
    assert there.kinds(records.Failed, records.Completed) == ["Failed", "Completed"]
    assert there.ran() == [("digits", "large"), ("digits@night", "large")]
    text = digest_of(there.manifests["digits@night"].to_json())
    assert [text in ask.have for ask in there.asks] == [False, True, True, True, True]
    (failed,) = there.notes.of(records.Failed)
    assert all(f"{host}: the library's answer" in failed.reason for host in ("square-edge", "region-local", "central"))


# Memory and storage


def test_a_device_has_room_for_two_models_and_says_so() -> None:
    there = world(lambda w, ask: w.sending(ask, "small"), memory=4_001)
    there.run()
    assert there.shop.limits is not None and there.shop.limits.memory_bytes == 2_000
    assert [ask.memory_bytes for ask in there.asks] == [2_000]


@pytest.mark.parametrize(
    ("memory", "parts"), [(3000 + 3000 + 1000, ["small"]), (3000 + 3000 + 999, []), (8000, ["small", "middle"])]
)
def test_a_part_is_loaded_only_beside_all_that_has_to_be_there(memory: int, parts: list[str]) -> None:
    """The old model takes 3,000 bytes, the one to come as many."""
    there = world(lambda w, ask: w.sending(ask, pause=300), memory=memory)
    there.run()
    assert [event.variant for event in there.notes.of(records.Runnable)] == parts
    assert there.ran()[-1] == ("digits@night", "large")


def test_a_device_keeps_what_it_was_sold_with_and_what_it_runs() -> None:
    there = world(lambda w, ask: w.sending(ask), situations=NIGHT_AT_1_S)
    made = there.run()

    def objects(model: str) -> set[str]:
        return {digest_of(there.manifests[model].to_json()), *map(digest_of, BLOCKS[model])}

    assert set(there.asks[0].have) == objects("digits")
    assert set(made._stored) >= objects("digits")
    assert there.kinds(records.Completed) == ["Completed"] * 2
    assert there.notes.of(records.Completed)[1].bytes == 0  # all of the base model is there


# Trials


def test_a_model_that_is_worse_on_what_the_device_sees_is_taken_back_and_not_asked_for_again() -> None:
    """It is told that night falls, and sees none."""
    there = world(lambda w, ask: w.sending(ask))
    there.images.shown = {"digits@night": "digits"}
    there.run()
    assert there.ran() == [("digits", "large"), ("digits@night", "large"), ("digits", "large")]
    (back,) = there.notes.of(records.RolledBack)
    assert (back.images, back.right_before, back.right_after) == (trial.IMAGES, trial.IMAGES, 0)
    assert len(there.asks) == 1


def test_it_is_asked_for_again_when_the_need_has_changed_in_between() -> None:
    situations = [{"time": f"{a} s..{a + 3} s", "model": "digits@night"} for a in (1, 5)] + [{"model": "digits"}]
    there = world(lambda w, ask: w.sending(ask), situations=situations, duration="9 s")
    there.images.shown = {"digits@night": "digits"}
    there.run()
    assert [ask.model for ask in there.asks] == ["digits@night"] * 2
    assert len(there.notes.of(records.RolledBack)) == 2


def test_a_model_that_is_better_stays() -> None:
    there = world(lambda w, ask: w.sending(ask))
    there.run()
    assert there.notes.of(records.RolledBack) == []


def test_a_part_that_is_worse_is_taken_back_and_the_rest_of_it_is_not_run_either() -> None:
    there = world(lambda w, ask: w.sending(ask, pause=1500), duration="8 s")
    there.images.shown = {"digits@night": "digits"}
    there.run()
    assert there.ran() == [("digits", "large"), ("digits@night", "small"), ("digits", "large")]
    assert there.notes.of(records.Swapped) == []


def test_a_download_that_nobody_needs_any_more_is_not_run() -> None:
    """It is day again before it has come."""
    situations = [{"time": "1 s..2 s", "model": "digits@night"}, {"model": "digits"}]
    there = world(lambda w, ask: w.sending(ask, pause=1100), situations=situations)
    there.run()
    assert there.ran() == [("digits", "large")]
    assert there.kinds(records.Completed, records.Swapped) == ["Completed"]


def test_a_download_that_is_in_flight_when_all_has_ended_is_on_record() -> None:
    there = world(lambda w, ask: w.sending(ask, pause=2_500))
    there.run()
    assert there.kinds(records.Completed, records.Failed) == ["Failed"]
    (failed,) = there.notes.of(records.Failed)
    assert failed.reason == "the run ended before it was there"


def test_a_fault_in_a_download_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    there = world(lambda w, ask: w.sending(ask))
    monkeypatch.setattr(UserEquipment, "_swap", broken)
    with pytest.raises(ZeroDivisionError):
        there.run()
