"""What a tier pulls from the tiers above.

Each object is pulled once at a time, whoever asks for it, and its readers follow the bytes as they arrive. All that is asked
for in one turn of the event loop goes up as one request, answered by one stream of frames. A tier above that is down, slow or
lying is left for the next one, which is asked for the rest; after the last one there is a pause, and another round.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from edge_nodes import http11
from edge_nodes.clock import sleep_ns
from edge_nodes.delivery import Frame, digest_of
from edge_nodes.http11 import Body, Data, HttpError
from edge_nodes.tiers.store import Recorder, Unavailable
from scenarios import records

PATH = "/insitu/v1/objects"
PATIENCE_S = (
    2.0  # a tier that gives no more than LEAST_BYTES in this time counts as down; a lost SYN is sent again after 1 s
)
LEAST_BYTES = 1 << 10
SHUNNED_NS = 5_000_000_000  # for how long a tier that was down is asked last
LARGEST_UNKNOWN = 1 << 26  # bytes of an object of which no manifest tells how many it has: a manifest
AT_ONCE = 8  # requests to one tier above
RETRY_NS = (500_000_000, 1_500_000_000)  # pauses before the second and third round, where the plan has none


class Wanted(msgspec.Struct, frozen=True):
    """An object, from `offset` on."""

    object: str
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0


class Upstream(NamedTuple):
    host: str
    address: http11.Address


class Pull:
    """An object on its way: a source whose readers follow it. `size` is what it has to have, where that is known."""

    def __init__(self, digest: str, size: int | None) -> None:
        self.digest, self.asks = digest, 0
        self.refused: dict[str, str] = {}  # tiers that do not have it unbroken, and what they said
        self.sources: list[str] = []  # tiers that the bytes so far are from
        self._size = size
        self._place = memoryview(b"")
        self._have = 0
        self._begun = self._whole = False
        self._attempt = 0
        self._failure: Unavailable | None = None
        self._news = asyncio.Event()

    # What a reader does

    async def known(self) -> None:
        """Returns when it is coming, so that `bytes` is known. Raises Unavailable."""
        while not self._begun and not self._failure:
            await self._news.wait()
        if self._failure:
            raise self._failure

    @property
    def bytes(self) -> int:
        return len(self._place)

    async def parts(self, offset: int = 0) -> AsyncIterator[Body]:
        """As they arrive. The last ones are given when all are verified; if they are wrong, this raises Unavailable."""
        await self.known()
        size, attempt, given = self.bytes, self._attempt, False
        while offset < size:
            while self._have <= offset:
                if self._failure:
                    raise self._failure
                await self._news.wait()
            if self.bytes != size or given and attempt != self._attempt:
                raise Unavailable(f"{self.digest} came with other bytes than the digest promises")
            attempt, given = self._attempt, True
            part = self._place[offset : self._have]
            yield part
            offset += len(part)

    # What the puller does

    @property
    def pending(self) -> bool:
        return not self._whole and not self._failure

    @property
    def data(self) -> Data:
        return self._place

    @property
    def rest(self) -> Wanted:
        return Wanted(self.digest, self._have)

    async def fill(self, answer: http11.Response, following: int, progress: Callable[[int], None]) -> bool:
        """Takes the rest, `following` bytes; whether all are right now. Raises HttpError, also where it is of another size."""
        expected = len(self._place) if self._begun else self._size
        if expected is not None and self._have + following != expected:
            self._start_anew()
            raise HttpError(f"{self.digest} would have {following} bytes more instead of {expected - self._have}")
        if expected is None and following > LARGEST_UNKNOWN:
            raise HttpError(f"{self.digest} would have {following} bytes")
        if not self._begun:
            self._place, self._begun = np.empty(following, np.uint8).data, True
        while self._have < self.bytes:
            self._announce()
            received = await answer.receive(self._place[self._have :])
            progress(received)
            self._have += received  # no reader runs before the last bytes are verified: nothing is awaited until then
        if digest_of(self._place) != self.digest:
            self._start_anew()
            return False
        self._whole = True
        self._announce()
        return True

    def fail(self, reason: str) -> None:
        self._failure = Unavailable(reason)
        self._announce()

    def _start_anew(self) -> None:
        self._place, self._have, self._begun = memoryview(b""), 0, False
        self.sources = []
        self._attempt += 1
        self._announce()

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Pulls:
    """All that one tier pulls. `keep(pull)` is called with each that is whole, before it is forgotten here."""

    def __init__(
        self,
        host: str,
        upstream: Sequence[Upstream],
        retry_ns: Sequence[int],
        client: http11.Client,
        recorder: Recorder,
        keep: Callable[[Pull], None],
    ) -> None:
        self._host, self._upstream, self._retry_ns = host, upstream, retry_ns
        self._client, self._recorder, self._keep = client, recorder, keep
        self._pulls: dict[str, Pull] = {}
        self._to_ask: list[Pull] = []
        self._shunned_until: dict[str, int] = {}
        self._slots = {one.host: asyncio.Semaphore(AT_ONCE) for one in upstream}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, digest: str, size: int | None = None) -> Pull:
        """The pull of an object, begun with this unless it is going on."""
        if digest not in self._pulls:
            self._pulls[digest] = Pull(digest, size)
            if not self._to_ask:
                asyncio.get_running_loop().call_soon(self._set_off)
            self._to_ask.append(self._pulls[digest])
        self._pulls[digest].asks += 1
        return self._pulls[digest]

    async def open_ahead(self) -> None:
        """Has a connection to each tier above, which saves the first pull a round trip."""
        for upstream in self._upstream:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._client.open_ahead(upstream.address)
            except OSError as error:
                self._note_failure(upstream, 0, error)

    def _set_off(self) -> None:
        pulls, self._to_ask = self._to_ask, []
        task = asyncio.create_task(self._pull(pulls))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pull(self, pulls: list[Pull]) -> None:
        try:
            for pause in (0, *self._retry_ns):
                if pause:
                    await sleep_ns(pause)
                await self._one_round(pulls)
                if not (pulls := [pull for pull in pulls if pull.pending]):
                    return
        finally:
            for pull in pulls:
                self._give_up(pull)

    async def _one_round(self, pulls: Sequence[Pull]) -> None:
        """Asks one tier after the other for what is left. What all of them refuse is given up."""
        now = self._recorder.now()
        for upstream in sorted(self._upstream, key=lambda one: self._shunned_until.get(one.host, 0) > now):
            if left := [pull for pull in pulls if pull.pending and upstream.host not in pull.refused]:
                await self._ask(upstream, left)
        for pull in pulls:
            if len(pull.refused) == len(self._upstream):
                self._give_up(pull)

    def _give_up(self, pull: Pull) -> None:
        if not pull.pending:
            return
        said = [pull.refused.get(host, "is down") for host, _ in self._upstream]
        reasons = [f"{one.host}: {reason}" for one, reason in zip(self._upstream, said, strict=True)]
        self._pulls.pop(pull.digest, None)
        pull.fail("; ".join(reasons) or f"{self._host} does not have it")

    async def _ask(self, upstream: Upstream, pulls: Sequence[Pull]) -> None:
        """One request for all; what is whole afterwards is kept."""
        awaited = {pull.digest: pull for pull in pulls}
        body = msgspec.json.encode([pull.rest for pull in pulls])
        try:
            async with (
                self._slots[upstream.host],
                asyncio.timeout(PATIENCE_S) as limit,
                self._client.request("POST", upstream.address, PATH, body) as answer,
            ):
                if answer.status != 200:
                    raise HttpError(f"answered {answer.status}")
                progress = _Progress(limit)
                while awaited:
                    head = await _frame(answer)
                    if head.object not in awaited:
                        raise HttpError(f"sent {head.object[:80]}, which it was not asked for")
                    progress(LEAST_BYTES)
                    await self._take(upstream, awaited.pop(head.object), head, answer, progress)
                if await answer.readline():
                    raise HttpError("sent more than it was asked for")
        except (HttpError, OSError) as error:  # a TimeoutError is an OSError
            self._note_failure(upstream, sum(p.pending and upstream.host not in p.refused for p in pulls), error)
        else:
            self._shunned_until.pop(upstream.host, None)

    async def _take(
        self, upstream: Upstream, pull: Pull, head: Frame, answer: http11.Response, progress: "_Progress"
    ) -> None:
        """One frame."""
        if head.error:
            self._refuse(upstream, pull, head.error)
            return
        if upstream.host not in pull.sources:
            pull.sources.append(upstream.host)
        sources = pull.sources
        if await pull.fill(answer, head.bytes, progress):
            self._pulls.pop(pull.digest, None)
            now = self._recorder.now()
            self._recorder.write(records.Pulled(now, self._host, pull.digest, pull.bytes, upstream.host))
            self._keep(pull)
        elif sources == [upstream.host]:
            self._refuse(upstream, pull, "sent other bytes than the digest promises")
        else:  # whose bytes were wrong is not known: each may send all of it
            self._note_rejected(upstream, pull, f"{' and '.join(sources)} sent other bytes than the digest promises")

    def _refuse(self, upstream: Upstream, pull: Pull, reason: str) -> None:
        pull.refused[upstream.host] = reason
        self._note_rejected(upstream, pull, reason)

    def _note_rejected(self, upstream: Upstream, pull: Pull, reason: str) -> None:
        now = self._recorder.now()
        self._recorder.write(records.BlockRejected(now, self._host, "", pull.digest, upstream.host, reason))

    def _note_failure(self, upstream: Upstream, objects: int, error: Exception) -> None:
        now = self._recorder.now()
        self._shunned_until[upstream.host] = now + SHUNNED_NS
        slow = f"gave less than {LEAST_BYTES} bytes in {PATIENCE_S:g} s"
        reason = slow if isinstance(error, TimeoutError) and not error.errno else str(error)
        self._recorder.write(records.PullFailed(now, self._host, upstream.host, objects, reason))


class _Progress:
    """Gives a time limit anew whenever enough has come."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit, self._since = limit, 0

    def __call__(self, received: int) -> None:
        self._since += received
        if self._since >= LEAST_BYTES:
            self._limit.reschedule(asyncio.get_running_loop().time() + PATIENCE_S)
            self._since = 0


async def _frame(answer: http11.Response) -> Frame:
    """The head of the next frame. Raises HttpError."""
    line = await answer.readline()
    try:
        return msgspec.json.decode(line, type=Frame)
    except ValueError as error:
        raise HttpError(f"broke off: {error}" if line else "broke off") from None
