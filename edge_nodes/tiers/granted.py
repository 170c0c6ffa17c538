"""What a download is granted as it is now: the controller tells the library when the session gets another rate or variant."""

from collections.abc import Callable, Collection
from typing import Annotated, NamedTuple

import msgspec
from aiohttp import web

PATH = "/insitu/v1/downloads/{download}/grant"


class Grant(NamedTuple):
    """0 bit/s: the network has ended the session. The variant is the policy's, "" where the library chooses."""

    rate_bps: int
    variant: str


class _Data(msgspec.Struct):
    rate: Annotated[int, msgspec.Meta(ge=0)]
    variant: str


class _Event(msgspec.Struct):
    """A CloudEvent, as docs/downloads-api.yaml defines it."""

    data: _Data


class Watched:
    """A download that is told: `now` is None until it is for the first time."""

    def __init__(self, variants: Collection[str]) -> None:
        """`variants` are those that there are of its model."""
        self.variants = variants
        self.now: Grant | None = None
        self.on_change: Callable[[Grant], None] = lambda grant: None

    def take(self, grant: Grant) -> None:
        self.now = grant
        self.on_change(grant)


class Grants:
    """The downloads of a library that want to be told, by their names."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}

    def watch(self, download: str, variants: Collection[str]) -> Watched:
        """From before its session is asked for, for the answer and the first change may pass one another."""
        watched = self._watched[download] = Watched(variants)
        return watched

    def leave(self, download: str, watched: Watched) -> None:
        if self._watched.get(download) is watched:
            del self._watched[download]

    async def told(self, request: web.Request) -> web.Response:
        watched = self._watched.get(request.match_info["download"])
        if watched is None:
            return web.Response(status=410, text="this download is over")
        try:
            data = msgspec.json.decode(await request.read(), type=_Event).data
        except msgspec.DecodeError as error:
            return web.Response(status=400, text=f"not a grant: {error}")
        if data.variant and data.variant not in watched.variants:
            return web.Response(status=400, text=f"not a grant: there is no variant {data.variant}")
        watched.take(Grant(data.rate, data.variant))
        return web.Response(status=204)
