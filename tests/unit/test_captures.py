"""Captures: which interface a name stands for, and what tcpdump's messages and files say."""

import struct
from pathlib import Path

import pytest
from builders import planned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insitu import processes
from insitu.captures import Captures, counts, last_stamp
from insitu.processes import ProcessError
from scenarios import names, planner
from scenarios.plan import Capture
from scenarios.schema import Scenario

DEVICES = [{"name": "phone", "count": 2, "at": "square"}, {"name": "tram", "at": "square"}]
NAMES = Scenario.model_validate({"name": "n", "network": {"gnbs": [{"name": "square"}]}, "devices": DEVICES})


def capture(name: str) -> Capture:
    (made,) = planned(devices=DEVICES, capture=[name]).captures
    return made


def test_a_link_is_seen_at_its_end_towards_the_core() -> None:
    links = {link.name: link for link in planned(devices=DEVICES).links}
    for name, node in (("square-radio", "square"), ("square-link", "region"), ("phone1-link", "square-cell")):
        upper = next(end for end in links[name].ends if end.node == node)
        assert (capture(name).host, capture(name).interface) == ("", upper.interface)


@pytest.mark.parametrize("name", ["central", "nef", "region-local", "square-edge", "phone2", "tram"])
def test_a_host_is_seen_at_its_own_interface(name: str) -> None:
    assert (capture(name).host, capture(name).interface) == (name, "eth0")


@pytest.mark.parametrize("name", [*names.link_names(NAMES), *names.host_names(NAMES)])
def test_every_name_that_may_be_written_is_planned_with_its_bounds(name: str) -> None:
    made = capture(name)
    assert (made.name, made.snap_bytes, made.packets) == (name, planner.CAPTURED_BYTES, planner.CAPTURED_PACKETS)


def test_names_are_all_that_the_network_has() -> None:
    plan = planned(devices=DEVICES)
    assert sorted(names.link_names(NAMES)) == sorted(link.name for link in plan.links)
    assert sorted(names.host_names(NAMES)) == sorted(host.name for host in plan.hosts)


MESSAGES = """tcpdump: listening on eth0, link-type EN10MB (Ethernet), snapshot length 256 bytes
{captured} packet{s} captured
{passed} packets received by filter
0 packets dropped by kernel
"""


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_counts_are_tcpdumps(captured: int, passed: int) -> None:
    messages = MESSAGES.format(captured=captured, passed=passed, s="" if captured == 1 else "s")
    assert counts(messages) == (captured, passed)


@pytest.mark.parametrize("lines", range(3))
def test_a_tcpdump_that_died_counted_nothing(lines: int) -> None:
    said = MESSAGES.format(captured=1, passed=1, s="").splitlines(keepends=True)
    assert counts("".join(said[:lines])) is None


def pcap(stamps: list[tuple[int, int, int]], magic: int = 0xA1B23C4D) -> bytes:
    """Packets as (s, ns, captured bytes)."""
    packets = [struct.pack("=IIII", s, ns, size, size + 9) + bytes(size) for s, ns, size in stamps]
    return struct.pack("=IHHiIII", magic, 2, 4, 0, 0, 256, 1) + b"".join(packets)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 10**9 - 1), st.integers(0, 256)), min_size=1))
def test_the_last_stamp_is_the_last_packets(tmp_path: Path, stamps: list[tuple[int, int, int]]) -> None:
    (tmp_path / "x.pcap").write_bytes(pcap(stamps))
    assert last_stamp(tmp_path / "x.pcap") == stamps[-1][0] * 10**9 + stamps[-1][1]


@pytest.mark.parametrize(
    ("content", "reason"), [(pcap([]), "holds no packet"), (pcap([(1, 2, 3)], 0xA1B2C3D4), "has no ns stamps")]
)
def test_a_file_without_a_last_stamp_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.pcap").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        last_stamp(tmp_path / "x.pcap")


def finished(folder: Path, messages: str, stamps: list[tuple[int, int, int]]) -> Captures:
    """A capture of at most three packets that has ended."""
    for name in ("logs", "captures"):
        (folder / name).mkdir()
    (folder / "logs" / "capture.central.log").write_text(messages)
    (folder / "captures" / "central.pcap").write_bytes(pcap(stamps))
    return Captures([Capture("central", "central", "eth0", 256, 3)], folder)


def test_a_capture_that_lacks_packets_says_how_many(tmp_path: Path) -> None:
    (event,) = finished(tmp_path, MESSAGES.format(captured=1, passed=4, s=""), [(5, 0, 9)]).events(0)
    assert (event.capture, event.packets, event.dropped, event.cut_ns) == ("central", 1, 3, -1)


@pytest.mark.parametrize("second", [5, 4 * 10**9], ids=["before the run", "in it"])
def test_a_full_capture_says_when_it_was_full(tmp_path: Path, second: int) -> None:
    captures = finished(tmp_path, MESSAGES.format(captured=3, passed=9, s="s"), [(second, n, 9) for n in range(3)])
    (event,) = captures.events(0)
    assert (event.packets, event.dropped) == (3, 0)
    assert event.cut_ns == max(0, second * 10**9 + 2 - event.origin_ns)


def test_a_capture_that_died_says_nothing(tmp_path: Path) -> None:
    assert list(finished(tmp_path, "tcpdump: eth0: That device is not up\n", []).events(0)) == []


def test_a_tcpdump_that_cannot_listen_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    captures = Captures([Capture("central", "", "no-such-if", 256, 3)], tmp_path)
    services = captures.spawn()
    with pytest.raises(ProcessError, match="capture.central ended before it listened; see logs/capture.central.log"):
        captures.wait_until_listening(services)
    processes.finish(services, 5)


def test_no_captures_cost_nothing(tmp_path: Path) -> None:
    captures = Captures([], tmp_path)
    assert captures.spawn() == []
    captures.settle()
    assert list(captures.events(0)) == list(tmp_path.iterdir()) == []
