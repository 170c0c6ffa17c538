"""The search for link rates, apart from any run."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ts22261 import TOLERANCE, Timing, find, search

RATES = st.floats(1e5, 1e11)


@given(needed=RATES, wrong=st.floats(0.3, 3.0))
def test_the_rate_is_enough_and_none_a_hundredth_less_is(needed: float, wrong: float) -> None:
    one = search(needed * wrong)
    trying, tries = next(one), 1
    with pytest.raises(StopIteration) as found:
        while True:
            trying, tries = one.send(trying >= needed), tries + 1
    assert needed <= found.value.value <= needed * (1 + TOLERANCE)
    assert tries <= 22


@given(needed=RATES)
def test_a_good_guess_takes_few_runs(needed: float) -> None:
    one, tries = search(needed), 1
    trying = next(one)
    with pytest.raises(StopIteration):
        while True:
            trying, tries = one.send(trying >= needed), tries + 1
    assert tries <= 6


@given(st.dictionaries(st.sampled_from("abcdef"), RATES, min_size=1))
def test_all_rows_are_searched_in_the_same_runs(needed: dict[str, float]) -> None:
    runs = []

    def play(rates: Mapping[str, float]) -> dict[str, Timing]:
        runs.append(dict(rates))
        return {name: Timing(0, int(1e12 * needed[name] / rate), 0) for name, rate in rates.items()}

    found = find({name: rate * 1.05 for name, rate in needed.items()}, dict.fromkeys(needed, 10**12), play)
    for name, (rate, timing) in found.items():
        assert needed[name] * (1 - 1e-9) <= rate <= needed[name] * (1 + TOLERANCE)
        assert timing.loaded <= 10**12
    assert len(runs) <= 8 and all(run.keys() == needed.keys() for run in runs)
