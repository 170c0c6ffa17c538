"""The northbound's answers, asked as its clients ask: what CAMARA's definitions say in words, or leave to the network."""

import json
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
import pytest
from engine import ADDRESSES, PLAN, START_NS, Memory, northbound
from hypothesis import given
from hypothesis import strategies as st

from controller.northbound.application import Application
from controller.northbound.bodies import PortsSpec
from controller.northbound.directory import overlap, ranges
from controller.session import Candidate, Ports
from controller.sessions import NETWORK

SECOND = 10**9
QOD, PROFILES, DOWNLOADS = "/quality-on-demand/v1", "/qos-profiles/v1", "/insitu/v1/downloads"
NO_SESSION = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
JSON = "application/json"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """Calls the application as a WSGI server does."""

    def __init__(self, engine: Memory | None = None, app: Application | None = None) -> None:
        self.engine = engine or Memory()
        self._app = app or northbound(self.engine)

    def __call__(self, method: str, path: str, body: Any = None, kind: str = JSON, **headers: str) -> Reply:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote(path),
            "wsgi.input": BytesIO(data),
            "CONTENT_LENGTH": str(len(data)),
            "CONTENT_TYPE": kind if data else "",
            **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
        }
        started: list[Any] = []
        answer = b"".join(self._app(environ, lambda *given: started.append(given)))
        (status, given), *_ = started
        return Reply(int(status.split()[0]), dict(given), json.loads(answer) if answer else None)

    def create(self, **changed: Any) -> Reply:
        return self("POST", f"{QOD}/sessions", session(**changed))


def device(name: str = "phone1") -> dict[str, Any]:
    return {"ipv4Address": {"publicAddress": ADDRESSES[name], "privateAddress": ADDRESSES[name]}}


def session(**changed: Any) -> dict[str, Any]:
    body = {
        "device": device(),
        "applicationServer": {"ipv4Address": ADDRESSES["central"]},
        "qosProfile": "QOS_M",
        "duration": 60,
    }
    return {name: value for name, value in {**body, **changed}.items() if value is not None}


def download(**changed: Any) -> dict[str, Any]:
    return {
        "device": device(),
        "applicationServer": {"ipv4Address": ADDRESSES["square-edge"]},
        "slice": "models",
        "download": "phone1#1",
        "rate": 8_000_000,
        "time_left_ns": 300_000_000,
        "duration_ns": SECOND,
        **changed,
    }


@pytest.fixture
def client() -> Client:
    return Client()


def test_a_session_is_what_was_asked_for_with_its_times_and_status(client: Client) -> None:
    ports = {"devicePorts": {"ports": [5060]}, "applicationServerPorts": {"ranges": [{"from": 1, "to": 9}]}}
    reply = client.create(**ports, sink="https://phone2:8443/events")
    assert reply.status == 201
    assert reply.body == session(**ports, sink="https://phone2:8443/events") | {
        "sessionId": reply.body["sessionId"],
        "startedAt": "2023-11-14T22:13:25.000Z",
        "expiresAt": "2023-11-14T22:14:25.000Z",
        "qosStatus": "AVAILABLE",
    }
    assert client("GET", f"{QOD}/sessions/{reply.body['sessionId'].upper()}").body == reply.body
    (asked,) = client.engine.asked
    assert (asked.device, asked.server, asked.profile) == ("phone1", "central", "QOS_M")
    assert (asked.down_bps, asked.up_bps, asked.duration_ns) == (8_000_000, 2_000_000, 60 * SECOND)
    assert (asked.device_ports, asked.server_ports) == ((Ports(5060, 5060),), (Ports(1, 9),))


@pytest.mark.parametrize(
    ("profile", "name", "slice_name"),
    [("QOS_L", "phone1", "models"), ("QOS_M", "phone1", "default"), ("QOS_M", "bus", "models")],
)
def test_a_profile_is_of_the_slice_that_offers_it_else_of_the_devices(
    client: Client, profile: str, name: str, slice_name: str
) -> None:
    client.create(device=device(name), qosProfile=profile)
    assert client.engine.asked[0].slice == slice_name


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"device": None}, 422, "MISSING_IDENTIFIER"),
        ({"device": {}}, 400, "INVALID_ARGUMENT"),
        ({"device": {"phoneNumber": "+123456789"}}, 422, "UNSUPPORTED_IDENTIFIER"),
        ({"device": {"networkAccessIdentifier": "a@b"}}, 422, "UNSUPPORTED_IDENTIFIER"),
        ({"device": {"ipv6Address": "2001:db8::1"}}, 422, "UNSUPPORTED_IDENTIFIER"),
        ({"device": {"ipv6Address": "fe80::1%eth0"}}, 400, "INVALID_ARGUMENT"),
        ({"device": {"ipv4Address": {"publicAddress": ADDRESSES["phone1"]}}}, 400, "INVALID_ARGUMENT"),
        ({"device": device("nef")}, 404, "IDENTIFIER_NOT_FOUND"),
        ({"device": {"ipv4Address": {"publicAddress": "192.0.2.1", "publicPort": 1}}}, 404, "IDENTIFIER_NOT_FOUND"),
        ({"applicationServer": {"ipv4Address": "192.0.2.0/24"}}, 422, "SERVICE_NOT_APPLICABLE"),
        ({"applicationServer": {"ipv4Address": ADDRESSES["phone1"]}}, 422, "SERVICE_NOT_APPLICABLE"),
        ({"applicationServer": {"ipv6Address": "::/0"}}, 422, "SERVICE_NOT_APPLICABLE"),
        ({"applicationServer": {"ipAddresses": []}}, 400, "INVALID_ARGUMENT"),
        ({"applicationServer": {"ipAddresses": ["10.0.0.1", "10.0.0.1"]}}, 400, "INVALID_ARGUMENT"),
        ({"applicationServer": {"ipAddresses": ["10.0.0.0/24"]}}, 400, "INVALID_ARGUMENT"),
        ({"applicationServer": {"ipAddresses": ["10.0.0.1"], "ipv4Address": "10.0.0.1"}}, 400, "INVALID_ARGUMENT"),
        ({"qosProfile": "QOS_X"}, 400, "INVALID_ARGUMENT"),
        ({"qosProfile": "PAST"}, 422, "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE"),
        ({"qosProfile": "insitu.download"}, 422, "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE"),
        ({"qosProfile": "VIDEO", "duration": 1}, 400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE"),
        ({"qosProfile": "VIDEO", "duration": 31}, 400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE"),
        ({"duration": 0}, 400, "INVALID_ARGUMENT"),
        ({"duration": True}, 400, "INVALID_ARGUMENT"),
        ({"devicePorts": {}}, 400, "INVALID_ARGUMENT"),
        ({"devicePorts": {"ports": [0]}}, 400, "INVALID_ARGUMENT"),
        ({"devicePorts": {"ranges": [{"from": 2, "to": 1}]}}, 400, "OUT_OF_RANGE"),
        ({"devicePorts": {"ports": list(range(1, 99, 2))}}, 400, "OUT_OF_RANGE"),
        ({"sink": "http://phone2/events"}, 400, "INVALID_SINK"),
        ({"sink": "https://phone2/a b"}, 400, "INVALID_SINK"),
        ({"sink": "https://phone2:99999/"}, 400, "INVALID_SINK"),
        ({"sink": "https://phone2/", "sinkCredential": {"credentialType": "PLAIN"}}, 400, "INVALID_ARGUMENT"),
        ({"sink": "https://phone2/", "sinkCredential": {"credentialType": "PRIVATE_KEY_JWT"}},
         422, "PRIVATE_KEY_JWT_NOT_CONFIGURED"),
        ({"sessionId": NO_SESSION}, 400, "INVALID_ARGUMENT"),
        ({"qosStatus": "AVAILABLE"}, 400, "INVALID_ARGUMENT"),
        ({"requestedRate": 8000}, 400, "INVALID_ARGUMENT"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_met_has_its_own_code(
    client: Client, changed: dict[str, Any], status: int, code: str
) -> None:
    reply = client.create(**changed)
    assert (reply.status, reply.body["status"], reply.body["code"]) == (status, status, code)
    assert reply.body["message"]
    assert not client.engine.asked


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'"\\ud800"', b"[" * 100_000, b"null", b"[]", b'{"duration": NaN}']
)
def test_what_is_not_such_a_json_object_is_an_invalid_argument(client: Client, body: bytes) -> None:
    for path in (f"{QOD}/sessions", f"{QOD}/retrieve-sessions", f"{PROFILES}/retrieve-qos-profiles", DOWNLOADS):
        reply = client("POST", path, body)
        assert (reply.status, reply.body["code"]) == (400, "INVALID_ARGUMENT")


def test_http_is_kept_to(client: Client) -> None:
    sessions = f"{QOD}/sessions"
    assert (
        client("POST", sessions, b"a=b", kind="application/x-www-form-urlencoded").body["code"]
        == "UNSUPPORTED_MEDIA_TYPE"
    )
    assert client("POST", sessions, session(), kind="Application/JSON; charset=utf-8").status == 201
    too_large = client("POST", sessions, b" " * 5_000_001)
    assert (too_large.status, too_large.body["code"]) == (413, "CONTENT_TOO_LARGE")
    wrong = client("PUT", f"{sessions}/{NO_SESSION}")
    assert (wrong.status, wrong.body["code"], wrong.headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "GET, DELETE")
    for path in ("/", f"{QOD}/", f"{sessions}/", f"{sessions}/{NO_SESSION}/", f"{sessions}/a/b/extend", "/v1/sessions"):
        assert (client("GET", path).status, client("GET", path).body["code"]) == (404, "NOT_FOUND")
    for id in ("1", NO_SESSION + "0", NO_SESSION.replace("-", ""), NO_SESSION[:-1] + "%0A"):
        assert client("DELETE", f"{sessions}/{id}").body["code"] == "INVALID_ARGUMENT"
    assert client("GET", f"{sessions}/{NO_SESSION}").body["code"] == "NOT_FOUND"


def test_a_correlator_comes_back_or_is_refused(client: Client) -> None:
    for path in (f"{QOD}/sessions/{NO_SESSION}", f"{PROFILES}/qos-profiles/QOS_S", "/nowhere"):
        assert client("GET", path, x_correlator="a-b/{c}").headers["x-correlator"] == "a-b/{c}"
        assert "x-correlator" not in client("GET", path).headers
    for bad in ("a b", "é", "x" * 257, "a\n"):
        reply = client("GET", f"{PROFILES}/qos-profiles/QOS_S", x_correlator=bad)
        assert (reply.status, reply.body["code"]) == (400, "INVALID_ARGUMENT")
        assert "x-correlator" not in reply.headers


def test_a_bearer_token_is_a_client_and_sees_its_own_sessions_alone(client: Client) -> None:
    mine = client("POST", f"{QOD}/sessions", session(), authorization="Bearer one").body["sessionId"]
    assert client("GET", f"{QOD}/sessions/{mine}", authorization="Bearer one").status == 200
    for other in ({"authorization": "Bearer two"}, {}):
        denied = client("DELETE", f"{QOD}/sessions/{mine}", **other)
        assert (denied.status, denied.body["code"]) == (403, "PERMISSION_DENIED")
        assert client("POST", f"{QOD}/retrieve-sessions", {"device": device()}, **other).body == []
    for wrong in ("Basic YTpi", "Bearer", "Bearer a b"):
        reply = client("GET", f"{QOD}/sessions/{mine}", authorization=wrong)
        assert (reply.status, reply.body["code"], reply.headers["WWW-Authenticate"]) == (
            401,
            "UNAUTHENTICATED",
            "Bearer",
        )


def test_a_device_is_named_as_it_was_by_the_one_identifier_that_is_used(client: Client) -> None:
    by_port = {"publicAddress": ADDRESSES["phone1"], "publicPort": 59765}
    reply = client.create(device={"phoneNumber": "+123456789", "ipv4Address": by_port})
    assert reply.body["device"] == {"ipv4Address": by_port}
    found = client("POST", f"{QOD}/retrieve-sessions", {"device": device()})
    assert found.body == [reply.body]
    assert client("POST", f"{QOD}/retrieve-sessions", {"device": device("bus")}).body == []
    assert client("POST", f"{QOD}/retrieve-sessions", {}).body["code"] == "MISSING_IDENTIFIER"


@pytest.mark.parametrize(
    ("server", "hosts"),
    [
        ({"ipv4Address": "010.000.0.01"}, {"central"}),
        ({"ipv4Address": ADDRESSES["central"] + "/30"}, {"central", "nef", "region-local"}),
        ({"ipv4Address": "0.0.0.0/0", "ipv6Address": "::1"}, set(ADDRESSES) - {"phone1"}),
        ({"ipAddresses": ["::1", ADDRESSES["nef"], "192.0.2.1"]}, {"nef"}),
    ],
)
def test_an_application_server_is_every_host_that_its_addresses_match(
    client: Client, server: dict[str, Any], hosts: set[str]
) -> None:
    reply = client.create(applicationServer=server)
    assert reply.body["applicationServer"] == server
    assert {asked.server for asked in client.engine.asked} == hosts
    assert len(client("POST", f"{QOD}/retrieve-sessions", {"device": device()}).body) == 1
    extended = client("POST", f"{QOD}/sessions/{reply.body['sessionId']}/extend", {"requestedAdditionalDuration": 5})
    assert extended.body["duration"] == 65
    assert client("DELETE", f"{QOD}/sessions/{reply.body['sessionId']}").status == 204
    assert not client.engine.sessions


def test_where_one_host_of_an_application_server_is_refused_none_has_a_session() -> None:
    class Second(Memory):
        def create(self, request: Any) -> Any:
            self.refuse = "full" if self.asked else ""
            return super().create(request)

    client = Client(Second())
    reply = client.create(applicationServer={"ipv4Address": ADDRESSES["central"] + "/30"})
    assert (reply.status, reply.body["qosStatus"], reply.body["statusInfo"]) == (201, "UNAVAILABLE", NETWORK)
    assert not client.engine.sessions


def test_what_the_network_cannot_give_is_unavailable_and_remembered_for_a_while(client: Client) -> None:
    client.engine.refuse = "nothing left"
    reply = client.create()
    assert reply.status == 201
    assert (reply.body["qosStatus"], reply.body["statusInfo"]) == ("UNAVAILABLE", NETWORK)
    assert "startedAt" not in reply.body
    client.engine.refuse = ""
    assert client.create().body["code"] == "CONFLICT"  # until it is deleted, CAMARA says
    client.engine.pass_time(360 * SECOND)
    assert client("GET", f"{QOD}/sessions/{reply.body['sessionId']}").status == 200
    client.engine.pass_time(1)
    assert client("GET", f"{QOD}/sessions/{reply.body['sessionId']}").status == 404
    assert client.create().body["qosStatus"] == "AVAILABLE"


def test_one_that_the_network_ends_can_be_looked_up_and_not_be_extended(client: Client) -> None:
    id = client.create().body["sessionId"]
    client.engine.pass_time(2_500_000_000)
    client.engine.end(id, NETWORK)
    body = client("GET", f"{QOD}/sessions/{id}").body
    assert (body["qosStatus"], body["statusInfo"], body["duration"]) == ("UNAVAILABLE", NETWORK, 3)
    assert body["expiresAt"] == "2023-11-14T22:13:27.500Z"
    refused = client("POST", f"{QOD}/sessions/{id}/extend", {"requestedAdditionalDuration": 5})
    assert (refused.status, refused.body["code"]) == (409, "QUALITY_ON_DEMAND.SESSION_EXTENSION_NOT_ALLOWED")
    assert client("DELETE", f"{QOD}/sessions/{id}").status == 204
    assert client("DELETE", f"{QOD}/sessions/{id}").status == 404


def test_an_extension_is_capped_at_the_profiles_longest_duration(client: Client) -> None:
    id = client.create(qosProfile="VIDEO", duration=20).body["sessionId"]
    lasts = []
    for by in (5, 100, 2**31 - 1):
        body = client("POST", f"{QOD}/sessions/{id}/extend", {"requestedAdditionalDuration": by}).body
        lasts.append(body["duration"])
    assert lasts == [25, 30, 30]
    assert body["expiresAt"] == "2023-11-14T22:13:55.000Z"
    client.engine.pass_time(30 * SECOND)
    assert client("GET", f"{QOD}/sessions/{id}").status == 404


def test_two_sessions_for_the_same_packets_are_in_conflict(client: Client) -> None:
    assert client.create(applicationServerPorts={"ranges": [{"from": 10, "to": 20}]}).status == 201
    for ports in ({"ports": [20]}, {"ranges": [{"from": 1, "to": 10}]}, None):
        reply = client.create(applicationServerPorts=ports)
        assert (reply.status, reply.body["code"]) == (409, "CONFLICT")
    assert client.create(applicationServerPorts={"ports": [21]}).status == 201
    assert client.create(device=device("phone2")).status == 201


def test_two_sessions_for_the_same_download_are_in_conflict_while_the_first_lasts(client: Client) -> None:
    first = client("POST", DOWNLOADS, download())
    second = client("POST", DOWNLOADS, download())
    assert (second.status, second.body["code"]) == (409, "CONFLICT")
    client.engine.end(first.body["sessionId"], NETWORK)
    assert client("POST", DOWNLOADS, download()).status == 201


def test_a_device_has_at_most_a_hundred_sessions(client: Client) -> None:
    for port in range(1, 101):
        assert client.create(devicePorts={"ports": [port]}).status == 201
    for reply in (client.create(devicePorts={"ports": [101]}), client("POST", DOWNLOADS, download())):
        assert (reply.status, reply.body["code"]) == (429, "QUOTA_EXCEEDED")
    assert len(client("POST", f"{QOD}/retrieve-sessions", {"device": device()}).body) == 100
    assert client.create(device=device("phone2")).status == 201


def test_a_download_carries_what_would_do_and_its_session_is_camaras_too(client: Client) -> None:
    would_do = [{"variant": "d1w1b1", "bytes": 100, "accuracy": 0.5, "rate": 800}]
    reply = client("POST", DOWNLOADS, download(candidates=would_do))
    assert reply == (201, reply.headers, {"sessionId": reply.body["sessionId"], "rate": 8_000_000, "variant": ""})
    (asked,) = client.engine.asked
    assert asked.candidates == (Candidate("d1w1b1", 100, 0.5, 800),)
    assert (asked.slice, asked.download, asked.server) == ("models", "phone1#1", "square-edge")
    assert (asked.deadline_ns, asked.duration_ns) == (START_NS + 300_000_000, SECOND)
    info = client("GET", f"{QOD}/sessions/{reply.body['sessionId']}").body
    assert (info["qosProfile"], info["duration"], info["device"]) == ("insitu.download", 1, device())
    assert client("GET", f"{PROFILES}/qos-profiles/{info['qosProfile']}").body["status"] == "INACTIVE"
    assert client("DELETE", f"{QOD}/sessions/{reply.body['sessionId']}").status == 204
    assert not client.engine.sessions


def test_a_download_that_is_refused_leaves_nothing(client: Client) -> None:
    client.engine.refuse = 'slice "models" has nothing left'
    reply = client("POST", DOWNLOADS, download())
    assert reply.body == {"status": 409, "code": "CONFLICT", "message": 'slice "models" has nothing left'}
    assert client("POST", f"{QOD}/retrieve-sessions", {"device": device()}).body == []


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"slice": "gold"}, 422),
        ({"applicationServer": {"ipv4Address": "0.0.0.0/0"}}, 422),
        ({"rate": 0}, 400),
        ({"candidates": [{"variant": "a", "bytes": 1, "accuracy": 1.5, "rate": 1}]}, 400),
        ({"qosProfile": "QOS_S"}, 400),
    ],
)
def test_a_download_that_cannot_be(client: Client, changed: dict[str, Any], status: int) -> None:
    assert client("POST", DOWNLOADS, download(**changed)).status == status


def test_profiles_are_those_that_are_built_in_and_the_scenarios(client: Client) -> None:
    every = client("POST", f"{PROFILES}/retrieve-qos-profiles", {}).body
    assert [entry["name"] for entry in every] == [*(profile.name for profile in PLAN.profiles), "insitu.download"]
    assert client("GET", f"{PROFILES}/qos-profiles/VIDEO").body == {
        "name": "VIDEO",
        "description": "At least 25 kbit/s downstream and 8 kbit/s upstream",
        "status": "ACTIVE",
        "targetMinUpstreamRate": {"value": 8, "unit": "kbps"},
        "targetMinDownstreamRate": {"value": 25, "unit": "kbps"},
        "minDuration": {"value": 2, "unit": "Seconds"},
        "maxDuration": {"value": 30, "unit": "Seconds"},
        "priority": 50,
        "packetDelayBudget": {"value": 1500, "unit": "Microseconds"},
    }


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"status": "DEPRECATED"}, ["PAST"]),
        ({"name": "QOS_S"}, ["QOS_S"]),
        ({"name": "QOS_S", "status": "INACTIVE"}, []),
        ({"name": "VIDEO", "device": device()}, ["VIDEO"]),
    ],
)
def test_profiles_are_found_by_name_status_and_device(client: Client, asked: dict[str, Any], names: list[str]) -> None:
    found = client("POST", f"{PROFILES}/retrieve-qos-profiles", asked).body
    assert [entry["name"] for entry in found] == names


def test_profiles_that_are_not_there(client: Client) -> None:
    assert client("GET", f"{PROFILES}/qos-profiles/QOS_X").status == 404
    assert client("GET", f"{PROFILES}/qos-profiles/QS").status == 400
    retrieve = f"{PROFILES}/retrieve-qos-profiles"
    assert client("POST", retrieve, {"device": device("nef")}).body["code"] == "IDENTIFIER_NOT_FOUND"
    assert client("POST", retrieve, {"device": {"phoneNumber": "+123456789"}}).body["code"] == "UNSUPPORTED_IDENTIFIER"


PORTS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)).map(lambda p: Ports(p[0], p[0] + p[1])), max_size=6)


@given(PORTS, PORTS)
def test_ports_are_the_same_in_fewer_ranges_and_overlap_where_they_share_one(
    one: list[Ports], other: list[Ports]
) -> None:
    def merged(said: list[Ports]) -> tuple[Ports, ...]:
        return ranges(msgspec.convert({"ranges": [{"from": part.first, "to": part.last} for part in said]}, PortsSpec))

    def members(said: Any) -> set[int]:
        return {port for part in said for port in range(part.first, part.last + 1)}

    if one and other:
        mine, others = merged(one), merged(other)
        assert members(mine) == members(one)
        assert all(a.last + 1 < b.first for a, b in zip(mine, mine[1:], strict=False))
        assert overlap(mine, others) == bool(members(one) & members(other))
    assert overlap(one, []) and overlap([], other)
