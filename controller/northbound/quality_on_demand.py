"""CAMARA Quality-On-Demand's calls."""

import re

from msgspec import UNSET
from msgspec.structs import asdict

from controller.northbound.bodies import (
    AccessToken,
    BaseSession,
    CreateSession,
    ExtendSessionDuration,
    PrivateKeyJwt,
    RetrieveSessionsInput,
    decode,
)
from controller.northbound.calls import Answer, Call
from controller.northbound.directory import Directory, ranges
from controller.northbound.errors import ApiError, invalid
from controller.northbound.events import is_sink
from controller.northbound.profiles import Profiles
from controller.northbound.resources import Resource, Resources, in_conflict, resource_of
from controller.session import Request
from controller.sessions import NETWORK, Refused, Sessions

SECOND = 10**9
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class QualityOnDemand:
    def __init__(self, directory: Directory, profiles: Profiles, sessions: Sessions, resources: Resources) -> None:
        self._directory, self._profiles = directory, profiles
        self._sessions, self._resources = sessions, resources

    def create(self, call: Call) -> Answer:
        """POST /sessions. One that the network cannot give is UNAVAILABLE from the start."""
        asked = decode(CreateSession, call.body)
        credential = _credential(asked)
        device, identifier = self._directory.device(asked.device)
        profile = self._profiles.applicable(asked.qos_profile)
        duration = asked.duration * SECOND
        if not profile.shortest_ns <= duration <= profile.longest_ns:
            limits = f"{profile.shortest_ns / SECOND:g} to {profile.longest_ns / SECOND:g} s"
            raise ApiError(
                400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE", f"a session of {profile.name} lasts {limits}"
            )
        servers = self._directory.servers(asked.application_server, device)
        request = Request(
            id=self._sessions.new_id(),
            device=device,
            server=servers[0],
            slice=self._profiles.slice_of(profile.name, device),
            profile=profile.name,
            down_bps=profile.down_bps,
            up_bps=profile.up_bps,
            duration_ns=duration,
            device_ports=ranges(asked.device_ports),
            server_ports=ranges(asked.application_server_ports),
        )
        given = {**asdict(asked), "device": identifier}
        shown = BaseSession(**{name: given[name] for name in BaseSession.__struct_fields__})
        resource = resource_of(call, shown, request, servers, credential)
        self._refuse_conflict(resource)
        try:
            self._resources.set_up(resource, request)
        except Refused:
            assert resource.ended == NETWORK, "what is refused stays, as CAMARA says, to be looked up"
        return Answer(201, self._resources.info(resource))

    def get(self, call: Call) -> Answer:
        """GET /sessions/{sessionId}"""
        return Answer(200, self._resources.info(self._find(call)))

    def delete(self, call: Call) -> Answer:
        """DELETE /sessions/{sessionId}"""
        self._resources.delete(self._find(call))
        return Answer(204)

    def extend(self, call: Call) -> Answer:
        """POST /sessions/{sessionId}/extend: up to the longest duration of the profile."""
        asked = decode(ExtendSessionDuration, call.body)
        resource = self._find(call)
        if resource.status != "AVAILABLE":
            raise ApiError(
                409,
                "QUALITY_ON_DEMAND.SESSION_EXTENSION_NOT_ALLOWED",
                f"the session is {resource.status}; only one that is AVAILABLE can be extended",
            )
        left = self._profiles.longest_ns(resource.asked.qos_profile) - (resource.expires_ns - resource.started_ns)
        by = min(left, asked.requested_additional_duration * SECOND)
        if by > 0:
            self._resources.extend(resource, by)
        return Answer(200, self._resources.info(resource))

    def retrieve(self, call: Call) -> Answer:
        """POST /retrieve-sessions"""
        device, _ = self._directory.device(decode(RetrieveSessionsInput, call.body).device)
        mine = [resource for resource in self._resources.of(device) if resource.client == call.client]
        return Answer(200, [self._resources.info(resource) for resource in mine])

    def _find(self, call: Call) -> Resource:
        if not _UUID.fullmatch(call.resource):
            raise invalid(f'"{call.resource}" is not a UUID')
        return self._resources.find(call.resource.lower(), call.client)

    def _refuse_conflict(self, wanted: Resource) -> None:
        for other in self._resources.conflicting(wanted):
            raise in_conflict(other)


def _credential(asked: CreateSession) -> AccessToken | None:
    """What the sink is to get with each event. Raises ApiError, also where the sink is none."""
    if asked.sink is not UNSET and not is_sink(asked.sink):
        raise ApiError(400, "INVALID_SINK", f'"{asked.sink}" is not an https URI')
    if asked.sink_credential is UNSET:
        return None
    if isinstance(asked.sink_credential, PrivateKeyJwt):
        raise ApiError(422, "PRIVATE_KEY_JWT_NOT_CONFIGURED", "no keys were agreed on; give an ACCESSTOKEN")
    if asked.sink is UNSET:
        raise ApiError(400, "INVALID_CREDENTIAL", "there is a sinkCredential without a sink")
    if not asked.sink_credential.access_token.isprintable() or not asked.sink_credential.access_token.isascii():
        raise ApiError(400, "INVALID_TOKEN", "an access token has printable ASCII characters alone")
    return asked.sink_credential
