"""Events to sinks: CloudEvents 1.0 in structured JSON, delivered in order, a few times until the sink has taken them.

Whatever is slow here waits in a green thread of its own: nobody who asks the northbound waits for a sink.
"""

import re
import ssl
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import socket
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from msgspec import json

from controller.northbound.resources import Resource

TYPE = "org.camaraproject.quality-on-demand.v1.qos-status-changed"
GRANT_CHANGED = "insitu.downloads.v1.grant-changed"  # docs/downloads-api.yaml
PAUSES_S = (1.0, 2.0, 4.0)  # before the second, third and fourth attempt
LIMIT_S = 10.0  # of each step of an attempt
_URI = re.compile(r"[!#-;=?-\[\]_a-z~]*")  # RFC 3986's characters, and %
TOO_MANY, GONE = 429, 410  # GONE: the sink wants no more

Connect = Callable[[str, int], socket]  # to a host that a URI names, and its port; raises OSError
Spawn = Callable[[Callable[[], None]], Any]
Delivered = Callable[["Event", int, int], None]  # after so many attempts, by the last answer's status (0: none)


class Event(NamedTuple):
    session: str
    status: str
    sink: str
    headers: dict[str, str]
    body: bytes
    expires_ns: int | None  # of the credential, since 1970


def is_sink(text: str, schemes: Collection[str] = ("https",)) -> bool:
    """Whether events can be sent to a URI."""
    try:
        uri = urlsplit(text)
        return uri.scheme in schemes and bool(uri.hostname) and uri.port != 0 and bool(_URI.fullmatch(text))
    except ValueError:
        return False


def status_changed(resource: Resource, root: str, when: str) -> Event:
    """CAMARA's event about what a session is now."""
    data = {"sessionId": resource.id, "qosStatus": resource.status}
    if resource.ended:
        data["statusInfo"] = resource.ended
    event = _cloud_event(resource, TYPE, f"{root}/sessions/{resource.id}", when, data)
    headers = {"Content-Type": "application/cloudevents+json"}
    if resource.correlator:
        headers["x-correlator"] = resource.correlator
    if resource.credential:
        headers["Authorization"] = f"Bearer {resource.credential.access_token}"
    expires = int(resource.credential.access_token_expires_utc.timestamp() * 10**9) if resource.credential else None
    return Event(resource.id, resource.status, str(resource.asked.sink), headers, json.encode(event), expires)


def grant_changed(resource: Resource, root: str, when: str) -> Event:
    """Our own event about what a download is granted now: nothing, once the network has ended its session."""
    (session,) = resource.parts
    rate = 0 if session.ended else session.down_bps
    data = {"sessionId": resource.id, "rate": rate, "variant": session.variant}
    event = _cloud_event(resource, GRANT_CHANGED, f"{root}/downloads/{resource.id}", when, data)
    headers = {"Content-Type": "application/cloudevents+json"}
    return Event(resource.id, resource.status, resource.grant_sink, headers, json.encode(event), None)


def _cloud_event(resource: Resource, kind: str, source: str, when: str, data: object) -> dict[str, object]:
    return {
        "id": str(uuid.uuid5(uuid.UUID(resource.id), f"{resource.events}")),
        "source": source,
        "specversion": "1.0",
        "type": kind,
        "time": when,
        "datacontenttype": "application/json",
        "data": data,
    }


class Outbox:
    """Delivers each session's events one after the other."""

    def __init__(self, connect: Connect, spawn: Spawn, delivered: Delivered) -> None:
        self._connect, self._spawn, self._delivered = connect, spawn, delivered
        self._waiting: dict[str, deque[Event]] = {}
        self._gone: set[str] = set()  # sessions whose sink is
        # There is no authority in an emulated network that could vouch for a sink's name
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    def put(self, event: Event) -> None:
        waiting = self._waiting.get(event.session)
        if waiting is not None:
            waiting.append(event)
            return
        self._waiting[event.session] = deque([event])
        self._spawn(lambda: self._deliver_all(event.session))

    def _deliver_all(self, session: str) -> None:
        waiting = self._waiting[session]
        while waiting:
            self._deliver(waiting[0])
            waiting.popleft()
        del self._waiting[session]

    def _deliver(self, event: Event) -> None:
        if event.session in self._gone or (event.expires_ns is not None and event.expires_ns <= time.time_ns()):
            self._delivered(event, 0, 0)
            return
        attempts, status = 1, self._attempt(event)
        for pause in PAUSES_S:
            if status and status < 500 and status != TOO_MANY:
                break
            time.sleep(pause)
            attempts, status = attempts + 1, self._attempt(event)
        if status == GONE:
            self._gone.add(event.session)
        self._delivered(event, attempts, status)

    def _attempt(self, event: Event) -> int:
        """The sink's answer, 0 where there is none."""
        uri = urlsplit(event.sink)
        is_secure = uri.scheme == "https"
        host, port = str(uri.hostname), uri.port or (443 if is_secure else 80)
        connection = HTTPSConnection(host, port) if is_secure else HTTPConnection(host, port)
        try:
            plain = self._connect(host, port)
            connection.sock = self._tls.wrap_socket(plain, server_hostname=host) if is_secure else plain
            connection.request("POST", _target(uri), event.body, event.headers)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()


def _target(uri: SplitResult) -> str:
    return (uri.path or "/") + (f"?{uri.query}" if uri.query else "")
