"""Caching policies: never over the bound, and what goes is what the policy says."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_nodes.tiers.caching import CACHING, Lfu, Lru, Pinned, Policy, Popularity

NAMES = st.sampled_from("abcdefgh")
# Object "a" has 1 byte, "b" 2, …; the models share some of them
SIZES = {name: number for number, name in enumerate("abcdefgh", 1)}
MODELS = {"one": ["a", "b", "c"], "two": ["c", "d"], "three": ["c", "e", "f", "g"]}


class Shadow:
    """A cache as a store has it: what is asked for is admitted unless it is there."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.held = policy, set[str]()
        policy.models(MODELS)

    def ask(self, name: str) -> list[str] | None:
        """What was evicted; None where the object stayed out."""
        self.policy.asked(name, SIZES[name])
        if name in self.held:
            return []
        evicted = self.policy.admit(name, SIZES[name])
        if evicted is not None:
            assert set(evicted) <= self.held
            self.held = self.held - set(evicted) | {name}
        return evicted

    @property
    def used(self) -> int:
        return sum(SIZES[name] for name in self.held)


@pytest.mark.parametrize("name", CACHING)
@given(capacity=st.integers(0, 40), asks=st.lists(NAMES, max_size=60), data=st.data())
def test_never_more_than_the_bound_and_nothing_goes_without_need(
    name: str, capacity: int, asks: list[str], data: st.DataObject
) -> None:
    cache = Shadow(CACHING[name](capacity))
    for asked in asks:
        if cache.held and data.draw(st.integers(0, 9)) == 0:  # a block that the disk has spoilt
            spoilt = data.draw(st.sampled_from(sorted(cache.held)))
            cache.policy.remove(spoilt)
            cache.held.remove(spoilt)
        before = set(cache.held)
        evicted = cache.ask(asked)
        assert cache.used <= capacity
        if evicted:
            free = capacity - sum(SIZES[held] for held in before)
            without_the_last = sum(SIZES[old] for old in evicted[:-1])
            assert free + without_the_last < SIZES[asked]
        if evicted is None:
            assert cache.held == before


@given(st.integers(8, 40), st.lists(NAMES, max_size=60))
def test_lru_keeps_what_was_asked_for_last(capacity: int, asks: list[str]) -> None:
    cache = Shadow(Lru(capacity))
    for asked in asks:
        evicted = cache.ask(asked)
        assert asked in cache.held
        assert evicted is not None and asked not in evicted
    recent = list(dict.fromkeys(reversed(asks)))
    room = capacity
    for name in recent:  # as many of the last ones as fit one after the other are there
        if (room := room - SIZES[name]) < 0:
            break
        assert name in cache.held


@given(st.integers(8, 40), st.lists(NAMES, max_size=60))
def test_lfu_never_gives_up_the_more_wanted_for_the_less_wanted(capacity: int, asks: list[str]) -> None:
    cache, counts = Shadow(Lfu(capacity)), Counter[str]()
    for asked in asks:
        counts[asked] += 1
        for old in cache.ask(asked) or ():
            assert counts[old] <= counts[asked]


def test_popularity_keeps_what_models_share_and_what_is_small_for_its_popularity() -> None:
    cache = Shadow(Popularity(11))
    for name in "cdef":  # 3 + 4 bytes of the model two, whose "c" all models use, then parts of three
        cache.ask(name)
    assert "c" in cache.held
    for name in "cd" * 3 + "g":  # two becomes popular; "g" is not worth its 7 bytes
        cache.ask(name)
    assert cache.held == {"c", "d"}


@given(st.integers(1, 40), st.lists(NAMES, min_size=1, max_size=60))
def test_popularity_is_the_sum_over_the_models_that_use_it_per_byte(capacity: int, asks: list[str]) -> None:
    policy = Popularity(capacity)
    policy.models(MODELS)
    requests = Counter[str]()
    for name in asks:
        policy.asked(name, SIZES[name])
        users = [model for model, objects in MODELS.items() if name in objects]
        for model in users:
            requests[model] += 1 / len(users) / len(MODELS[model])  # type: ignore[assignment]
    for name in set(asks):
        expected = sum(requests[model] for model, objects in MODELS.items() if name in objects) / SIZES[name]
        assert policy.worth(name, SIZES[name])[0] == pytest.approx(expected)


@given(st.integers(0, 40), st.lists(NAMES, max_size=60))
def test_pinned_lets_nothing_go(capacity: int, asks: list[str]) -> None:
    cache = Shadow(Pinned(capacity))
    for asked in asks:
        before = set(cache.held)
        assert not cache.ask(asked)
        assert before <= cache.held
