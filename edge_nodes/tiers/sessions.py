"""The northbound's client: asks the controller, over the emulated network, for the session of a download."""

import json
from typing import NamedTuple

import aiohttp

DOWNLOADS, SESSIONS = "/insitu/v1/downloads", "/quality-on-demand/v1/sessions"  # docs/downloads-api.yaml, and CAMARA's
_SECOND = 10**9


class Candidate(NamedTuple):
    """A variant that would do: what the device lacks of it, and the least rate at which that arrives in time."""

    variant: str
    bytes: int
    accuracy: float
    rate_bps: int


class DownloadAsk(NamedTuple):
    """What a download needs: the rate of the library's own choice, and the variants that would do, none to leave it at that."""

    device_ip: str
    server_ip: str
    slice: str
    download: str
    rate_bps: int
    time_left_ns: int
    duration_ns: int
    deadline_ns: int | None = None  # of the machine's monotonic clock
    candidates: tuple[Candidate, ...] = ()


class Grant(NamedTuple):
    """A session that is available; `variant` is what the policy chose, "" leaves it to the library."""

    id: str
    rate_bps: int
    variant: str = ""


class Refused(Exception):
    """There is no session; the message says why."""


class Northbound:
    """The controller's northbound at the NEF."""

    def __init__(self, http: aiohttp.ClientSession, address: str, port: int) -> None:
        self._http = http
        self._root = f"http://{address}:{port}"

    async def reserve(self, asked: DownloadAsk) -> Grant:
        """Raises Refused when the policy refuses it or the NEF does not answer while the session would last."""
        limit_s = asked.duration_ns / _SECOND
        try:
            limit = aiohttp.ClientTimeout(total=limit_s)
            async with self._http.post(self._root + DOWNLOADS, json=_body(asked), timeout=limit) as answer:
                status, data = answer.status, await answer.read()
        except TimeoutError:
            raise Refused(f"the NEF does not answer within {limit_s:g} s") from None
        except aiohttp.ClientError as error:
            raise Refused(f"the NEF does not answer: {error}") from None
        try:
            body = json.loads(data)
            if status == 201:
                return Grant(body["sessionId"], body["rate"], body["variant"])
            reason = body["message"]
        except (ValueError, KeyError, TypeError):
            reason = f"the NEF's answer, with status {status}, is not one of its API"
        raise Refused(reason)

    async def delete(self, session: str) -> None:
        """Ends a session; one that has expired meanwhile is gone already. Raises aiohttp.ClientError."""
        async with self._http.delete(f"{self._root}{SESSIONS}/{session}"):
            pass


def _body(asked: DownloadAsk) -> dict[str, object]:
    body: dict[str, object] = {
        "device": {"ipv4Address": {"publicAddress": asked.device_ip, "privateAddress": asked.device_ip}},
        "applicationServer": {"ipv4Address": asked.server_ip},
        "slice": asked.slice,
        "download": asked.download,
        "rate": asked.rate_bps,
        "time_left_ns": asked.time_left_ns,
        "duration_ns": asked.duration_ns,
        "candidates": [
            {"variant": c.variant, "bytes": c.bytes, "accuracy": c.accuracy, "rate": c.rate_bps}
            for c in asked.candidates
        ],
    }
    return body if asked.deadline_ns is None else body | {"deadline_ns": asked.deadline_ns}
