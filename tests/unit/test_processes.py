"""The processes of a run: ready, started, ended; one that dies is noticed and one that hangs is killed."""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from insitu import processes
from insitu.processes import Channel, ProcessError, Service

LIMIT_S = 20.0  # in which a process ends that ends by itself
Spawn = Callable[[str, Callable[[Channel], None]], Service]


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    """Starts processes; what a test leaves behind is killed."""
    started: list[Service] = []

    def start(name: str, body: Callable[[Channel], None]) -> Service:
        def uncaptured(channel: Channel) -> None:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # pytest has put its own in their place
            body(channel)

        started.append(processes.spawn(name, uncaptured, tmp_path / f"{name}.log"))
        return started[-1]

    yield start
    for service in started:
        try:
            os.kill(service.pid, signal.SIGKILL)
            os.waitpid(service.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it has ended and was waited for


def until_started(channel: Channel) -> None:
    channel.ready()
    channel.wait_for_start()


def hang(channel: Channel) -> None:
    """Does not end when it is asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel.ready()
    time.sleep(3600)


def die(_: Channel) -> None:
    raise LookupError("the cat ate it")


def test_processes_get_the_start_when_all_are_ready(spawn: Spawn, tmp_path: Path) -> None:
    origin = 12_345_678_901_234_567

    def note(channel: Channel) -> None:
        channel.ready()
        print(channel.wait_for_start())

    services = [spawn(name, note) for name in ("a", "b")]
    processes.wait_until_ready(services)
    processes.start(services, origin)
    assert processes.finish(services, LIMIT_S) == {"a": 0, "b": 0}
    assert [(tmp_path / f"{name}.log").read_text() for name in ("a", "b")] == [f"{origin}\n"] * 2


def test_a_process_waits_for_the_start(spawn: Spawn) -> None:
    service = spawn("a", until_started)
    processes.wait_until_ready([service])
    assert processes.ended([service]) == {}
    processes.start([service], 0)
    assert processes.finish([service], LIMIT_S) == {"a": 0}


def test_a_process_that_raises_has_status_1_and_its_log_says_why(spawn: Spawn, tmp_path: Path) -> None:
    service = spawn("a", die)
    assert processes.finish([service], LIMIT_S) == {"a": 1}
    assert (tmp_path / "a.log").read_text().endswith("LookupError: the cat ate it\n")


@pytest.mark.parametrize("status", [3, "a message"])
def test_a_process_that_exits_by_itself_has_died_too(spawn: Spawn, status: object) -> None:
    def leave(_: Channel) -> None:
        raise SystemExit(status)

    assert processes.finish([spawn("a", leave)], LIMIT_S) == {"a": 1}


def test_one_that_dies_before_it_is_ready_is_named(spawn: Spawn) -> None:
    services = [spawn("well", until_started), spawn("ill", die)]
    with pytest.raises(ProcessError, match="^ill died before it was ready"):
        processes.wait_until_ready(services)


def test_those_that_are_not_ready_in_time_are_named(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    services = [spawn(name, lambda _: time.sleep(3600)) for name in ("slow", "slower")]
    monkeypatch.setattr(processes, "READY_LIMIT_S", 0.05)
    with pytest.raises(ProcessError, match="^slow, slower: not ready within"):
        processes.wait_until_ready(services)


def test_nobody_is_waited_for_if_there_is_nobody() -> None:
    processes.wait_until_ready([])
    processes.start([], 0)
    assert processes.finish([], 0) == processes.ended([]) == {}


def test_a_service_without_a_start_is_not_told(spawn: Spawn) -> None:
    service = spawn("a", until_started)
    processes.wait_until_ready([service])
    processes.start([service._replace(start_fd=None)], 0)
    assert processes.ended([service]) == {}


def test_a_process_that_is_told_to_end_ends(spawn: Spawn) -> None:
    def serve(channel: Channel) -> None:
        def leave(*_: object) -> None:
            os._exit(0)

        signal.signal(signal.SIGTERM, leave)
        channel.ready()
        time.sleep(3600)

    services = [spawn("willing", serve), spawn("default", until_started)]
    processes.wait_until_ready(services)
    assert processes.stop(services, LIMIT_S) == {"willing": 0, "default": -signal.SIGTERM}


def test_one_that_does_not_end_is_killed_after_the_limit_and_the_others_are_not(spawn: Spawn) -> None:
    services = [spawn("stubborn", hang), spawn("well", until_started)]
    processes.wait_until_ready(services)
    processes.start(services[1:], 0)
    assert processes.finish(services[1:], LIMIT_S) == {"well": 0}
    assert processes.stop(services[:1], 0.2) == {"stubborn": -signal.SIGKILL}


def test_the_dead_are_reported_once(spawn: Spawn) -> None:
    service, other = spawn("a", die), spawn("b", until_started)
    os.waitid(os.P_PID, service.pid, os.WEXITED | os.WNOWAIT)
    assert processes.ended([service, other]) == {"a": 1}
    assert processes.ended([other]) == {}


def test_one_that_has_ended_can_still_be_stopped(spawn: Spawn) -> None:
    service = spawn("a", die)
    os.waitid(os.P_PID, service.pid, os.WEXITED | os.WNOWAIT)
    assert processes.stop([service], LIMIT_S) == {"a": 1}


def test_a_process_dies_when_the_one_that_should_start_it_is_gone(spawn: Spawn) -> None:
    service = spawn("a", until_started)
    processes.wait_until_ready([service])
    assert service.start_fd is not None
    os.close(service.start_fd)
    assert processes.finish([service], LIMIT_S) == {"a": 1}


def test_a_process_may_open_as_many_files_as_the_system_lets_it(spawn: Spawn, tmp_path: Path) -> None:
    """A thousand devices are one process; this process's own soft limit stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = tmp_path / "told"

    def tell(channel: Channel) -> None:
        told.write_text(str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))

    assert processes.finish([spawn("many", tell)], LIMIT_S) == {"many": 0}
    assert told.read_text() == str(hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
