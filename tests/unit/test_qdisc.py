"""Settings as the kernel takes them: what is encoded is decoded alike, and nothing is left out."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from linux import qdisc

CHANCE = st.integers(0, qdisc.CERTAIN)
NETEMS = st.builds(
    qdisc.Netem,
    delay_ns=st.integers(0, 10**12),
    jitter_ns=st.integers(0, 2**31 - 1),
    rate=st.integers(1, 2**40),
    limit=st.integers(1, 2**32 - 1),
    loss=CHANCE,
    bursts=st.none() | st.builds(qdisc.Gemodel, CHANCE, CHANCE, CHANCE, CHANCE),
    corrupt=CHANCE,
    duplicate=CHANCE,
    reorder=CHANCE,
    seed=st.none() | st.integers(0, 2**64 - 1),
)
QDISCS = st.one_of(
    NETEMS,
    st.builds(qdisc.Htb, st.integers(0, 0xFFFF)),
    st.builds(qdisc.Bfifo, st.integers(0, 2**32 - 1)),
    st.builds(qdisc.FqCodel, st.integers(1, 2**32 - 1), st.booleans()),
)


@given(QDISCS)
def test_a_setting_is_decoded_as_it_was_encoded(setting: qdisc.Qdisc) -> None:
    assert qdisc.decode(setting.kind, setting.encode()) == setting


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.integers(0, 2**31), st.integers(1, 2**31), st.integers(0, 7))
def test_a_class_is_decoded_as_it_was_encoded(rate: int, ceiling: int, burst: int, quantum: int, priority: int) -> None:
    """The kernel keeps bursts in ticks of 64 ns."""
    made = qdisc.HtbClass(rate, ceiling, burst // qdisc.TICK_NS * qdisc.TICK_NS, quantum, priority)
    assert qdisc.HtbClass.decode(made.encode()) == made


@given(NETEMS, NETEMS)
def test_different_settings_are_shown_differently(one: qdisc.Netem, other: qdisc.Netem) -> None:
    shown = [qdisc.described(setting) for setting in (one, other)]
    assert (shown[0] == shown[1]) == (_shown_part(one) == _shown_part(other))


def _shown_part(setting: qdisc.Netem) -> qdisc.Netem:
    """No seed and a seed of 0 look alike; a run always has one."""
    return replace(setting, seed=setting.seed or None)


def test_a_kind_that_no_link_uses_is_not_understood() -> None:
    assert qdisc.decode("pfifo_fast", b"") is None
