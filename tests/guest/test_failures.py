"""Links, switches and the controller fail in a real guest: what a stream from outside sees, and what becomes of sessions."""

from typing import Any

import pytest

from benchmarks.failures import MESH, MOST_MS
from benchmarks.network import plan_of
from tests.conftest import GuestProgram


@pytest.fixture(scope="module")
def seen(guest_program: GuestProgram) -> dict[str, Any]:
    return guest_program("failures", plan_of(MESH, seed=3))


@pytest.mark.parametrize("what", ["link", "switch"])
def test_a_stream_goes_another_way_within_the_limit(seen: dict[str, Any], what: str) -> None:
    stream = seen["faults"][what]
    assert stream["lost"] > 0, "the fault did not hit the stream"
    assert max(gap for _, gap in stream["gaps"]) < MOST_MS
    assert stream["lost"] < MOST_MS
    assert stream["twice"] == 0


def test_the_data_plane_goes_on_without_a_controller(seen: dict[str, Any]) -> None:
    for stream in (seen["faults"]["controller"], seen["back"]["stream"]):
        assert (stream["lost"], stream["twice"]) == (0, 0)


def test_a_session_follows_its_path_there_and_back(seen: dict[str, Any]) -> None:
    follow = seen["follow"]
    assert follow["status during"] == follow["status after"] == [200, "AVAILABLE"]
    assert follow["before"] == follow["after"] != follow["during"]
    assert len(follow["during"]) >= len(follow["before"])


def test_a_session_without_a_way_ends_and_says_so(seen: dict[str, Any]) -> None:
    (answer,) = seen["follow"]["status without a way"]
    assert (answer["qosStatus"], answer["statusInfo"]) == ("UNAVAILABLE", "NETWORK_TERMINATED")
    assert seen["follow"]["without a way"] == {}


def test_no_session_is_lost_or_doubled_when_the_controller_is_killed(seen: dict[str, Any]) -> None:
    back = seen["back"]
    *kept, expired, new = back["status"]
    assert kept == [[200, "AVAILABLE"]] * 3
    assert expired[0] == 404, "its time was over while there was no controller"
    assert new == [200, "AVAILABLE"], "asked for while there was none, and so it waited"
    assert back["distinct"] == 5


def test_what_is_set_is_what_was_set_and_nothing_that_was_cut_off(seen: dict[str, Any]) -> None:
    back = seen["back"]
    assert back["classes"][0] == back["classes"][1]
    assert back["flows"][0] == back["flows"][1]
    assert back["left"] == {}
