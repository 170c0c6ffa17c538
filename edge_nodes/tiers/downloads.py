"""A library's answers to devices: reserves a session, chooses the variant, and streams the blocks that the device lacks.

The manifest leaves before the controller has been asked. While the blocks leave, what the device has acknowledged tells whether the
rest still arrives in time; where it does not, the plan is cut (`deadline`, `sending`).
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
from aiohttp import web

from edge_nodes import delivery, http11, tcp
from edge_nodes.choosing.deadline import Course
from edge_nodes.choosing.ordering import sending_order
from edge_nodes.choosing.policies import (
    Choice,
    Limits,
    NothingFits,
    candidates,
    compression,
    is_deadline_aware,
    rate_for,
)
from edge_nodes.choosing.transfer import payload_bps
from edge_nodes.clock import sleep_ns
from edge_nodes.http11 import Data
from edge_nodes.models.manifest import Block, Manifest, Variant
from edge_nodes.tiers.sending import Channel, Stream, send_blocks
from edge_nodes.tiers.sessions import Grant, Northbound, Refused, Wish
from edge_nodes.tiers.store import Source, Unavailable
from scenarios import recording, records
from scenarios.channel import above_ns
from scenarios.plan import Plan
from scenarios.quantity import about

# Up to this rate of a channel packets leave at it. Each takes a timer then, which makes a packet in the machine take twice its wall
# time, and on a faster link the queue of 50 ms holds more than a download's slow start.
PACED_BPS = 200_000_000
LEAST_PAUSE_NS = 1_000_000  # before it is looked again whether a device has acknowledged everything


class Asked(NamedTuple):
    """A request that can be answered."""

    ask: delivery.Ask
    deadline_ns: int
    manifest: Manifest
    text: Data  # of the manifest, as it is sent
    limits: Limits  # if the channel were the device's alone
    wanted: Choice  # within them


class Models(Protocol):
    """The part of a tier that is needed."""

    async def deflated(self, model: str) -> Data: ...
    async def manifest(self, model: str) -> Manifest: ...
    async def open(self, name: str, digest: str) -> Source: ...
    def holds(self, digests: Iterable[str]) -> bool: ...


class Downloads:
    """What one tier at `host` does for devices."""

    def __init__(
        self,
        plan: Plan,
        host: str,
        models: Models,
        recorder: recording.Recorder,
        northbound: Northbound,
        own_policies: Path | None = None,
    ) -> None:
        """`own_policies` is the folder with the modules of the user's own policies."""
        self._plan, self._host, self._models, self._recorder = plan, host, models, recorder
        self._northbound = northbound
        self._address = next(entry.ip for entry in plan.hosts if entry.name == host)
        self._compression = compression(plan.policies.compression, own_policies)
        self._above_ns = above_ns(plan, host)
        self._background: set[asyncio.Task[None]] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        now = self._recorder.now()
        try:
            body = await request.read()
            ask = msgspec.json.decode(body, type=delivery.Ask)
        except (ValueError, RecursionError) as error:
            return web.Response(status=400, text=f"not a download request: {error}")
        if ask.model not in self._plan.models:
            return web.Response(status=404, text=f"no model {ask.model}")
        try:
            text, manifest = await self._models.deflated(ask.model), await self._models.manifest(ask.model)
            deadline = now + ask.time_left_ns - asking_ns(ask, len(body), _round_trip_ns(request))
            limits = _limits(ask, deadline - now, 0 if self._plan.models[ask.model] in ask.have else len(text))
            asked = Asked(ask, deadline, manifest, text, limits, self._wanted(manifest, ask, limits))
        except (Unavailable, NothingFits) as error:
            return web.Response(status=503, text=str(error))
        except KeyError as error:
            return web.Response(status=404, text=str(error.args[0]))
        return await self._deliver(request, asked)

    def _wanted(self, manifest: Manifest, ask: delivery.Ask, limits: Limits) -> Choice:
        """Raises NothingFits; KeyError where the device names what is not there."""
        if not ask.variant:
            return self._best(manifest, limits)
        return _chosen(manifest, ask.variant, ask.have, "asked for")

    async def _deliver(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """A session, the choice, and the stream. Once the manifest is under way there is no other answer."""
        ask, digest = asked.ask, self._plan.models[asked.ask.model]
        connection = request.get_extra_info("socket")  # which there is not any more when the device has gone
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async with http11.body_of(request) as send:
            paced = ask.channel_bps <= PACED_BPS
            tcp.pace(connection, payload_bps(ask.channel_bps) // 8 if paced else None)
            stream = Stream(send)
            if digest not in ask.have:
                offset = ask.resume.offset if ask.resume and ask.resume.object == digest else 0
                await stream.part(digest, memoryview(asked.text)[offset:], offset, len(asked.text))
            grant, why = await self._reserve(str(request.remote), asked)
            try:
                await self._stream(request, stream, asked, grant, why)
            finally:
                if grant:
                    self._later(self._release(connection, asked, grant))
        await response.write_eof()
        return response

    async def _reserve(self, device_ip: str, asked: Asked) -> tuple[Grant | None, str]:
        """A session at the rate that brings in time what would be chosen if the channel were the device's alone."""
        ask = asked.ask
        if not asked.wanted.missing_bytes:
            return None, "nothing is missing"
        wish = Wish(
            device_ip,
            self._address,
            ask.slice,
            ask.download,
            rate_for(asked.manifest, asked.wanted, asked.limits),
            asked.deadline_ns,
            asked.deadline_ns - self._recorder.now(),
            candidates(asked.manifest, asked.limits, None if self._may_change(ask) else asked.wanted.variant),
        )
        try:
            return await self._northbound.create(wish), ""
        except Refused as error:
            return None, str(error)

    async def _release(self, connection: socket.socket, asked: Asked, grant: Grant) -> None:
        """Ends a session when the device has acknowledged all that was sent in it, or has gone. Raises aiohttp.ClientError."""
        with contextlib.suppress(OSError):  # the connection is closed
            while waiting := tcp.sight(connection, self._recorder.now()).waiting:
                await sleep_ns(max(asked.ask.round_trip_ns, LEAST_PAUSE_NS, waiting * 8 * 10**9 // grant.rate_bps // 2))
        await self._northbound.delete(grant.id)

    def _may_change(self, ask: delivery.Ask) -> bool:
        """Whether another variant than the library's own choice will do."""
        return not ask.variant and is_deadline_aware(self._compression)

    async def _stream(self, request: web.Request, stream: Stream, asked: Asked, grant: Grant | None, why: str) -> None:
        """The offer, the blocks and the end."""
        ask, rate = asked.ask, grant.rate_bps if grant else asked.ask.channel_bps
        choice = asked.wanted if ask.variant else self._choose(asked, rate, grant.variant if grant else "")
        reason = choice.reason if grant else f"{choice.reason}; no session: {why}"
        self._record(records.Chosen, ask, choice.variant.name, choice.missing_bytes, grant.id if grant else "", reason)
        await stream.note(delivery.Offer(choice.variant.name))
        air = ask.resume.object if ask.resume else ""
        order = _in_order(asked.manifest, choice.variant, ask.have, air)
        course = Course(asked.manifest, choice.variant, order, ask.have)
        channel = Channel(
            request.get_extra_info("socket"), self._recorder.now, asked.deadline_ns, rate, ask.load_bytes_per_s
        )
        fetch = partial(self._models.open, ask.model)
        sent = await send_blocks(stream, course, fetch, channel if self._may_change(ask) else None, ask.resume)
        cut = ""
        if course.variant is not choice.variant:
            cut = f"{about(channel.rate_bps, 'rate')} of {about(rate, 'rate')}"
            cut = f"{cut}; {course.variant.name} instead of {choice.variant.name}"
            self._record(records.Cut, ask, choice.variant.name, course.variant.name, choice.missing_bytes, sent, cut)
        await stream.note(delivery.End(course.variant.name, cut))

    def _choose(self, asked: Asked, rate_bps: int, variant: str) -> Choice:
        """What a slicing policy chose; or at the rate that is to be had, in the time that is left now."""
        if variant:
            return _chosen(asked.manifest, variant, asked.limits.have, "chosen by the slicing policy")
        limits, left = asked.limits, asked.deadline_ns - self._recorder.now()
        now = limits._replace(rate_bps=rate_bps, time_left_ns=left, before_ns=limits.time_left_ns - left)
        choice = self._best(asked.manifest, now)
        wanted = asked.manifest.blocks_of(choice.variant, limits.have)
        if self._models.holds(block.digest for block in wanted):
            return choice
        return self._best(asked.manifest, now._replace(above_ns=self._above_ns))

    def _best(self, manifest: Manifest, limits: Limits) -> Choice:
        """The compression policy's. Raises NothingFits, and what a user's own raises, of which the records say so."""
        try:
            return self._compression.choose(manifest, limits)
        except NothingFits:
            raise
        except Exception as error:
            why = f"policy {type(self._compression).__name__}: raises {type(error).__name__}: {error}"
            self._recorder.write(records.PolicyFailed(self._recorder.now(), self._host, " ".join(why.split())))
            raise

    def _record(self, kind: Callable[..., records.Event], ask: delivery.Ask, *figures: Any) -> None:
        self._recorder.write(kind(self._recorder.now(), self._host, ask.download, *figures))

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _chosen(manifest: Manifest, name: str, have: Collection[str], why: str) -> Choice:
    variant = manifest.variant(name)
    missing = sum(block.bytes for block in manifest.blocks_of(variant, have))
    return Choice(variant, missing, f"{variant.name}: {about(missing, 'size')}, {why}")


def asking_ns(ask: delivery.Ask, size: int, connecting_ns: int) -> int:
    """What has passed since the device looked at its clock: it may have had to connect, and sent a request of `size` bytes.

    Connecting took a round trip, or as long as the connection has seen one take: in a full cell its answer waits in a queue.
    """
    connecting = max(ask.round_trip_ns, connecting_ns)
    return connecting + ask.round_trip_ns // 2 + size * 8 * 10**9 // max(1, ask.channel_bps)


def _round_trip_ns(request: web.Request) -> int:
    """The shortest of the connection; 0 where the device has gone."""
    connection = request.get_extra_info("socket")
    try:
        return tcp.sight(connection, 0).round_trip_ns if connection else 0
    except OSError:
        return 0


def _limits(ask: delivery.Ask, time_left_ns: int, before_bytes: int) -> Limits:
    return Limits(
        memory_bytes=ask.memory_bytes,
        macs_per_s=ask.macs_per_s,
        infer_interval_ns=ask.infer_interval_ns,
        rate_bps=ask.channel_bps,
        time_left_ns=time_left_ns,
        have=frozenset(ask.have),
        round_trip_ns=ask.round_trip_ns,
        load_bytes_per_s=ask.load_bytes_per_s,
        energy_per_mac_j=ask.energy_per_mac_j,
        power_w=ask.power_w,
        before_bytes=before_bytes,
        head_bytes=delivery.HEAD_BYTES,
    )


def _in_order(manifest: Manifest, variant: Variant, have: Collection[str], air: str) -> list[Block]:
    """The blocks of a variant that a device lacks; what was in the air comes first."""
    return sorted(sending_order(manifest, variant, have), key=lambda block: block.digest != air)
