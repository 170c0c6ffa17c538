"""A device: real inference on real images; when its situation changes it downloads a better model and swaps to it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import torch
from safetensors.torch import load_file

from edge_nodes import codec, delivery, http11
from edge_nodes.clock import sleep_until
from edge_nodes.downloads import Unavailable
from edge_nodes.factory import Factory
from edge_nodes.library import fetch
from edge_nodes.manifest import Manifest, Variant
from edge_nodes.policies import Limits
from scenarios import channel, records
from scenarios.plan import LIBRARY_PORT, Attachment, Device, Library, Need, Plan

PROBE_IMAGES = 100  # on which both models are measured at a swap, by the experimenter: no device time is charged
DOWNLOAD_LIMIT_S = 300.0  # after which a library counts as down
DRAIN_NS = 2_000_000_000  # after the run's end a download in flight may still finish


_Entry = TypeVar("_Entry", Need, Attachment)


class Running(NamedTuple):
    """The model that a device runs."""

    model: str
    variant: Variant
    net: Callable[[torch.Tensor], torch.Tensor]


class HeldOut:
    """The images that were kept from training: what a device sees in each model's situation."""

    def __init__(self, file: Path) -> None:
        self._tensors = load_file(file)

    def draw(self, model: str, random: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`count` images [count, 1, 8, 8] with their labels [count]."""
        images, labels = self._tensors[f"{model}/images"], self._tensors[f"{model}/labels"]
        chosen = torch.from_numpy(random.integers(len(labels), size=count))
        return images[chosen], labels[chosen]


class DownloadFailed(Exception):
    """No tier gave all that the variant needs."""


class UserEquipment:
    """One device of the plan; `http` makes its sockets in its own namespace."""

    def __init__(
        self,
        plan: Plan,
        device: Device,
        factory: Factory,
        held_out: HeldOut,
        recorder: records.Recorder,
        http: http11.Client,
    ) -> None:
        self._plan, self._device, self._recorder, self._http = plan, device, recorder, http
        self._factory, self._held_out = factory, held_out
        self._random = np.random.Generator(np.random.PCG64(device.image_seed))
        self._probe = np.random.Generator(np.random.PCG64(device.image_seed + 1))
        self._blocks: dict[str, http11.Data] = {}
        self._running = self._from_factory()
        self._download: asyncio.Task[None] | None = None
        self._count = 0
        self._not_before = 0
        self._origin = 0

    async def run(self, origin: int) -> None:
        """From the run's start to its end: an inference at each tick, a download whenever another model fits."""
        device, need = self._device, ""
        self._origin = origin
        tick = origin + device.phase_ns
        while tick < origin + self._plan.duration_ns:
            await sleep_until(tick)
            wanted = _current(device.needs, tick - origin).model
            if wanted != need:
                self._recorder.write(records.Need(self._recorder.now(), device.host, wanted))
                need = wanted
            await self._infer(need)
            if self._may_download(need):
                self._count += 1
                attachment = _current(device.attachments, self._recorder.now() - origin)
                self._download = asyncio.create_task(self._replace(need, attachment, f"{device.host}-{self._count}"))
            tick += device.infer_interval_ns
        await sleep_until(origin + self._plan.duration_ns)
        if self._download is not None:
            await asyncio.wait([self._download], timeout=DRAIN_NS / 10**9)

    def _may_download(self, need: str) -> bool:
        busy = self._download is not None and not self._download.done()
        return need != self._running.model and not busy and self._recorder.now() >= self._not_before

    async def _infer(self, need: str) -> None:
        running, began = self._running, self._recorder.now()
        images, labels = self._held_out.draw(need, self._random, 1)
        correct = _accuracy(running, images, labels) == 1.0
        # With a real clock computing has taken time: it is part of what the device would have taken
        await sleep_until(began + running.variant.macs * 10**9 // self._device.macs_per_s)
        now = self._recorder.now()
        self._recorder.write(
            records.Inference(now, self._device.host, running.model, running.variant.name, need, correct)
        )

    async def _replace(self, model: str, attachment: Attachment, download: str) -> None:
        """Downloads a model and swaps to it; a failure is recorded, and tried again one deadline later."""
        edge = f"{attachment.gnb}-edge"
        began = self._recorder.now()
        limit = self._device.deadline_ns
        self._recorder.write(records.Requested(began, self._device.host, download, model, edge, limit))
        try:
            manifest, variant, received = await self._fetch(model, attachment, edge, download, began)
            fetched = self._recorder.now()
            net = self._factory.build(manifest, variant, self._blocks_of(manifest, variant))
            await sleep_until(fetched + variant.bytes * 10**9 // self._device.load_bytes_per_s)
        except (DownloadFailed, codec.BlockError) as error:
            now = self._recorder.now()
            self._recorder.write(records.Failed(now, self._device.host, download, model, str(error)))
            self._not_before = now + limit
            return
        now = self._recorder.now()
        late = now - began > limit
        done = records.Completed(now, self._device.host, download, model, variant.name, received, now - began, not late)
        self._recorder.write(done)
        self._swap(Running(model, variant, net), download)

    def _swap(self, new: Running, download: str) -> None:
        """Between two inferences: one assignment, so no inference sees half a model."""
        images, labels = self._held_out.draw(new.model, self._probe, PROBE_IMAGES)
        before, after = _accuracy(self._running, images, labels), _accuracy(new, images, labels)
        self._running = new
        now = self._recorder.now()
        swapped = records.Swapped(now, self._device.host, download, new.model, new.variant.name, before, after)
        self._recorder.write(swapped)

    async def _fetch(
        self, model: str, attachment: Attachment, edge: str, download: str, began: int
    ) -> tuple[Manifest, Variant, int]:
        """The manifest, the variant that the library chose, and the bytes that came. Raises DownloadFailed."""
        device, since = self._device, self._recorder.now() - self._origin
        ask = delivery.Ask(
            download=download,
            model=model,
            time_left_ns=device.deadline_ns - (self._recorder.now() - began),
            channel_bps=channel.rate_bps(self._plan, device, attachment.gnb, since),
            memory_bytes=device.memory_bytes,
            macs_per_s=device.macs_per_s,
            infer_interval_ns=device.infer_interval_ns,
            slice=device.slice,
            have=sorted(self._blocks),
            round_trip_ns=channel.round_trip_ns(self._plan, device, attachment.gnb, since),
            load_bytes_per_s=device.load_bytes_per_s,
            energy_per_mac_j=device.energy_per_mac_j,
            power_w=device.power_w,
        )
        try:
            offer, objects, received = await self._stream(edge, ask)
            manifest_digest = self._plan.models[model]
            for digest in (d for d in offer.objects if d not in objects):
                objects[digest] = await self._from_upper_tier(edge, model, digest, download)
                received += len(objects[digest])
        except (http11.HttpError, delivery.BrokenStream, OSError) as error:
            raise DownloadFailed(f"{edge}: {error!r}") from None
        self._blocks |= objects
        manifest = Manifest.from_json(self._blocks[manifest_digest])
        return manifest, manifest.variant(offer.variant), received

    async def _stream(self, edge: str, ask: delivery.Ask) -> tuple[delivery.Offer, dict[str, http11.Data], int]:
        """The offer and the objects that arrived unbroken; each broken one is recorded."""
        address = self._address(edge), LIBRARY_PORT
        objects: dict[str, http11.Data] = {}
        received = 0
        async with (
            asyncio.timeout(DOWNLOAD_LIMIT_S),
            self._http.request("POST", address, delivery.PATH, msgspec.json.encode(ask)) as answer,
        ):
            if answer.status != 200:
                text = bytes(await answer.read()).decode(errors="replace")
                raise DownloadFailed(f"{edge}: answered {answer.status}: {text[:200]}")
            stream = delivery.frames(answer)
            head, data = await anext(stream)
            offer = msgspec.json.decode(data, type=delivery.Offer)
            self._recorder.write(records.FirstByte(self._recorder.now(), self._device.host, ask.download))
            async for head, data in stream:
                received += len(data)
                if not head.error and delivery.digest_of(data) == head.object:
                    objects[head.object] = data
                else:
                    self._reject(ask.download, head.object, edge, head.error or "other bytes than the digest promises")
        return offer, objects, received

    async def _from_upper_tier(self, edge: str, model: str, digest: str, download: str) -> http11.Data:
        """An object that the edge could not give. Raises DownloadFailed."""
        name, _, _ = model.partition("@")
        for host in self._library(edge).upstream:
            try:
                return await fetch(self._http, (self._address(host), LIBRARY_PORT), name, digest)
            except Unavailable as error:
                self._reject(download, digest, host, str(error))
        raise DownloadFailed(f"no tier has {digest} unbroken")

    def _blocks_of(self, manifest: Manifest, variant: Variant) -> dict[str, bytes]:
        """What a variant is built from, as safetensors wants it."""
        wanted = [block.digest for block in manifest.blocks_of(variant)]
        return {digest: bytes(self._blocks[digest]) for digest in wanted if digest in self._blocks}

    def _reject(self, download: str, digest: str, source: str, reason: str) -> None:
        now = self._recorder.now()
        self._recorder.write(records.BlockRejected(now, self._device.host, download, digest, source, reason))

    # Looked up when they are needed: a table of all nodes for each device would fill the memory.
    def _address(self, host: str) -> str:
        return next(entry.ip for entry in self._plan.hosts if entry.name == host)

    def _library(self, host: str) -> Library:
        return next(library for library in self._plan.libraries if library.host == host)

    def _from_factory(self) -> Running:
        """The base model in the variant that fits the device best, as it was sold."""
        device = self._device
        limits = Limits(
            memory_bytes=device.memory_bytes,
            macs_per_s=device.macs_per_s,
            infer_interval_ns=device.infer_interval_ns,
            rate_bps=0,
            time_left_ns=0,
            have=frozenset(),
            energy_per_mac_j=device.energy_per_mac_j,
            power_w=device.power_w,
        )
        manifest, variant, blocks = self._factory.base(device.application, limits)
        self._blocks |= blocks
        return Running(device.application, variant, self._factory.build(manifest, variant, blocks))


def _accuracy(running: Running, images: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.inference_mode():
        return float((running.net(images).argmax(1) == labels).double().mean())


def _current(timeline: list[_Entry], time_ns: int) -> _Entry:
    """The last entry that has begun."""
    return max((entry for entry in timeline if entry.time_ns <= time_ns), key=lambda entry: entry.time_ns)
