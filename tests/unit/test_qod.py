"""The northbound: CAMARA's bodies and errors, and a book that never promises more than there is."""

import json
from itertools import product
from typing import Any

import pytest
from builders import planned
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from controller import qod
from controller.paths import Paths
from scenarios.plan import Plan

NETWORK = {
    "regions": [
        {
            "name": "west",
            "gnbs": [
                {"name": "quad", "radio": {"rate": "100 Mbit/s"}},
                {"name": "tunnel", "radio": {"rate": "9999992 bit/s"}, "link": {"rate": "50 Mbit/s"}},
            ],
        },
        {"name": "east", "gnbs": [{"name": "market", "radio": {"rate": "60 Mbit/s"}}]},
    ]
}
SLICES = [
    {"name": "models", "guarantee": "33 %", "profiles": ["QOS_S", "QOS_E"]},
    {"name": "video", "guarantee": "30 %"},
    {"name": "default"},
]
DEVICES = [
    {"name": "phone", "count": 2, "at": "quad", "slice": "models", "route": {"2 s": "tunnel", "3 s": "market"}},
    {"name": "bus", "at": "tunnel", "route": {"1 s": "quad"}},
]


def plan_with(policy: str) -> Plan:
    return planned(network=NETWORK, slices=SLICES, devices=DEVICES, policies={"slicing": policy})


PLAN = plan_with("deadline")
ADDRESSES = {host.name: host.ip for host in PLAN.hosts}
NOW = 1_700_000_000_123_456_789


def request(**changed: Any) -> dict[str, Any]:
    body = {
        "device": {"ipv4Address": {"privateAddress": ADDRESSES["phone1"]}},
        "applicationServer": {"ipv4Address": ADDRESSES["quad-edge"]},
        "qosProfile": "models",
        "duration": 10,
        "requestedRate": 8000,
    }
    return {**body, **changed}


def refusal(body: bytes) -> qod.ApiError:
    with pytest.raises(qod.ApiError) as caught:
        qod.parse(body, PLAN)
    return caught.value


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in request().items() if name != key}


def book(plan: Plan = PLAN) -> qod.Book:
    return qod.Book(plan, Paths(plan))


def asked(rate: int, device: str = "phone1", server: str = "quad-edge", slice_name: str = "models") -> qod.Asked:
    return qod.Asked(slice_name, device, server, rate, 10, {})


@pytest.mark.parametrize(
    ("profile", "slice_name"), [("models", "models"), ("QOS_S", "models"), ("QOS_E", "models"), ("video", "video")]
)
def test_a_request_names_a_slice_or_one_of_its_profiles(profile: str, slice_name: str) -> None:
    body = request(qosProfile=profile, sink="https://example.org/notifications")
    assert qod.parse(json.dumps(body).encode(), PLAN) == qod.Asked(slice_name, "phone1", "quad-edge", 8000, 10, body)


@pytest.mark.parametrize(
    "body",
    [
        *(without(key) for key in request()),
        request(device={}),
        request(device="10.0.0.1"),
        request(device={"ipv4Address": {}}),
        request(device={"ipv4Address": {"privateAddress": ["10.0.0.1"]}}),
        request(applicationServer={"ipv4Address": {}}),
        request(applicationServer={"ipv4Address": "192.0.2.1"}),
        request(applicationServer={"ipv4Address": ADDRESSES["phone1"]}),
        request(qosProfile=None),
        request(qosProfile=["models"]),
        request(duration="10"),
        request(duration=1.5),
        request(requestedRate="8000"),
        request(requestedRate=float("inf")),
        request(requestedRate=float("nan")),
        request(requestedRate=True),
        [],
        None,
    ],
)
def test_a_malformed_request_is_an_invalid_argument(body: Any) -> None:
    error = refusal(json.dumps(body).encode())
    assert (error.status, error.code) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"device":"\xff"}', b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_not_json_is_an_invalid_argument(body: bytes) -> None:
    assert (refusal(body).status, refusal(body).code) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"device": {"ipv4Address": {"privateAddress": "192.0.2.1"}}}, 404, "IDENTIFIER_NOT_FOUND"),
        ({"duration": 0}, 400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE"),
        ({"duration": -1}, 400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE"),
        ({"duration": 10**30}, 400, "QUALITY_ON_DEMAND.DURATION_OUT_OF_RANGE"),
        ({"requestedRate": 0}, 400, "OUT_OF_RANGE"),
        ({"requestedRate": -8}, 400, "OUT_OF_RANGE"),
        ({"qosProfile": "QOS_L"}, 422, "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE"),
    ],
)
def test_a_request_that_cannot_be_met_has_its_own_code(changed: dict[str, Any], status: int, code: str) -> None:
    error = refusal(json.dumps(request(**changed)).encode())
    assert error.body() == {"status": status, "code": code, "message": str(error)}
    assert str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda part: st.lists(part, max_size=2) | st.dictionaries(st.text(max_size=3), part, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(request())), JSON))
def test_any_json_is_understood_or_refused_as_camara_says(changed: dict[str, Any]) -> None:
    try:
        understood = qod.parse(json.dumps(request(**changed)).encode(), PLAN)
    except qod.ApiError as error:
        assert error.status in (400, 404, 422)
    else:
        session, _ = book().decide(understood, NOW)
        assert json.dumps(qod.session_info(session))


def test_session_info_is_the_request_with_id_times_and_what_was_granted() -> None:
    understood = qod.parse(json.dumps(request(sink="https://example.org")).encode(), PLAN)
    session, decision = book().decide(understood, NOW)
    assert decision == "granted"
    assert qod.session_info(session) == {
        "device": {"ipv4Address": {"privateAddress": ADDRESSES["phone1"]}},
        "applicationServer": {"ipv4Address": ADDRESSES["quad-edge"]},
        "qosProfile": "models",
        "sink": "https://example.org",
        "duration": 10,
        "sessionId": session.id,
        "startedAt": "2023-11-14T22:13:20.123Z",
        "expiresAt": "2023-11-14T22:13:30.123Z",
        "qosStatus": "AVAILABLE",
        "grantedRate": 8000,
    }
    assert qod.session_info(session._replace(granted_bps=0))["qosStatus"] == "UNAVAILABLE"


def test_a_sessions_path_has_its_id_and_no_other_path_has_one() -> None:
    session, _ = book().decide(asked(1), NOW)
    assert qod.session_id(f"{qod.ROOT}/sessions/{session.id}") == session.id
    for path in ("", "/", f"{qod.ROOT}/sessions", f"{qod.ROOT}/sessions/", f"{qod.ROOT}/sessions/{session.id}/extend"):
        assert qod.session_id(path) is None


SHARE = 33_000_000  # of the models slice, on the radio of quad


@pytest.mark.parametrize(
    ("held", "rate", "granted", "decision"),
    [
        (0, 1, 1, "granted"),
        (0, SHARE, SHARE, "granted"),
        (0, SHARE + 1, SHARE, "reduced"),
        (30_000_000, 3_000_000, 3_000_000, "granted"),
        (30_000_000, 3_000_001, 3_000_000, "reduced"),
        (SHARE, 1, 0, "refused"),
    ],
)
def test_deadline_gives_what_the_guarantee_has_left(held: int, rate: int, granted: int, decision: str) -> None:
    reservations = book()
    if held:
        first, _ = reservations.decide(asked(held, "phone2"), NOW)
        reservations.sessions[first.id] = first
    session, told = reservations.decide(asked(rate), NOW)
    assert (session.granted_bps, told) == (granted, decision)


def test_a_decision_reserves_nothing() -> None:
    reservations = book()
    assert [reservations.decide(asked(SHARE), NOW)[1] for _ in range(3)] == ["granted"] * 3


def test_slices_do_not_take_from_one_another() -> None:
    reservations = book()
    first, _ = reservations.decide(asked(SHARE), NOW)
    reservations.sessions[first.id] = first
    assert reservations.decide(asked(30_000_000, slice_name="video"), NOW)[1] == "granted"


@pytest.mark.parametrize(("policy", "decision", "granted"), [("none", "refused", 0), ("static", "granted", SHARE)])
def test_the_plans_policy_decides(policy: str, decision: str, granted: int) -> None:
    reservations = book(plan_with(policy))
    for _ in range(2):
        session, told = reservations.decide(asked(1), NOW)
        assert (told, session.granted_bps) == (decision, granted)
        if granted:
            reservations.sessions[session.id] = session


def test_a_session_that_moves_to_a_full_cell_is_cut_and_gets_its_rate_again_in_a_free_one() -> None:
    paths = Paths(PLAN)
    reservations = qod.Book(PLAN, paths)
    for device, rate in (("bus", 3_000_000), ("phone1", 2_000_000)):
        session, _ = reservations.decide(asked(rate, device, "west-local"), NOW)
        reservations.sessions[session.id] = session
    phone = next(device for device in PLAN.devices if device.host == "phone1")
    granted = []
    for place in (1, 2):  # tunnel: the slice has 3,299,997 bit/s; market
        paths.moved("phone1", phone.attachments[place])
        reservations.moved("phone1")
        granted.append(reservations.sessions[session.id].granted_bps)
    assert granted == [299_997, 2_000_000]


def test_a_download_is_promised_what_the_links_have_towards_the_device() -> None:
    radio = {"rate": "100 Mbit/s", "up": {"rate": "5 Mbit/s"}}
    plan = planned(network={"gnbs": [{"name": "square", "radio": radio}]})
    book = qod.Book(plan, Paths(plan))
    session, _ = book.decide(asked(10**12, "phone", "square-edge", "default"), NOW)
    assert session.granted_bps == 100_000_000


class Admission(RuleBasedStateMachine):
    """Sessions come and go, devices move: no link ever carries more promises than its guarantee."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.paths = Paths(PLAN)
        self.book = qod.Book(PLAN, self.paths)

    @rule(
        target=sessions,
        device=st.sampled_from([device.host for device in PLAN.devices]),
        server=st.sampled_from([library.host for library in PLAN.libraries]),
        slice_name=st.sampled_from([entry.name for entry in PLAN.slices]),
        rate=st.sampled_from([1, 1_000_000, 7_000_000, 30_000_000, 10**12]),
    )
    def create(self, device: str, server: str, slice_name: str, rate: int) -> Any:
        session, decision = self.book.decide(asked(rate, device, server, slice_name), NOW)
        expected = "refused" if not session.granted_bps else "granted" if session.granted_bps == rate else "reduced"
        assert decision == expected
        if decision == "refused":
            return multiple()
        self.book.sessions[session.id] = session
        return session.id

    @rule(session=consumes(sessions))
    def delete(self, session: str) -> None:
        del self.book.sessions[session]

    @rule(device=st.sampled_from(PLAN.devices), data=st.data())
    def move(self, device: Any, data: st.DataObject) -> None:
        before = set(self.book.sessions)
        self.paths.moved(device.host, data.draw(st.sampled_from(device.attachments)))
        self.book.moved(device.host)
        assert set(self.book.sessions) == before

    @invariant()
    def guarantees_hold_on_every_link(self) -> None:
        for link, number, entry in product(PLAN.links, (0, 1), PLAN.slices):
            promised = sum(
                session.granted_bps
                for session in self.book.sessions.values()
                if session.slice == entry.name
                and (link.name, number) in self.paths.ends_between(session.server, session.device)
            )
            assert promised <= link.ends[number].shape.rate_bps * entry.guarantee

    @invariant()
    def nobody_gets_more_than_was_asked(self) -> None:
        assert all(0 <= s.granted_bps <= s.requested_bps for s in self.book.sessions.values())


Admission.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestAdmission = Admission.TestCase
