"""The northbound: sessions of CAMARA Quality-On-Demand, as a pure request handler and a book of what is reserved.

Of the API's calls it serves `POST /sessions`, `GET` and `DELETE /sessions/{id}`. The rate that a session needs goes beyond CAMARA:
`requestedRate` in the request and `grantedRate` in the answer, in bit/s.
"""

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec

from controller.paths import Paths
from controller.policies import SLICING, View
from scenarios.plan import Plan

ROOT = "/quality-on-demand/v1"
LONGEST_S = 86400  # of a session
Decision = Literal["granted", "reduced", "refused"]
_SESSION = re.compile(rf"{ROOT}/sessions/(?P<id>[0-9a-f-]{{36}})")


class Reservation(NamedTuple):
    """A session that is granted."""

    id: str
    slice: str
    queue: int
    device: str
    server: str
    requested_bps: int
    granted_bps: int
    links: list[tuple[str, int]]  # with the end that sends to the device
    started_ns: int  # of the calendar
    duration_s: int
    request: dict[str, Any]  # as it was asked for


class ApiError(Exception):
    """An answer that is an error, in CAMARA's form."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def body(self) -> dict[str, Any]:
        return {"status": self.status, "code": self.code, "message": str(self)}


class _DeviceAddress(msgspec.Struct, rename="camel"):
    private_address: str


class _Device(msgspec.Struct, rename="camel"):
    ipv4_address: _DeviceAddress


class _Server(msgspec.Struct, rename="camel"):
    ipv4_address: str


class _CreateSession(msgspec.Struct, rename="camel"):
    """What has to be in the body of a request for a session."""

    device: _Device
    application_server: _Server
    qos_profile: str
    duration: int
    requested_rate: int


class Asked(NamedTuple):
    """A well-formed request for a session."""

    slice: str
    device: str
    server: str
    rate_bps: int
    duration_s: int
    request: dict[str, Any]


class Book:
    """All sessions, and what each slice has left of each link, in the direction of the download."""

    def __init__(self, plan: Plan, paths: Paths) -> None:
        self._plan, self._paths = plan, paths
        self._slices = {entry.name: entry for entry in plan.slices}
        self._rates = {
            (link.name, number): end.shape.rate_bps for link in plan.links for number, end in enumerate(link.ends)
        }
        self._policy = SLICING[plan.policies.slicing]
        self.sessions: dict[str, Reservation] = {}

    def decide(self, asked: Asked, now_ns: int) -> tuple[Reservation, Decision]:
        """What the policy gives, and whether that is "granted", "reduced" or "refused"; nothing is reserved yet."""
        links = self._paths.ends_between(asked.server, asked.device)
        granted = self._grant(asked.slice, links, asked.rate_bps)
        decision: Decision = "refused" if granted <= 0 else "granted" if granted >= asked.rate_bps else "reduced"
        reservation = Reservation(
            id=str(uuid.uuid4()),
            slice=asked.slice,
            queue=self._slices[asked.slice].queue,
            device=asked.device,
            server=asked.server,
            requested_bps=asked.rate_bps,
            granted_bps=granted,
            links=links,
            started_ns=now_ns,
            duration_s=asked.duration_s,
            request=asked.request,
        )
        return reservation, decision

    def moved(self, device: str) -> None:
        """The device's sessions are decided anew on its new path; where nothing is left they stay, without a rate."""
        moving = [s for s in self.sessions.values() if s.device == device]
        for session in moving:
            del self.sessions[session.id]
        for session in moving:
            links = self._paths.ends_between(session.server, session.device)
            granted = self._grant(session.slice, links, session.requested_bps)
            self.sessions[session.id] = session._replace(links=links, granted_bps=granted)

    def _grant(self, slice_name: str, links: list[tuple[str, int]], requested_bps: int) -> int:
        share = self._slices[slice_name].guarantee
        guarantees = {link: int(self._rates[link] * share) for link in links}
        free = min(guarantees[link] - self._used(link, slice_name) for link in links)
        return self._policy.grant(View(requested_bps, min(guarantees.values()), max(0, free)))

    def _used(self, link: tuple[str, int], slice_name: str) -> int:
        return sum(s.granted_bps for s in self.sessions.values() if s.slice == slice_name and link in s.links)


def session_id(path: str) -> str | None:
    match = _SESSION.fullmatch(path)
    return match["id"] if match else None


def parse(body: bytes, plan: Plan) -> Asked:
    """CAMARA's CreateSession. Raises ApiError."""
    try:
        request = json.loads(body)
        asked = msgspec.convert(request, _CreateSession)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "INVALID_ARGUMENT", f"not a CreateSession request: {error}") from None
    device_ip, server_ip = asked.device.ipv4_address.private_address, asked.application_server.ipv4_address
    hosts: Mapping[str, str] = {host.ip: host.name for host in plan.hosts}
    if device_ip not in hosts:
        raise ApiError(404, "IDENTIFIER_NOT_FOUND", f"no device has the address {device_ip}")
    if server_ip not in hosts or server_ip == device_ip:
        raise ApiError(400, "INVALID_ARGUMENT", f"no server has the address {server_ip}")
    if not 1 <= asked.duration <= LONGEST_S:
        raise ApiError(400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE", f"duration is 1 to {LONGEST_S} s")
    if asked.requested_rate < 1:
        raise ApiError(400, "OUT_OF_RANGE", "requestedRate is at least 1 bit/s")
    for entry in plan.slices:
        if asked.qos_profile == entry.name or asked.qos_profile in entry.profiles:
            device, server = hosts[device_ip], hosts[server_ip]
            return Asked(entry.name, device, server, asked.requested_rate, asked.duration, request)
    raise ApiError(
        422, "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE", f'no slice offers the profile "{asked.qos_profile}"'
    )


def session_info(session: Reservation) -> dict[str, Any]:
    """CAMARA's SessionInfo."""
    end = session.started_ns + session.duration_s * 10**9
    return {
        **{key: value for key, value in session.request.items() if key != "requestedRate"},
        "sessionId": session.id,
        "duration": session.duration_s,
        "startedAt": _timestamp(session.started_ns),
        "expiresAt": _timestamp(end),
        "qosStatus": "AVAILABLE" if session.granted_bps else "UNAVAILABLE",
        "grantedRate": session.granted_bps,
    }


def _timestamp(ns: int) -> str:
    return datetime.fromtimestamp(ns / 10**9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
