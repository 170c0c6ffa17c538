"""A device's end of a download: asks the tiers, verifies each block as it comes, resumes after a cut, falls back to the next tier.

The tiers are asked from the nearest up. One that broke off after some bytes is asked once more; where nothing came, or blocks were
bad, the next tier is asked; after the last one there is a pause, and another round. What has come is not asked for again, nor are
the first bytes of the object that was in the air. An object whose bytes are not those that its name promises is thrown away whole,
whichever tiers its parts came from.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from edge_nodes import delivery, http11
from edge_nodes.clock import sleep_ns
from edge_nodes.delivery import Arriving, BrokenStream
from edge_nodes.http11 import Data
from edge_nodes.models.manifest import Manifest, ManifestError, Variant
from scenarios import records
from scenarios.quantity import about

STALL_NS = (
    3_000_000_000  # without a byte, after which a library counts as down; what TCP has lost it sends again within 1 s
)
LOOKS = 10  # in that time
DRAIN_NS = 2_000_000_000  # after the run's end a download in flight may still finish
ENDED = "the run ended before it was there"


class Tier(NamedTuple):
    """A library that can be asked."""

    host: str
    address: http11.Address


class DownloadFailed(Exception):
    """No tier gave all that the variant needs; the message says what each of them said last."""


class _Interrupted(Exception):
    """A tier gave no stream, or not the whole of it."""


class _NoRoom(_Interrupted):
    """A tier sets out to send what the device has no room for, and would again."""


class Receiver:
    """One download. Its parts can be looked at while more arrives: `news` is set with every object, and at the end."""

    def __init__(
        self,
        http: http11.Client,
        tiers: Sequence[Tier],
        pauses_ns: Sequence[int],
        manifest_digest: str,
        held: Mapping[str, Data],
        ask: Callable[[], delivery.Ask],
        note: Callable[..., None],
    ) -> None:
        """`held` are the objects that the device has, verified; `ask` gives what is true now; `note(kind, *figures)` records."""
        self._http, self._tiers, self._pauses_ns, self._ask, self._note = http, tiers, pauses_ns, ask, note
        self._manifest_digest = manifest_digest
        self.objects = dict(held)
        self.manifest = Manifest.from_json(held[manifest_digest]) if manifest_digest in held else None
        self.offered: Variant | None = None  # what the last tier set out to send
        self.bytes = 0  # of objects and parts of objects, so far
        self.news = asyncio.Event()
        self._ended = ""  # the variant that a stream has ended with, though not all of its blocks were good
        self._in_the_air: Arriving | None = None
        self._bad: set[str] = set()  # objects of this stream
        self._no_room: set[str] = set()  # tiers that have offered what the device has no room for
        self._heard = False

    async def receive(self) -> Variant:
        """Until all blocks of a variant are there. Raises DownloadFailed."""
        said: dict[str, str] = {}
        try:
            for pause in (0, *self._pauses_ns):
                await sleep_ns(pause)
                for tier in self._tiers:
                    if variant := await self._receive_from(tier, said):
                        return variant
                if len(self._no_room) == len(self._tiers):
                    break
        finally:
            self.news.set()
        raise DownloadFailed("; ".join(f"{host}: {why}" for host, why in said.items()))

    def has(self, variant: Variant) -> bool:
        """Whether all blocks of a variant are there."""
        return self.manifest is not None and not self.manifest.blocks_of(variant, self.objects)

    async def _receive_from(self, tier: Tier, said: dict[str, str]) -> Variant | None:
        """What a tier ended with, if that is complete; the tier gets a second chance if it was cut after some bytes."""
        for _ in range(2):
            before = self.bytes
            try:
                variant = await self._stream(tier)
            except _Interrupted as error:
                said[tier.host] = str(error)
                self._note(records.Interrupted, tier.host, self.bytes - before, str(error))
                if isinstance(error, _NoRoom):
                    self._no_room.add(tier.host)
                if self.bytes == before or tier.host in self._no_room:
                    return None
            else:
                if self.has(variant):
                    return variant
                said[tier.host] = f"did not give all blocks of {variant.name} unbroken"
                return None
        return None

    async def _stream(self, tier: Tier) -> Variant:
        """One request and its response, to the end. Raises _Interrupted."""
        ask = self._completed(self._ask())
        try:
            async with self._answer(tier, ask) as answer:
                if answer.status != 200:
                    text = bytes(await answer.read()).decode(errors="replace")
                    raise _Interrupted(f"answered {answer.status}: {text[:200]}")
                return await self._frames(answer, tier, ask)
        except (http11.HttpError, BrokenStream, ManifestError) as error:
            raise _Interrupted(str(error)) from None
        except TimeoutError:
            raise _Interrupted(f"does not answer within {STALL_NS / 10**9:g} s") from None
        except OSError as error:
            raise _Interrupted(f"does not answer: {error!r}") from None

    def _completed(self, ask: delivery.Ask) -> delivery.Ask:
        """With what has come so far. Where a stream has ended and bad blocks are missing, it is that variant that is wanted."""
        air = self._in_the_air
        resume = delivery.Resume(air.name, air.arrived) if air and air.arrived else None
        return msgspec.structs.replace(ask, have=sorted(self.objects), resume=resume, variant=self._ended)

    @asynccontextmanager
    async def _answer(self, tier: Tier, ask: delivery.Ask) -> AsyncIterator[http11.Response]:
        """The response, watched: it is given up when no byte comes for a while."""
        body = msgspec.json.encode(ask)
        async with asyncio.timeout(STALL_NS / 10**9) as patience:
            async with self._http.request("POST", tier.address, delivery.PATH, body) as answer:
                patience.reschedule(None)
                watching = asyncio.create_task(_give_up_when_still(answer))
                try:
                    yield answer
                except (http11.HttpError, BrokenStream):
                    if watching.done():
                        raise _Interrupted(f"sent nothing for {STALL_NS / 10**9:g} s") from None
                    raise
                finally:
                    watching.cancel()

    async def _frames(self, answer: http11.Response, tier: Tier, ask: delivery.Ask) -> Variant:
        """Takes what comes; gives the variant that the library ended with. Raises BrokenStream."""
        self._bad.clear()
        heard = False
        async for head in delivery.heads(answer):
            if not heard:
                heard = True
                self._note_what_begins(tier, ask)
            if head.object == delivery.OFFER:
                self.offered = self._variant(await delivery.read_note(answer, head), delivery.Offer)
                if self.offered.memory > ask.memory_bytes:
                    size, room = (about(memory, "size") for memory in (self.offered.memory, ask.memory_bytes))
                    raise _NoRoom(f"the library offers {self.offered.name}, which takes {size} of {room} of memory")
            elif head.object == delivery.END:
                variant = self._variant(await delivery.read_note(answer, head), delivery.End)
                if self.offered is None or not set(variant.blocks) <= set(self.offered.blocks):
                    raise BrokenStream(f"the library ends with {variant.name}, which it did not offer")
                self._ended = variant.name
                if await answer.readline():  # to the body's end, so that the connection can be used again
                    raise BrokenStream("the library goes on after the end")
                return variant
            elif head.object in self._bad or not (head.bytes or head.error):
                self._in_the_air = None  # whoever sent its first part may have lied about its size
                raise BrokenStream(f"the library goes on with {head.object}")
            elif head.error:
                self._reject(head.object, tier.host, head.error)
            else:
                await self._take(head, answer, tier)
        raise BrokenStream("the library's answer has no end")

    def _note_what_begins(self, tier: Tier, ask: delivery.Ask) -> None:
        if not self._heard:
            self._note(records.FirstByte)
        self._heard = True
        if self.bytes:
            air = ask.resume or delivery.Resume("", 0)
            self._note(records.Resumed, tier.host, self.bytes, air.object, air.offset)

    def _variant(self, text: bytes, kind: type[delivery.Offer] | type[delivery.End]) -> Variant:
        """The variant that an offer or an end names. Raises BrokenStream."""
        try:
            name = msgspec.json.decode(text, type=kind).variant
            if self.manifest is None:
                raise BrokenStream("the library sent no manifest")
            return self.manifest.variant(name)
        except (msgspec.DecodeError, UnicodeError, KeyError) as error:
            raise BrokenStream(f"the library's answer makes no sense: {error}") from None

    async def _take(self, head: delivery.Frame, answer: http11.Response, tier: Tier) -> None:
        """A part of an object, which is looked at when it is whole."""
        air = self._in_the_air
        if air is None or air.name != head.object or air.size != head.of:
            air = self._in_the_air = Arriving(head.object, self._size(head), head.object == self._manifest_digest)
        before = air.arrived
        try:
            await air.take(head, answer, tier.host)
        finally:
            self.bytes += air.arrived - before
        if not air.is_whole:
            return
        data = air.unbroken()
        if data is None:
            self._reject(air.name, ", ".join(air.sources), "other bytes than the digest promises")
            return
        self._in_the_air = None
        self.objects[air.name] = data
        if air.name == self._manifest_digest:
            self.manifest = Manifest.from_json(data)
        self.news.set()

    def _reject(self, name: str, source: str, why: str) -> None:
        """An object is bad, or not to be had: what has come of it is thrown away."""
        if self._in_the_air and self._in_the_air.name == name:
            self._in_the_air = None
        self._bad.add(name)
        self._note(records.BlockRejected, name, source, why)

    def _size(self, head: delivery.Frame) -> int:
        """The bytes of an object that is wanted. Raises BrokenStream for one that is not."""
        if head.object in self.objects:
            raise BrokenStream(f"the library sent {head.object}, which is there")
        if head.object == self._manifest_digest and head.of <= delivery.LARGEST_MANIFEST:
            return head.of
        blocks = self.manifest.blocks if self.manifest else ()
        if any(block.digest == head.object and block.bytes == head.of for block in blocks):
            return head.of
        raise BrokenStream(f"the library sent {head.object} of {head.of} bytes, which was not asked for")


async def drain(downloads: Collection[asyncio.Task[None]]) -> None:
    """After the run's end: gives downloads a while, and calls off what is still in flight. A fault in one is raised."""
    if downloads:
        _, late = await asyncio.wait(downloads, timeout=DRAIN_NS / 10**9)
        for task in late:
            task.cancel()
    for result in await asyncio.gather(*downloads, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _give_up_when_still(answer: http11.Response) -> None:
    seen, still = -1, 0
    while still < LOOKS:
        await sleep_ns(STALL_NS // LOOKS)
        still = still + 1 if answer.received == seen else 0
        seen = answer.received
    answer.abort()
