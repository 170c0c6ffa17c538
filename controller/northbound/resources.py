"""The sessions as the northbound's clients see them: what each asked for, its status, and how long it is remembered.

A session whose application server is several hosts is several sessions of the engine, its parts; it is as good as the worst.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from msgspec import UNSET

from controller.northbound.bodies import AccessToken, BaseSession, SessionInfo
from controller.northbound.calls import Call
from controller.northbound.directory import overlap
from controller.northbound.errors import ApiError
from controller.session import Ports, Request, Session, Status
from controller.sessions import DELETED, EXPIRED, NETWORK, Refused, Sessions

REMEMBERED_NS = 360 * 10**9  # CAMARA: for so long, at least, one that the network has ended can be looked up
GRANT_CHANGES = ("POLICY", "HANDOVER", "FAILURE", "LINK", NETWORK)  # after which a download is granted something else
MOST_OF_A_DEVICE = 100  # CAMARA's list of a device's sessions has no more
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Resource:
    """One session of CAMARA's."""

    id: str
    client: str
    correlator: str | None
    asked: BaseSession  # with the one device identifier that is used
    device: str
    servers: list[str]
    device_ports: tuple[Ports, ...]
    server_ports: tuple[Ports, ...]
    duration_ns: int
    credential: AccessToken | None = None
    parts: list[Session] = field(default_factory=list)
    set_up: bool = False  # there was a decision for every part
    ended: str = ""  # CAMARA's statusInfo
    ended_ns: int = 0
    told: Status = "REQUESTED"  # the last status of which the sink was told
    events: int = 0  # that there were
    grant_sink: str = ""  # of a download: who is told of another rate or variant

    @property
    def status(self) -> Status:
        if self.ended:
            return "UNAVAILABLE"
        if not self.set_up:
            return "REQUESTED"
        return "AVAILABLE" if all(part.status == "AVAILABLE" for part in self.parts) else "UNAVAILABLE"

    @property
    def started_ns(self) -> int:
        return max(part.started_ns for part in self.parts)

    @property
    def expires_ns(self) -> int:
        return min(part.expires_ns for part in self.parts)


def resource_of(
    call: Call, asked: BaseSession, request: Request, servers: list[str], credential: AccessToken | None = None
) -> Resource:
    """What a call has asked for: `request`, of each server."""
    return Resource(
        id=request.id,
        client=call.client,
        correlator=call.correlator,
        asked=asked,
        device=request.device,
        servers=servers,
        device_ports=request.device_ports,
        server_ports=request.server_ports,
        duration_ns=request.duration_ns,
        credential=credential,
    )


def in_conflict(other: Resource) -> ApiError:
    """There is one already."""
    return ApiError(409, "CONFLICT", f"session {other.id} is for packets of {other.device} that this would be for too")


class Resources:
    """All of them. `notify` is called after each change of a status, `notify_of_grant` when a download is granted something else;
    `now` is the monotonic clock, `calendar_ns` what it lacks to the time since 1970."""

    def __init__(
        self,
        sessions: Sessions,
        notify: Callable[[Resource], None],
        notify_of_grant: Callable[[Resource], None],
        now: Callable[[], int],
        calendar_ns: int,
        keep: Callable[[Resource], None] = lambda resource: None,
        forget: Callable[[str], None] = lambda id: None,
    ) -> None:
        """`keep` is called before anybody is told of a resource or of a change of it, `forget` when it is no more."""
        self._sessions, self._now, self._calendar_ns = sessions, now, calendar_ns
        self._notify, self._notify_of_grant = notify, notify_of_grant
        self._keep, self._forget_it = keep, forget
        self._resources: dict[str, Resource] = {}
        self._of_device: dict[str, dict[str, Resource]] = defaultdict(dict)
        self._ended: list[tuple[int, str]] = []  # a heap of those that the network has ended: when, and which
        self._of_part: dict[str, Resource] = {}
        sessions.on_change.append(self._changed)

    def restore(self, resource: Resource) -> None:
        """One that there was before the controller was killed."""
        self._add(resource)
        for part in resource.parts:
            self._of_part[part.request.id] = resource
        if resource.ended:
            self._note_end(resource)
            self._end_parts(resource)
        if resource.set_up:
            self._tell(resource)
        else:
            self.drop(resource)  # whoever asked for it has had no answer

    def find(self, id: str, client: str) -> Resource:
        """Raises ApiError: there is none, or it is another client's."""
        self._forget()
        resource = self._resources.get(id)
        if resource is None:
            raise ApiError(404, "NOT_FOUND", f"there is no session {id}")
        if resource.client != client:
            raise ApiError(403, "PERMISSION_DENIED", f"session {id} was made by another client")
        return resource

    def of(self, device: str) -> Collection[Resource]:
        self._forget()
        return self._of_device[device].values()

    def conflicting(self, wanted: Resource) -> Iterator[Resource]:
        """Those that have packets for which `wanted` is too."""
        servers = set(wanted.servers)
        for other in self.of(wanted.device):
            ports = (other.device_ports, wanted.device_ports), (other.server_ports, wanted.server_ports)
            if not servers.isdisjoint(other.servers) and all(overlap(*sides) for sides in ports):
                yield other

    def set_up(self, resource: Resource, request: Request) -> None:
        """Returns when there is a session as requested for each server. Raises Refused, when nothing is left of it; and ApiError
        where the device has too many."""
        if len(self.of(resource.device)) >= MOST_OF_A_DEVICE:
            raise ApiError(
                429, "QUOTA_EXCEEDED", f"{resource.device} has {MOST_OF_A_DEVICE} sessions, and may have no more"
            )
        self._add(resource)
        self._keep(resource)
        try:
            for number, server in enumerate(resource.servers):
                id = self._sessions.new_id() if number else resource.id
                part = self._sessions.create(replace(request, id=id, server=server))
                resource.parts.append(part)
                self._of_part[part.request.id] = resource
        except Refused:
            self._end(resource, NETWORK)
            raise
        resource.set_up = True
        if resource.ended:  # while it was set up
            self._end_parts(resource)
            self._keep(resource)
        self._tell(resource)

    def delete(self, resource: Resource) -> None:
        self._end(resource, DELETED)
        self.drop(resource)

    def drop(self, resource: Resource) -> None:
        if self._resources.pop(resource.id, None):
            del self._of_device[resource.device][resource.id]
            self._forget_it(resource.id)

    def extend(self, resource: Resource, by_ns: int) -> None:
        for part in list(resource.parts):
            self._sessions.extend(part.request.id, by_ns)

    def info(self, resource: Resource) -> SessionInfo:
        """CAMARA's SessionInfo."""
        asked, status = resource.asked, resource.status
        start = resource.started_ns if resource.parts else resource.ended_ns
        end = resource.ended_ns if resource.ended else resource.expires_ns if resource.parts else 0
        lasting = resource.duration_ns if status == "REQUESTED" else end - start
        return SessionInfo(
            **{name: getattr(asked, name) for name in BaseSession.__struct_fields__},
            session_id=resource.id,
            duration=max(1, -(-lasting // 10**9)),
            started_at=self.timestamp(start) if status != "REQUESTED" and resource.parts else UNSET,
            expires_at=self.timestamp(end) if status != "REQUESTED" else UNSET,
            qos_status=status,
            status_info=resource.ended or UNSET,
        )

    def timestamp(self, ns: int) -> str:
        """RFC 3339, of a time of the monotonic clock."""
        moment = _EPOCH + timedelta(microseconds=(ns + self._calendar_ns) // 1000)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _add(self, resource: Resource) -> None:
        self._resources[resource.id] = resource
        self._of_device[resource.device][resource.id] = resource

    def _changed(self, session: Session, cause: str) -> None:
        resource = self._of_part.get(session.request.id)
        if resource is None:
            return  # on the way to be one
        if session.ended:
            del self._of_part[session.request.id]
            self._end(resource, session.ended if session.ended in (EXPIRED, DELETED) else NETWORK)
            if resource.ended == EXPIRED:
                self.drop(resource)
        self._tell(resource)
        if resource.grant_sink and cause in GRANT_CHANGES:
            resource.events += 1
            self._keep(resource)
            self._notify_of_grant(resource)

    def _end(self, resource: Resource, cause: str) -> None:
        """Only the first cause counts."""
        if not resource.ended:
            resource.ended, resource.ended_ns = cause, self._now()
            self._note_end(resource)
            self._tell(resource)
        self._end_parts(resource)

    def _note_end(self, resource: Resource) -> None:
        if resource.ended == NETWORK:
            heapq.heappush(self._ended, (resource.ended_ns, resource.id))

    def _end_parts(self, resource: Resource) -> None:
        for part in resource.parts:
            if self._of_part.pop(part.request.id, None):
                self._sessions.end(part.request.id, resource.ended)

    def _tell(self, resource: Resource) -> None:
        if resource.status not in ("REQUESTED", resource.told):
            resource.told = resource.status
            resource.events += 1
            self._keep(resource)
            self._notify(resource)

    def _forget(self) -> None:
        """Those that the network has ended long ago."""
        limit = self._now() - REMEMBERED_NS
        while self._ended and self._ended[0][0] < limit:
            _, id = heapq.heappop(self._ended)
            if resource := self._resources.get(id):
                self.drop(resource)
