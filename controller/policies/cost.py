"""What a decision would take on a real controller. Computing is free under the virtual clock, so the time is charged.

The model: so much for a decision, for each download in it, and for each part (a slice's share of one direction of a link) that
these cross. Each policy class has its figures as `cost`; `python -m benchmarks.joint` measures them.
"""

from typing import NamedTuple

from controller.policies.view import SlicingPolicy, View


class Cost(NamedTuple):
    """Linear in what a decision is about."""

    decision_ns: int
    download_ns: int
    part_ns: int


OWN = Cost(decision_ns=6_000, download_ns=13_000, part_ns=1_000)  # a policy that does not say: that of `fair`


def decision_ns(policy: SlicingPolicy, view: View) -> int:
    """The time to charge for one decision."""
    cost: Cost = getattr(policy, "cost", OWN)
    flows = (*view.waiting, *view.running)
    parts = {(direction, flow.request.slice) for flow in flows for direction in (*flow.path, *flow.back)}
    return cost.decision_ns + cost.download_ns * len(flows) + cost.part_ns * len(parts)
