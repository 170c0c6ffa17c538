"""All of the northbound, put together from a plan and the engine of sessions."""

from collections.abc import Callable, Mapping
from socket import IPPROTO_TCP, TCP_NODELAY, socket
from types import MappingProxyType

from msgspec import Raw

from controller.journal import AnyLine, Forgotten, Known
from controller.northbound import memory
from controller.northbound.application import Application, Route
from controller.northbound.directory import Directory
from controller.northbound.downloads import Downloads
from controller.northbound.events import LIMIT_S, Delivered, Outbox, Spawn, grant_changed, status_changed
from controller.northbound.profiles import Profiles
from controller.northbound.quality_on_demand import QualityOnDemand
from controller.northbound.resources import Resource, Resources
from controller.sessions import Sessions
from scenarios.plan import Plan

QUALITY_ON_DEMAND, QOS_PROFILES, INSITU = "/quality-on-demand/v1", "/qos-profiles/v1", "/insitu/v1"


def application(
    plan: Plan,
    sessions: Sessions,
    open_socket: Callable[[], socket],
    spawn: Spawn,
    delivered: Delivered,
    now: Callable[[], int],
    calendar_ns: int,
    journal: Callable[[AnyLine], None] = lambda line: None,
    found: Mapping[str, Raw] = MappingProxyType({}),
) -> Application:
    """A WSGI application. Events to sinks leave by `open_socket`'s, each sink's in a thread that `spawn` starts, and are told
    to `delivered`; `now` is the monotonic clock, `calendar_ns` what it lacks to the time since 1970. `found` are the resources
    that a controller which was killed has left in the journal, and whose sessions are restored."""
    directory = Directory(plan)
    profiles = Profiles(plan, directory)

    def connect(host: str, port: int) -> socket:
        address = directory.address(host)
        if address is None:
            raise OSError(f"there is no host {host} in this network")
        made = open_socket()
        try:
            made.settimeout(LIMIT_S)
            made.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # http.client sends head and body apart
            made.connect((address, port))
        except OSError:
            made.close()
            raise
        return made

    outbox = Outbox(connect, spawn, delivered)

    def notify(resource: Resource) -> None:
        if resource.asked.sink:
            outbox.put(status_changed(resource, QUALITY_ON_DEMAND, resources.timestamp(now())))

    def notify_of_grant(resource: Resource) -> None:
        outbox.put(grant_changed(resource, INSITU, resources.timestamp(now())))

    def keep(resource: Resource) -> None:
        journal(Known(resource.id, memory.encoded(resource)))

    resources = Resources(sessions, notify, notify_of_grant, now, calendar_ns, keep, lambda id: journal(Forgotten(id)))
    for content in found.values():
        resources.restore(memory.decoded(content, sessions, now()))
    qod = QualityOnDemand(directory, profiles, sessions, resources)
    downloads = Downloads(directory, {entry.name for entry in plan.slices}, sessions, resources, now)
    session = rf"{QUALITY_ON_DEMAND}/sessions/([^/]+)"
    return Application(
        [
            Route("POST", f"{QUALITY_ON_DEMAND}/sessions", qod.create),
            Route("GET", session, qod.get, has_body=False),
            Route("DELETE", session, qod.delete, has_body=False),
            Route("POST", f"{session}/extend", qod.extend),
            Route("POST", f"{QUALITY_ON_DEMAND}/retrieve-sessions", qod.retrieve),
            Route("POST", f"{QOS_PROFILES}/retrieve-qos-profiles", profiles.retrieve),
            Route("GET", rf"{QOS_PROFILES}/qos-profiles/([^/]+)", profiles.get, has_body=False),
            Route("POST", f"{INSITU}/downloads", downloads.create),
        ]
    )
