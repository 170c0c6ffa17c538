"""The event loop with exact timers: never early, never deaf, nothing left behind."""

import asyncio
import contextlib
import os
import random
import selectors
import socket
import time

import pytest

from edge_nodes import clock

MS = 1_000_000
LATE_NS = 2_000 * MS  # a busy machine may be this late


@pytest.mark.parametrize("wait_ns", [1, 999, 100_000, 999_999, 1_000_001, 20_500_001])
async def test_it_wakes_neither_early_nor_never(wait_ns: int) -> None:
    due = time.monotonic_ns() + wait_ns
    await clock.sleep_until(due)
    assert due <= time.monotonic_ns() < due + LATE_NS


async def test_short_waits_are_not_rounded_up_to_a_millisecond() -> None:
    async def elapsed() -> int:
        began = time.monotonic_ns()
        await clock.sleep_ns(100_000)
        return time.monotonic_ns() - began

    waits = [await elapsed() for _ in range(50)]
    assert 100_000 <= min(waits) < MS


async def test_a_time_that_is_past_does_not_wait() -> None:
    await asyncio.wait_for(clock.sleep_until(time.monotonic_ns() - 1), 1)
    await asyncio.wait_for(clock.sleep_until(0), 1)
    await asyncio.wait_for(clock.sleep_ns(0), 1)


async def test_a_sleep_lasts_as_long_as_was_asked_to_the_ns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def note(ns: int) -> None:
        asked.append(ns)

    monkeypatch.setattr(clock, "sleep_until", note)
    times = [10**9 + 1, 77_123_456_789, 123_456_789_123_457]
    for now in times:
        with monkeypatch.context() as frozen:
            frozen.setattr(time, "monotonic_ns", lambda now=now: now)
            await clock.sleep_ns(5)
    assert asked == [now + 5 for now in times]


async def test_many_timers_wake_in_their_order() -> None:
    start = time.monotonic_ns()
    due = [start + random.Random(7).randrange(30 * MS) for _ in range(500)]
    woken = []

    async def wait(at: int) -> None:
        await clock.sleep_until(at)
        assert time.monotonic_ns() >= at
        woken.append(at)

    await asyncio.gather(*map(wait, due))
    assert woken == sorted(due)


async def test_data_that_arrives_during_a_wait_is_read_at_once_and_the_wait_goes_on() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    with near, far:
        due = time.monotonic_ns() + 300 * MS
        sleeper = asyncio.create_task(clock.sleep_until(due))
        for number in range(100):
            far.send(bytes([number]))
            assert await loop.sock_recv(near, 10) == bytes([number])
        assert not sleeper.done() or time.monotonic_ns() >= due
        await sleeper
        assert time.monotonic_ns() >= due


async def test_a_timer_that_is_due_does_not_hide_data_and_data_does_not_hide_a_timer() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        due = time.monotonic_ns() + MS
        both = asyncio.gather(clock.sleep_until(due), asyncio.get_running_loop().sock_recv(near, 10))
        await asyncio.sleep(0)
        far.send(b"x")
        while time.monotonic_ns() < due:
            pass  # now both are ready before the loop looks
        assert (await both)[1] == b"x"


def test_the_selector_gives_what_is_ready_also_when_its_own_timer_is() -> None:
    near, far = socket.socketpair()
    with near, far, contextlib.closing(clock.ExactSelector()) as selector:
        key = selector.register(near, selectors.EVENT_READ)
        assert selector.select(1e-9) == []
        far.send(b"x")
        for timeout in (1e-9, 0, None, -1, 3600):
            assert selector.select(timeout) == [(key, selectors.EVENT_READ)]
        near.recv(1)
        assert selector.select(1e-6) == selector.select(0) == []


async def test_a_wait_without_timers_is_ended_by_another_thread() -> None:
    loop = asyncio.get_running_loop()
    told = loop.create_future()
    await asyncio.gather(told, asyncio.to_thread(loop.call_soon_threadsafe, told.set_result, None))


async def test_a_cancelled_sleep_ends_and_leaves_the_others_alone() -> None:
    due = time.monotonic_ns() + 20 * MS
    long, short = asyncio.create_task(clock.sleep_ns(3_600_000 * MS)), asyncio.create_task(clock.sleep_until(due))
    await asyncio.sleep(0)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    await short
    assert time.monotonic_ns() >= due


async def test_a_nearer_timer_is_not_kept_waiting_by_one_that_was_set_before() -> None:
    far = asyncio.create_task(clock.sleep_ns(3_600_000 * MS))
    await clock.sleep_ns(MS)
    await asyncio.wait_for(clock.sleep_ns(MS), LATE_NS / 1e9)
    far.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await far


def test_a_closed_loop_leaves_no_descriptor_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    loop = clock.event_loop()
    loop.run_until_complete(clock.sleep_ns(1))
    loop.close()
    assert set(os.listdir("/proc/self/fd")) <= before
