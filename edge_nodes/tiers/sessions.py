"""The northbound's client: asks the controller, over the emulated network, for a QoS session."""

import json
from typing import NamedTuple

import aiohttp

ROOT = "/quality-on-demand/v1"


class Grant(NamedTuple):
    """A session that is available."""

    id: str
    rate_bps: int


class Refused(Exception):
    """There is no session; the message says why."""


class Northbound:
    """CAMARA Quality-On-Demand at the NEF."""

    def __init__(self, http: aiohttp.ClientSession, address: str, port: int) -> None:
        self._http = http
        self._url = f"http://{address}:{port}{ROOT}/sessions"

    async def create(self, device_ip: str, server_ip: str, profile: str, rate_bps: int, duration_s: int) -> Grant:
        """Raises Refused when the policy refuses it or the NEF does not answer while the session would last."""
        request = {
            "device": {"ipv4Address": {"privateAddress": device_ip}},
            "applicationServer": {"ipv4Address": server_ip},
            "qosProfile": profile,
            "duration": duration_s,
            "requestedRate": rate_bps,
        }
        try:
            limit = aiohttp.ClientTimeout(total=duration_s)
            async with self._http.post(self._url, json=request, timeout=limit) as answer:
                status, data = answer.status, await answer.read()
        except TimeoutError:
            raise Refused(f"the NEF does not answer within {duration_s} s") from None
        except aiohttp.ClientError as error:
            raise Refused(f"the NEF does not answer: {error}") from None
        try:
            body = json.loads(data)
            if status == 201:
                return Grant(body["sessionId"], body["grantedRate"])
            reason = body["message"]
        except (ValueError, KeyError, TypeError):
            reason = f"the NEF's answer, with status {status}, is not CAMARA's"
        raise Refused(reason)

    async def delete(self, session: str) -> None:
        """Ends a session; one that has expired meanwhile is gone already. Raises aiohttp.ClientError."""
        async with self._http.delete(f"{self._url}/{session}"):
            pass
