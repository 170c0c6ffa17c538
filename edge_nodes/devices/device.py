"""A device: real inference on real images; when its situation changes it downloads a better model and swaps to it.

While a download arrives, the device runs the best part of it that is complete, as soon as that is better than what it ran. Each
swap is between two inferences. A new model is on trial: where it turns out worse on what the device sees, the old one comes back.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file

from edge_nodes import delivery, http11
from edge_nodes.choosing.policies import Limits
from edge_nodes.clock import sleep_ns, sleep_until
from edge_nodes.devices import asking, trial
from edge_nodes.devices.arrival import Arrival
from edge_nodes.devices.factory import Factory, Running
from edge_nodes.devices.receiver import ENDED, DownloadFailed, Receiver, drain
from edge_nodes.http11 import Data
from edge_nodes.models import codec
from edge_nodes.models.manifest import Manifest, Variant
from scenarios import recording, records
from scenarios.plan import Attachment, Device, Need, Plan

PROBE_IMAGES = 100  # on which both models are measured at a swap, by the experimenter: no device time is charged

_Entry = TypeVar("_Entry", Need, Attachment)


class Trial(NamedTuple):
    """A download's model is on trial; the one that ran before stays loaded."""

    download: str
    old: Running


class HeldOut:
    """The images that were kept from training: what a device sees in each model's situation."""

    def __init__(self, file: Path) -> None:
        self._tensors = load_file(file)

    def draw(self, model: str, random: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`count` images [count, 1, 8, 8] with their labels [count]."""
        images, labels = self._tensors[f"{model}/images"], self._tensors[f"{model}/labels"]
        chosen = torch.from_numpy(random.integers(len(labels), size=count))
        return images[chosen], labels[chosen]


class UserEquipment:
    """One device of the plan; `http` makes its sockets in its own namespace."""

    def __init__(
        self,
        plan: Plan,
        device: Device,
        factory: Factory,
        held_out: HeldOut,
        recorder: recording.Recorder,
        http: http11.Client,
    ) -> None:
        self._plan, self._device, self._recorder, self._http = plan, device, recorder, http
        self._factory, self._held_out = factory, held_out
        self._random = np.random.Generator(np.random.PCG64(device.image_seed))
        self._probe = np.random.Generator(np.random.PCG64(device.image_seed + 1))
        self._stored: dict[str, Data] = {}  # objects: those that it was sold with, for good, and those of what it runs
        self._running = self._from_factory()
        self._sold_with = self._running.objects
        self._need = ""
        self._seen: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=trial.IMAGES)  # since the need changed
        self._trial: Trial | None = None
        self._refused = ""  # the model that turned out worse, until the need changes
        self._arrival: Arrival | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._count = 0
        self._not_before = self._origin = 0

    async def run(self, origin: int) -> None:
        """From the run's start to its end: an inference at each tick, a download whenever another model fits."""
        self._origin = origin
        tick = origin + self._device.phase_ns
        while tick < origin + self._plan.duration_ns:
            await sleep_until(tick)
            self._notice(_current(self._device.needs, tick - origin).model)
            self._swap_to_what_is_loaded()
            await self._infer()
            if self._trial and len(self._seen) == trial.IMAGES:
                self._start(self._judge(self._trial))
                self._trial = None
            if self._may_download():
                attachment = _current(self._device.attachments, self._recorder.now() - origin)
                self._start(self._download(attachment))
            tick += self._device.infer_interval_ns
        await sleep_until(origin + self._plan.duration_ns)
        await drain(self._tasks)

    def _notice(self, need: str) -> None:
        if need == self._need:
            return
        self._note(records.Need, need)
        self._need, self._refused, self._trial = need, "", None
        self._seen.clear()

    async def _infer(self) -> None:
        running, need, began = self._running, self._need, self._recorder.now()
        images, labels = self._held_out.draw(need, self._random, 1)
        self._seen.append((images, labels))
        correct = all(_right(running, images, labels))
        # With a real clock computing has taken time: it is part of what the device would have taken
        await sleep_until(began + self._inferring_ns(running))
        self._note(records.Inference, running.model, running.variant.name, need, correct)

    def _inferring_ns(self, running: Running) -> int:
        return running.variant.macs * 10**9 // self._device.macs_per_s

    # A download

    def _may_download(self) -> bool:
        fits = self._need in (self._running.model, self._refused)
        return not fits and self._arrival is None and self._recorder.now() >= self._not_before

    async def _download(self, attachment: Attachment) -> None:
        """Downloads the model that fits and swaps to it; a failure is recorded, and tried again one deadline later."""
        self._count += 1
        model, before, download = self._need, self._running, f"{self._device.host}-{self._count}"
        began, limit = self._recorder.now(), self._device.deadline_ns
        self._note(records.Requested, download, model, f"{attachment.gnb}-edge", limit)
        self._trial = None
        receiver = self._receiver(model, attachment, download, began, before)
        self._arrival = arrival = self._arriving(receiver, model, download, began)
        try:
            new, loaded_ns = await arrival.finish()
        except (DownloadFailed, codec.BlockError) as error:
            self._stored = receiver.objects  # what has come need not come again
            self._not_before = self._recorder.now() + limit
            self._note(records.Failed, download, model, str(error))
            return
        except asyncio.CancelledError:
            self._note(records.Failed, download, model, ENDED)
            raise
        finally:
            self._arrival = None
        latency = loaded_ns - began
        done = download, model, new.variant.name, receiver.bytes, latency, latency <= limit
        self._note(records.Completed, *done, new.variant.accuracy)
        self._stored = receiver.objects
        if self._may_swap(model):
            self._swap(new, download)
            images, labels = self._held_out.draw(model, self._probe, PROBE_IMAGES)
            accuracies = (float(np.mean(_right(one, images, labels))) for one in (before, new))
            self._note(records.Swapped, download, model, new.variant.name, *accuracies)

    def _room(self, before: Running) -> int:
        """Half of the memory is for the model that runs and half for the next one, whatever that is; once a part of that is loaded
        too, what is left."""
        part, memory = self._arrival.loaded if self._arrival else None, self._device.memory_bytes
        return min(memory // 2, memory - before.variant.memory - part.memory) if part else memory // 2

    def _receiver(self, model: str, attachment: Attachment, download: str, began: int, before: Running) -> Receiver:
        device, gnb = self._device, attachment.gnb

        def ask() -> delivery.Ask:
            now = self._recorder.now()
            return asking.ask(
                self._plan,
                device,
                gnb,
                download,
                model,
                since_ns=now - self._origin,
                time_left_ns=device.deadline_ns - (now - began),
                memory_bytes=self._room(before),
                power_w=device.power_w,
            )

        def note(kind: Any, *figures: Any) -> None:
            self._note(kind, download, *figures)

        tiers = asking.tiers(self._plan, gnb)
        return Receiver(self._http, tiers, device.retry_ns, self._plan.models[model], self._stored, ask, note)

    def _arriving(self, receiver: Receiver, model: str, download: str, began: int) -> Arrival:
        def make(variant: Variant) -> Running:
            assert receiver.manifest is not None
            return self._running_of(receiver.manifest, variant, receiver.objects)

        def note(kind: Any, *figures: Any) -> None:
            self._note(kind, download, *figures)

        return Arrival(receiver, make, self._device, download, model, self._running, began, self._recorder.now, note)

    # Swaps: one assignment, so no inference sees half a model

    def _may_swap(self, model: str) -> bool:
        """Not to what is needed no more, nor to what turned out worse meanwhile."""
        return model == self._need != self._refused

    def _swap_to_what_is_loaded(self) -> None:
        """Just before an inference: to the best part of a download that is loaded by now."""
        arrival = self._arrival
        if arrival is None or arrival.loaded is None or not self._may_swap(arrival.model):
            return
        if (arrival.model, arrival.loaded.name) == (self._running.model, self._running.variant.name):
            return
        try:
            self._swap(arrival.make(arrival.loaded), arrival.download)
        except codec.BlockError as error:
            arrival.loaded = None
            self._note(records.BlockRejected, arrival.download, error.digest, "", error.what)

    def _swap(self, new: Running, download: str) -> None:
        if self._trial is None or self._trial.download != download:
            self._trial = Trial(download, self._running)
        self._running = new
        self._keep_what_is_needed()

    async def _judge(self, on_trial: Trial) -> None:
        """Both models on the images that were seen last; the old one comes back where the new one is worse."""
        old, new = on_trial.old, self._running
        images, labels = (torch.cat(column) for column in zip(*self._seen, strict=True))
        before, after = _right(old, images, labels), _right(new, images, labels)
        await sleep_ns(len(labels) * (self._inferring_ns(old) + self._inferring_ns(new)))
        if trial.is_worse(before, after) and self._running is new:
            self._running, self._refused = old, new.model
            self._keep_what_is_needed()
            outcome = old.model, old.variant.name, len(labels), sum(before), sum(after)
            self._note(records.RolledBack, on_trial.download, new.model, new.variant.name, *outcome)

    def _keep_what_is_needed(self) -> None:
        needed = self._sold_with | self._running.objects | (self._trial.old.objects if self._trial else frozenset())
        self._stored = {digest: data for digest, data in self._stored.items() if digest in needed}

    # What the plan says

    def _from_factory(self) -> Running:
        """The base model in the variant that fits the device best, as it was sold."""
        device = self._device
        limits = Limits(
            memory_bytes=device.memory_bytes // 2,
            macs_per_s=device.macs_per_s,
            infer_interval_ns=device.infer_interval_ns,
            rate_bps=0,
            time_left_ns=0,
            have=frozenset(),
            energy_per_mac_j=device.energy_per_mac_j,
            power_w=device.power_w,
        )
        manifest, variant, objects = self._factory.base(device.application, limits)
        self._stored = dict(objects)
        return self._running_of(manifest, variant, self._stored)

    def _running_of(self, manifest: Manifest, variant: Variant, objects: Mapping[str, Data]) -> Running:
        """Raises BlockError."""
        blocks = manifest.blocks_of(variant)
        # As bytes, since safetensors wants them
        made_from = {block.digest: bytes(objects[block.digest]) for block in blocks if block.digest in objects}
        net = self._factory.build(manifest, variant, made_from)
        return Running(manifest.model, variant, net, frozenset({self._plan.models[manifest.model], *made_from}))

    def _note(self, kind: Any, *figures: Any) -> None:
        self._recorder.write(kind(self._recorder.now(), self._device.host, *figures))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))


def _right(running: Running, images: torch.Tensor, labels: torch.Tensor) -> list[bool]:
    """Of each image whether the model has it right."""
    with torch.inference_mode():
        return list(map(bool, running.net(images).argmax(1) == labels))


def _current(timeline: list[_Entry], time_ns: int) -> _Entry:
    """The last entry that has begun."""
    return max((entry for entry in timeline if entry.time_ns <= time_ns), key=lambda entry: entry.time_ns)
