"""What a decision would take on a real controller. Computing is free under the virtual clock, so the time is charged.

The model: so much for a decision, for each download that waits and each that runs, and for each part (a slice's share of one
direction of a link) that these cross. Each policy class has its figures as `cost`; `python -m benchmarks.joint` measures them.
"""

from typing import NamedTuple

from controller.policies.view import SlicingPolicy, View


class Cost(NamedTuple):
    """Linear in what a decision is about."""

    decision_ns: int
    download_ns: int  # that waits
    part_ns: int
    running_ns: int | None = None  # a download that runs, where that is not as dear as one that waits


OWN = Cost(decision_ns=6_000, download_ns=13_000, part_ns=1_000)  # a policy that does not say: that of `fair`


def decision_ns(policy: SlicingPolicy, view: View) -> int:
    """The time to charge for one decision."""
    cost: Cost = getattr(policy, "cost", OWN)
    running_ns = cost.download_ns if cost.running_ns is None else cost.running_ns
    charged = cost.decision_ns + cost.download_ns * len(view.waiting) + running_ns * len(view.running)
    if cost.part_ns:
        flows = (*view.waiting, *view.running)
        parts = {(direction, flow.request.slice) for flow in flows for direction in (*flow.path, *flow.back)}
        charged += cost.part_ns * len(parts)
    return charged
