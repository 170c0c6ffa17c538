"""POST /insitu/v1/downloads: a session for a model download, whose request carries what would do (docs/downloads-api.yaml)."""

from collections.abc import Callable

from msgspec import UNSET

from controller.northbound.bodies import BaseSession, CreateDownload, DownloadSession, decode
from controller.northbound.calls import Answer, Call
from controller.northbound.directory import Directory
from controller.northbound.errors import ApiError
from controller.northbound.events import is_sink
from controller.northbound.profiles import DOWNLOAD
from controller.northbound.resources import Resources, in_conflict, resource_of
from controller.session import Candidate, Ports, Request
from controller.sessions import Refused, Sessions
from scenarios.plan import LIBRARY_PORT

# Of the rate towards the device, what acknowledgements take: 66 bytes for every second full frame of 1514 are 1/46
ACKNOWLEDGING = 40
LEAST_UP_BPS = 64_000  # and room for a request


class Downloads:
    def __init__(
        self,
        directory: Directory,
        slices: set[str],
        sessions: Sessions,
        resources: Resources,
        now: Callable[[], int],
    ) -> None:
        self._directory, self._slices, self._sessions, self._resources = directory, slices, sessions, resources
        self._now = now

    def create(self, call: Call) -> Answer:
        asked = decode(CreateDownload, call.body)
        device, identifier = self._directory.device(asked.device)
        servers = self._directory.servers(asked.application_server, device)
        if len(servers) > 1:
            raise ApiError(422, "SERVICE_NOT_APPLICABLE", "a download comes from one application server")
        if asked.slice not in self._slices:
            raise ApiError(422, "SERVICE_NOT_APPLICABLE", f'there is no slice "{asked.slice}"')
        if asked.sink is not UNSET and not is_sink(asked.sink, ("http", "https")):
            raise ApiError(400, "INVALID_SINK", f'"{asked.sink}" is not an http or https URI')
        deadline = self._now() + asked.time_left_ns if asked.deadline_ns is UNSET else asked.deadline_ns
        request = Request(
            id=self._sessions.new_id(),
            device=device,
            server=servers[0],
            slice=asked.slice,
            profile=DOWNLOAD,
            down_bps=asked.rate,
            up_bps=max(LEAST_UP_BPS, asked.rate // ACKNOWLEDGING),
            duration_ns=asked.duration_ns,
            server_ports=(Ports(LIBRARY_PORT, LIBRARY_PORT),),
            download=asked.download,
            deadline_ns=deadline,
            candidates=tuple(Candidate(c.variant, c.bytes, c.accuracy, c.rate) for c in asked.candidates),
        )
        shown = BaseSession(device=identifier, application_server=asked.application_server, qos_profile=DOWNLOAD)
        resource = resource_of(call, shown, request, servers)
        resource.grant_sink = asked.sink or ""
        for other in self._resources.conflicting(resource):
            if not other.ended:
                raise in_conflict(other)
        try:
            self._resources.set_up(resource, request)
        except Refused as error:
            self._resources.drop(resource)
            raise ApiError(409, "CONFLICT", str(error)) from None
        (session,) = resource.parts
        return Answer(201, DownloadSession(resource.id, session.down_bps, session.variant))
