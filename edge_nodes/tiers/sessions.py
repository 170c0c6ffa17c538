"""The northbound's client: asks the controller, over the emulated network, for a download's session."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

from edge_nodes.choosing.policies import Candidate

DOWNLOADS = "/insitu/v1/downloads"  # docs/downloads-api.yaml
SESSIONS = "/quality-on-demand/v1/sessions"


class Grant(NamedTuple):
    """A session that is available."""

    id: str
    rate_bps: int
    variant: str = ""  # that the policy chose; "" leaves it to the library


class Wish(NamedTuple):
    """What a download needs; the rate is that of the library's own choice, and the candidates are what would do too."""

    device_ip: str
    server_ip: str
    slice: str
    download: str
    rate_bps: int
    deadline_ns: int  # of the machine's monotonic clock
    time_left_ns: int
    candidates: Sequence[Candidate]
    sink: str  # a URL that is told of another rate or variant

    @property
    def duration_s(self) -> int:
        """For how long the session is: a second longer, for a transfer that changes queues at full speed collapses."""
        return 1 - (-max(self.time_left_ns, 1) // 10**9)


class Refused(Exception):
    """There is no session; the message says why."""


class Northbound:
    """The controller's API at the NEF."""

    def __init__(self, http: aiohttp.ClientSession, address: str, port: int) -> None:
        self._http = http
        self._root = f"http://{address}:{port}"

    async def create(self, wish: Wish) -> Grant:
        """Raises Refused when the policy refuses it or the NEF does not answer while the session would last."""
        request = {
            "device": {"ipv4Address": {"publicAddress": wish.device_ip, "privateAddress": wish.device_ip}},
            "applicationServer": {"ipv4Address": wish.server_ip},
            "slice": wish.slice,
            "download": wish.download,
            "rate": wish.rate_bps,
            "deadline_ns": wish.deadline_ns,
            "time_left_ns": wish.time_left_ns,
            "duration_ns": wish.duration_s * 10**9,
            "candidates": [
                {
                    "variant": candidate.variant.name,
                    "bytes": candidate.missing_bytes,
                    "accuracy": candidate.variant.accuracy,
                    "rate": candidate.rate_bps,
                }
                for candidate in wish.candidates
            ],
            "sink": wish.sink,
        }
        try:
            limit = aiohttp.ClientTimeout(total=wish.duration_s)
            async with self._http.post(self._root + DOWNLOADS, json=request, timeout=limit) as answer:
                status, data = answer.status, await answer.read()
        except TimeoutError:
            raise Refused(f"the NEF does not answer within {wish.duration_s} s") from None
        except aiohttp.ClientError as error:
            raise Refused(f"the NEF does not answer: {error}") from None
        try:
            body = json.loads(data)
            if status == 201:
                return Grant(body["sessionId"], body["rate"], body["variant"])
            reason = body["message"]
        except (ValueError, KeyError, TypeError):
            reason = f"the NEF's answer, with status {status}, is not one"
        raise Refused(reason)

    async def delete(self, session: str) -> None:
        """Ends a session; one that has expired meanwhile is gone already. Raises aiohttp.ClientError."""
        async with self._http.delete(f"{self._root}{SESSIONS}/{session}"):
            pass
