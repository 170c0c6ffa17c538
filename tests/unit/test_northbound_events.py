"""Events to sinks: CAMARA's CloudEvents, over TLS to a real server, in order, a few times until they are taken."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from engine import Memory, northbound
from test_northbound import DOWNLOADS, QOD, Client, download, session

from controller.northbound import events
from controller.northbound.events import Event
from controller.sessions import DELETED, EXPIRED, NETWORK

SECOND = 10**9
TOKEN = {
    "credentialType": "ACCESSTOKEN",
    "accessToken": "s3cret",
    "accessTokenType": "bearer",
    "accessTokenExpiresUtc": "2999-01-01T00:00:00Z",
}


class Sink:
    """Takes events, after it has answered what it is told to."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.url = ""

    @contextmanager
    def listening(self, secure: bool = True) -> Iterator[None]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                sink.posts.append((dict(self.headers) | {"path": self.path}, body))
                self.send_response(sink.answers.pop(0) if sink.answers else 204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            if secure:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(Path(__file__).with_name("sink.pem"))
                server.socket = context.wrap_socket(server.socket, server_side=True)
            self.url = f"http{'s' * secure}://127.0.0.1:{server.server_port}/events?of=mine"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


class World:
    """A client of the northbound with a sink; `told` is what the northbound says of deliveries."""

    def __init__(self, sink: Sink) -> None:
        self.told: list[tuple[str, int, int]] = []
        self.sink, self.engine = sink, Memory()
        self.client = Client(self.engine, northbound(self.engine, self._delivered))

    def _delivered(self, event: Event, attempts: int, answer: int) -> None:
        self.told.append((event.status, attempts, answer))

    def create(self, **changed: Any) -> str:
        reply = self.client("POST", f"{QOD}/sessions", session(sink=self.sink.url, **changed), x_correlator="abc")
        assert reply.status == 201
        return str(reply.body["sessionId"])

    def until(self, number: int) -> list[dict[str, Any]]:
        """The data of the events when so many were delivered, or given up."""
        limit = time.monotonic() + 20
        while len(self.told) < number and time.monotonic() < limit:
            time.sleep(0.01)
        assert len(self.told) == number
        return [body["data"] for _, body in self.sink.posts]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(events, "PAUSES_S", (0.01, 0.02, 0.04))
    sink = Sink()
    with sink.listening():
        yield World(sink)


def test_an_event_is_a_cloudevent_with_the_sinks_token(world: World) -> None:
    id = world.create(sinkCredential=TOKEN)
    world.until(1)
    ((headers, body),) = world.sink.posts
    assert headers["path"] == "/events?of=mine"
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["x-correlator"] == "abc"
    assert body == {
        "id": body["id"],
        "source": f"{QOD}/sessions/{id}",
        "specversion": "1.0",
        "type": "org.camaraproject.quality-on-demand.v1.qos-status-changed",
        "time": "2023-11-14T22:13:25.000Z",
        "datacontenttype": "application/json",
        "data": {"sessionId": id, "qosStatus": "AVAILABLE"},
    }
    assert "sinkCredential" not in world.client("GET", f"{QOD}/sessions/{id}").body


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (lambda world, id: world.client("DELETE", f"{QOD}/sessions/{id}"), DELETED),
        (lambda world, id: world.engine.pass_time(60 * SECOND), EXPIRED),
        (lambda world, id: world.engine.end(id, NETWORK), NETWORK),
        (lambda world, id: world.engine.end(id, "FAILURE"), NETWORK),
    ],
)
def test_the_end_of_a_session_is_told_once_with_its_cause(
    world: World, end: Callable[[World, str], Any], cause: str
) -> None:
    id = world.create()
    end(world, id)
    ended = {"sessionId": id, "qosStatus": "UNAVAILABLE", "statusInfo": cause}
    assert world.until(2) == [{"sessionId": id, "qosStatus": "AVAILABLE"}, ended]
    world.client("DELETE", f"{QOD}/sessions/{id}")
    assert len(world.until(2)) == 2
    assert len({body["id"] for _, body in world.sink.posts}) == 2


def test_a_status_that_goes_and_comes_back_is_told_and_an_extension_is_not(world: World) -> None:
    id = world.create()
    live = world.engine.sessions[id]
    for status, cause in (("UNAVAILABLE", "FAILURE"), ("UNAVAILABLE", "POLICY"), ("AVAILABLE", "FAILURE")):
        live.status = status  # type: ignore[assignment]
        world.engine.tell(live, cause)
    world.client("POST", f"{QOD}/sessions/{id}/extend", {"requestedAdditionalDuration": 5})
    assert [data["qosStatus"] for data in world.until(3)] == ["AVAILABLE", "UNAVAILABLE", "AVAILABLE"]
    assert all("statusInfo" not in body["data"] for _, body in world.sink.posts)


def test_a_session_that_cannot_be_had_is_told(world: World) -> None:
    world.engine.refuse = "nothing left"
    id = world.create()
    assert world.until(1) == [{"sessionId": id, "qosStatus": "UNAVAILABLE", "statusInfo": NETWORK}]


def test_a_sink_that_is_out_of_order_is_asked_again_and_order_is_kept(world: World) -> None:
    world.sink.answers = [500, 503, 429]
    world.engine.end(world.create(), NETWORK)
    statuses = [data["qosStatus"] for data in world.until(2)]
    assert statuses == ["AVAILABLE"] * 4 + ["UNAVAILABLE"]
    assert world.told == [("AVAILABLE", 4, 204), ("UNAVAILABLE", 1, 204)]


def test_a_sink_that_refuses_is_not_asked_again_and_one_that_is_gone_hears_no_more(world: World) -> None:
    world.sink.answers = [401, 410]
    id = world.create()
    world.engine.end(id, NETWORK)
    world.until(2)
    assert world.told == [("AVAILABLE", 1, 401), ("UNAVAILABLE", 1, 410)]
    world.client("DELETE", f"{QOD}/sessions/{id}")
    world.sink.answers = [410]
    world.engine.end(world.create(), NETWORK)
    world.until(4)
    assert world.told[2:] == [("AVAILABLE", 1, 410), ("UNAVAILABLE", 0, 0)]


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nobody.example.org"])
def test_a_sink_that_is_not_there_is_given_up(world: World, host: str) -> None:
    world.sink.url = f"https://{host}/"
    world.create()
    world.until(1)
    assert world.told == [("AVAILABLE", 4, 0)]


def test_an_expired_token_is_not_used(world: World) -> None:
    world.create(sinkCredential=TOKEN | {"accessTokenExpiresUtc": "2001-01-01T00:00:00Z"})
    assert world.until(1) == []
    assert world.told == [("AVAILABLE", 0, 0)]


@pytest.mark.parametrize("secure", [False, True])
def test_a_downloads_sink_is_told_of_another_grant_and_of_its_end_by_the_network_alone(secure: bool) -> None:
    sink = Sink()
    with sink.listening(secure):
        world = World(sink)
        id = world.client("POST", DOWNLOADS, download(sink=sink.url)).body["sessionId"]
        live = world.engine.sessions[id]
        world.engine.tell(live, "EXTENDED")
        live.down_bps, live.variant = 1_000_000, "d1w1b1"
        world.engine.tell(live, "POLICY")
        world.until(1)
        world.engine.end(id, NETWORK)
        assert world.until(2) == [
            {"sessionId": id, "rate": 1_000_000, "variant": "d1w1b1"},
            {"sessionId": id, "rate": 0, "variant": "d1w1b1"},
        ]
        assert {(body["type"], body["source"]) for _, body in sink.posts} == {
            ("insitu.downloads.v1.grant-changed", f"/insitu/v1/downloads/{id}")
        }
        other = world.client("POST", DOWNLOADS, download(sink=sink.url)).body["sessionId"]
        world.client("DELETE", f"{QOD}/sessions/{other}")
        assert len(world.until(2)) == 2


def test_a_downloads_sink_is_an_http_uri() -> None:
    reply = Client()("POST", DOWNLOADS, download(sink="ftp://square-edge/"))
    assert (reply.status, reply.body["code"]) == (400, "INVALID_SINK")
