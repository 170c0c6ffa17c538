"""A device whose application is a payload: it downloads, records and forgets; there is nothing to run."""

import asyncio
from typing import Any

from edge_nodes import delivery, http11
from edge_nodes.clock import sleep_ns, sleep_until
from edge_nodes.devices import asking
from edge_nodes.devices.receiver import ENDED, DownloadFailed, Receiver, drain
from scenarios import recording, records
from scenarios.plan import Attachment, Device, Plan

ROOM = 1 << 62  # bytes


class PayloadDevice:
    """Asks for its payload at each time of the plan, also while it still downloads; has room for it, whatever its class."""

    def __init__(self, plan: Plan, device: Device, recorder: recording.Recorder, http: http11.Client) -> None:
        self._plan, self._device, self._recorder, self._http = plan, device, recorder, http

    async def run(self, origin: int) -> None:
        downloads = []
        for number, need in enumerate(self._device.needs, 1):
            await sleep_until(origin + need.time_ns)
            self._note(records.Need, need.model)
            name = f"{self._device.host}-{number}"
            downloads.append(asyncio.create_task(self._download(need.model, need.time_ns, name)))
        await sleep_until(origin + self._plan.duration_ns)
        await drain(downloads)

    async def _download(self, model: str, time_ns: int, download: str) -> None:
        """As a device does, up to the loading; a failure is recorded."""
        device, gnb = self._device, max((a for a in self._device.attachments if a.time_ns <= time_ns), key=_time).gnb
        began, limit = self._recorder.now(), device.deadline_ns
        tiers = asking.tiers(self._plan, gnb)
        self._note(records.Requested, download, model, tiers[0].host, limit)

        def ask() -> delivery.Ask:
            now = self._recorder.now() - began
            return asking.ask(
                self._plan,
                device,
                gnb,
                download,
                model,
                since_ns=time_ns + now,
                time_left_ns=limit - now,
                memory_bytes=ROOM,
                power_w=None,
            )

        def note(kind: Any, *figures: Any) -> None:
            self._note(kind, download, *figures)

        receiver = Receiver(self._http, tiers, device.retry_ns, self._plan.models[model], {}, ask, note)
        forgetting = asyncio.create_task(_forget_what_has_come(receiver))
        try:
            variant = await receiver.receive()
        except DownloadFailed as error:
            self._note(records.Failed, download, model, str(error))
            return
        except asyncio.CancelledError:
            self._note(records.Failed, download, model, ENDED)
            raise
        finally:
            forgetting.cancel()
        await sleep_ns(variant.bytes * 10**9 // device.load_bytes_per_s)
        took = self._recorder.now() - began
        done = download, model, variant.name, receiver.bytes, took, took <= limit
        self._note(records.Completed, *done, variant.accuracy)

    def _note(self, kind: Any, *figures: Any) -> None:
        self._recorder.write(kind(self._recorder.now(), self._device.host, *figures))


async def _forget_what_has_come(receiver: Receiver) -> None:
    """The names of what was verified are enough to go on, and a guest has no room for the bytes."""
    while True:
        await receiver.news.wait()
        receiver.news.clear()
        receiver.objects |= dict.fromkeys(receiver.objects, b"")


def _time(entry: Attachment) -> int:
    return entry.time_ns
