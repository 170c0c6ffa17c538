"""Slicing policies: never more than there is, never less than they promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.policies import SLICING, BestEffort, Deadline, Static, View

RATES = st.integers(0, 10**12)
VIEWS = st.builds(
    lambda requested, guarantee, share: View(requested, guarantee, min(share, guarantee)), RATES, RATES, RATES
)


@given(VIEWS)
def test_deadline_grants_what_was_asked_or_what_is_free(view: View) -> None:
    granted = Deadline().grant(view)
    assert granted == (view.requested_bps if view.free_bps >= view.requested_bps else view.free_bps)


@given(VIEWS)
def test_static_grants_the_whole_guarantee_whoever_else_has_it(view: View) -> None:
    assert Static().grant(view) == Static().grant(view._replace(free_bps=0)) == view.guarantee_bps


@given(VIEWS)
def test_best_effort_refuses_everything(view: View) -> None:
    assert BestEffort().grant(view) == 0


@pytest.mark.parametrize("name", SLICING)
@given(view=VIEWS)
def test_no_policy_grants_more_than_the_guarantee(name: str, view: View) -> None:
    assert 0 <= SLICING[name].grant(view) <= view.guarantee_bps
