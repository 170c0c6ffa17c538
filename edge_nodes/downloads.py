"""A library's answers to devices: reserves a session, chooses the variant, and streams the blocks that the device lacks."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from aiohttp import web

from edge_nodes import delivery, http11
from edge_nodes.http11 import Data
from edge_nodes.manifest import Manifest
from edge_nodes.policies import Choice, Limits, NothingFits, compression, rate_for
from edge_nodes.sessions import Grant, Northbound, Refused
from scenarios import records
from scenarios.plan import Plan


class Unavailable(Exception):
    """No tier has the object, or none has it unbroken; the message says what each of them said."""


class Downloads:
    """What one tier at `host` does for devices; `object(name, digest)` gives its objects."""

    def __init__(
        self,
        plan: Plan,
        host: str,
        object: Callable[[str, str], Coroutine[Any, Any, Data]],
        recorder: records.Recorder,
        northbound: Northbound,
    ) -> None:
        self._plan, self._host, self._object, self._recorder, self._northbound = (
            plan,
            host,
            object,
            recorder,
            northbound,
        )
        self._address = next(entry.ip for entry in plan.hosts if entry.name == host)
        self._compression = compression(plan.policies.compression)
        self._background: set[asyncio.Task[None]] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            ask = msgspec.json.decode(await request.read(), type=delivery.Ask)
        except (ValueError, RecursionError) as error:
            return web.Response(status=400, text=f"not a download request: {error}")
        if ask.model not in self._plan.models:
            return web.Response(status=404, text=f"no model {ask.model}")
        try:
            return await self._deliver(request, ask)
        except (Unavailable, NothingFits) as error:
            return web.Response(status=503, text=str(error))

    async def _deliver(self, request: web.Request, ask: delivery.Ask) -> web.StreamResponse:
        began = self._recorder.now()
        name, _, _ = ask.model.partition("@")
        manifest_digest = self._plan.models[ask.model]
        manifest = Manifest.from_json(await self._object(name, manifest_digest))
        grant, why = await self._reserve(str(request.remote), ask, manifest)
        try:
            left = ask.time_left_ns - (self._recorder.now() - began)
            choice = self._compression.choose(
                manifest, _limits(ask, grant.rate_bps if grant else ask.channel_bps, left)
            )
            reason = choice.reason if grant else f"{choice.reason}; no session: {why}"
            self._record_choice(ask, choice, grant.id if grant else "", reason)
            return await self._stream(request, name, manifest_digest, manifest, choice, ask)
        finally:
            if grant:
                self._later(self._northbound.delete(grant.id))

    def _record_choice(self, ask: delivery.Ask, choice: Choice, session: str, reason: str) -> None:
        now, variant = self._recorder.now(), choice.variant.name
        event = records.Chosen(now, self._host, ask.download, variant, choice.missing_bytes, session, reason)
        self._recorder.write(event)

    async def _reserve(self, device_ip: str, ask: delivery.Ask, manifest: Manifest) -> tuple[Grant | None, str]:
        """A session at the rate that brings in time what would be chosen if the channel were the device's alone."""
        limits = _limits(ask, ask.channel_bps, ask.time_left_ns)
        rate = rate_for(self._compression.choose(manifest, limits), limits)
        duration = -(-max(ask.time_left_ns, 1) // 10**9)
        try:
            return await self._northbound.create(device_ip, self._address, ask.slice, rate, duration), ""
        except Refused as error:
            return None, str(error)

    async def _stream(
        self,
        request: web.Request,
        name: str,
        manifest_digest: str,
        manifest: Manifest,
        choice: Choice,
        ask: delivery.Ask,
    ) -> web.StreamResponse:
        wanted = [block.digest for block in manifest.blocks_of(choice.variant, ask.have)]
        digests = [digest for digest in (manifest_digest,) if digest not in ask.have] + wanted
        pulls = [asyncio.create_task(self._object(name, digest)) for digest in digests]
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async with http11.body_of(request) as send:

            async def chunk(head: bytes, data: Data = b"") -> None:
                await send(b"%x\r\n" % (len(head) + len(data)), head, data, b"\r\n")

            offer = msgspec.json.encode(delivery.Offer(choice.variant.name, digests))
            await chunk(delivery.frame_head("offer", len(offer)), offer)
            for digest, pull in zip(digests, pulls, strict=True):
                try:
                    data = await pull
                except Unavailable as error:
                    await chunk(delivery.error_frame(digest, str(error)))
                else:
                    await chunk(delivery.frame_head(digest, len(data)), data)
        await response.write_eof()
        return response

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _limits(ask: delivery.Ask, rate_bps: int, time_left_ns: int) -> Limits:
    return Limits(
        memory_bytes=ask.memory_bytes,
        macs_per_s=ask.macs_per_s,
        infer_interval_ns=ask.infer_interval_ns,
        rate_bps=rate_bps,
        time_left_ns=time_left_ns,
        have=frozenset(ask.have),
        round_trip_ns=ask.round_trip_ns,
        load_bytes_per_s=ask.load_bytes_per_s,
        energy_per_mac_j=ask.energy_per_mac_j,
        power_w=ask.power_w,
    )
