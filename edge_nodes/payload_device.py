"""A device whose application is a payload: it downloads, records and forgets; there is nothing to run."""

import asyncio

from edge_nodes.clock import sleep_until
from edge_nodes.device import DRAIN_NS, DownloadFailed, UserEquipment, _current
from scenarios import records
from scenarios.plan import Attachment


class PayloadDevice(UserEquipment):
    """Asks for its payload at each time of the plan, also while it still downloads."""

    async def run(self, origin: int) -> None:
        downloads = []
        for number, need in enumerate(self._device.needs, 1):
            await sleep_until(origin + need.time_ns)
            self._recorder.write(records.Need(self._recorder.now(), self._device.host, need.model))
            attachment = _current(self._device.attachments, need.time_ns)
            name = f"{self._device.host}-{number}"
            downloads.append(asyncio.create_task(self._replace(need.model, attachment, name)))
        await sleep_until(origin + self._plan.duration_ns)
        if downloads:
            await asyncio.wait(downloads, timeout=DRAIN_NS / 10**9)

    async def _replace(self, model: str, attachment: Attachment, download: str) -> None:
        host, limit, edge = self._device.host, self._device.deadline_ns, f"{attachment.gnb}-edge"
        began = self._recorder.now()
        self._recorder.write(records.Requested(began, host, download, model, edge, limit))
        try:
            _, variant, received = await self._fetch(model, attachment, edge, download, began)
        except DownloadFailed as error:
            self._recorder.write(records.Failed(self._recorder.now(), host, download, model, str(error)))
            return
        self._blocks.clear()
        await sleep_until(self._recorder.now() + variant.bytes * 10**9 // self._device.load_bytes_per_s)
        took = self._recorder.now() - began
        done = records.Completed(
            self._recorder.now(), host, download, model, variant.name, received, took, took <= limit
        )
        self._recorder.write(done)

    def _from_factory(self) -> None:  # type: ignore[override]
        """It is sold without a model."""
