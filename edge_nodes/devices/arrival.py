"""One download on its way into a device: the best part of it that is complete is loaded while more arrives.

Objects go to the device's storage as they arrive; a model is loaded from there into memory, where it lies beside the one that runs.
So a part of a download is loaded only where there is room for it beside the model that runs and the one that is to come.
"""

import asyncio
from collections.abc import Callable

from edge_nodes.choosing.deadline import parts
from edge_nodes.clock import sleep_ns, sleep_until
from edge_nodes.devices.factory import Running
from edge_nodes.devices.receiver import DownloadFailed, Receiver
from edge_nodes.models.manifest import Variant
from scenarios import records
from scenarios.plan import Device


class Arrival:
    """The download of a model for a device that runs another; `loaded` is the best part of it that could run by now."""

    def __init__(
        self,
        receiver: Receiver,
        make: Callable[[Variant], Running],  # from what has been received; raises BlockError
        device: Device,
        download: str,
        model: str,
        running: Running,
        began: int,
        now: Callable[[], int],
        note: Callable[..., None],
    ) -> None:
        self.make, self._receiver, self._device = make, receiver, device
        self.download, self.model, self._running = download, model, running
        self._began, self._now, self._note = began, now, note
        self.loaded: Variant | None = None
        self._loaded_ns = 0

    async def finish(self) -> tuple[Running, int]:
        """What the download ends with, and the time when it was loaded. Raises DownloadFailed, BlockError."""
        loading = asyncio.create_task(self._load_what_is_complete())
        try:
            variant = await self._receiver.receive()
        except DownloadFailed as error:
            if self.loaded is None:
                raise
            self._record_the_loss(self.loaded, str(error))
            variant = self.loaded
        finally:
            loading.cancel()
        came = self._now()
        new = self.make(variant)
        if variant is not self.loaded:
            await sleep_until(came + self._loading_ns(variant))
            self._loaded_ns = self._now()
        return new, self._loaded_ns

    async def _load_what_is_complete(self) -> None:
        accuracy = _accuracy_there(self._running, self.model)
        while True:
            await self._receiver.news.wait()
            self._receiver.news.clear()
            variant = self._best_complete(accuracy)
            if variant is None:
                continue
            size = self._receiver.bytes
            await sleep_ns(self._loading_ns(variant))
            self.loaded, self._loaded_ns, accuracy = variant, self._now(), variant.accuracy
            latency = self._loaded_ns - self._began
            on_time = latency <= self._device.deadline_ns
            self._note(records.Runnable, self.model, variant.name, size, latency, on_time, accuracy)

    def _best_complete(self, accuracy: float) -> Variant | None:
        """The most accurate part of what was offered that is there, more accurate than that, and has room."""
        manifest, offered = self._receiver.manifest, self._receiver.offered
        if manifest is None or offered is None:
            return None
        room = self._device.memory_bytes - self._running.variant.memory - offered.memory
        for variant in parts(manifest, offered):
            if variant.accuracy <= accuracy:
                return None
            if variant is not offered and variant.memory <= room and self._receiver.has(variant):
                return variant
        return None

    def _loading_ns(self, variant: Variant) -> int:
        return variant.bytes * 10**9 // self._device.load_bytes_per_s

    def _record_the_loss(self, kept: Variant, why: str) -> None:
        planned = self._receiver.offered or kept
        self._note(records.Cut, planned.name, kept.name, planned.bytes, self._receiver.bytes, why)


def _accuracy_there(running: Running, model: str) -> float:
    """What the model that runs has right in the situation of another one, as far as its manifest says.

    It does for the situation of its own base. In any other one a model that was made for it counts as better, whatever its size;
    where that is wrong, the trial shows it.
    """
    base, _, situation = running.model.partition("@")
    return running.variant.accuracy_clear if situation and model == base else -1.0
