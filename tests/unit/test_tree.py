"""The messages that make a port's tree: every class has its parent before it, and handles never meet."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from linux import tree
from linux.netlink import Message
from scenarios.plan import Buffer, End, Queue, Shape

RATE = 1_000_000_000
SHARES = st.lists(st.integers(1, 10), min_size=1, max_size=64)
SESSIONS = st.sets(st.integers(tree.FIRST_SESSION, tree.LAST_SESSION), min_size=1, max_size=20)


def port(shares: list[int], *, wired: bool) -> End:
    rates = [RATE * share // sum(shares) // 8 * 8 for share in shares]
    queues = [Queue(number=n, slice=f"s{n}", rate_bps=r, ceiling_bps=RATE, priority=n % 8) for n, r in enumerate(rates)]
    shape = Shape(
        rate_bps=RATE, delay_ns=0, jitter_ns=0, distribution="", loss=0, bursts=None, corrupt=0, duplicate=0, reorder=0,
        limit=100, queue=Buffer(discipline="fifo", bytes=10_000, ecn=False) if wired else None, burst_ns=1_024,
    )  # fmt: skip
    return End(node="s", interface="s-eth1", port=1, shape=shape, queues=queues, seed=1, wire="w1a" if wired else "")


def placed(message: Message) -> tuple[int, int]:
    """A class's or qdisc's handle and parent."""
    _, handle, parent, _ = struct.unpack_from("=iIII", message.body, 4)
    return handle, parent


@given(SHARES, SESSIONS, st.booleans())
def test_parents_come_first_and_no_two_parts_have_one_handle(shares: list[int], queues: set[int], wired: bool) -> None:
    end = port(shares, wired=wired)
    messages = tree.sending(end, 7)
    for q in queues:
        messages += tree.session_class(end, 7, q % len(shares), q, 8_000)
    made = {0xFFFFFFFF}
    for message in messages:
        handle, parent = placed(message)
        assert parent in made
        assert handle not in made
        made.add(handle)


@given(st.integers(8_000, RATE), st.integers(0, 2 * RATE))
def test_a_default_class_keeps_what_is_left_and_never_nothing(guarantee: int, taken: int) -> None:
    kept = tree.left(guarantee, taken)
    assert kept >= tree.LEAST_BPS
    assert kept + taken == guarantee or kept == tree.LEAST_BPS


@given(SHARES, SESSIONS)
def test_a_change_touches_no_session(shares: list[int], queues: set[int]) -> None:
    end = port(shares, wired=True)
    beside = {q: tree.Session(q % len(shares), 8_000, RATE, 0, 0, 0) for q in queues}
    touched = {placed(message)[0] for message in tree.sending(end, 7, change=True, beside=beside)}
    assert touched.isdisjoint(placed(message)[0] for q in queues for message in tree.without_session(end, 7, q))
