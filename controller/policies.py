"""Slicing policies: what rate a session gets. Pure: a policy sees a view and gives a decision."""

from typing import NamedTuple, Protocol


class View(NamedTuple):
    """What a policy knows about one request; rates in bit/s."""

    requested_bps: int
    guarantee_bps: int  # the slice's guarantee on the narrowest link of the path
    free_bps: int  # what of it no other session has, on the link where that is least


class SlicingPolicy(Protocol):
    def grant(self, view: View) -> int:
        """The rate that the session gets, bit/s; 0 refuses it."""


class BestEffort:
    """No sessions: downloads share the default slice with everything else."""

    def grant(self, view: View) -> int:
        return 0


class Static:
    """Every session may use the slice's whole guarantee, whoever else does."""

    def grant(self, view: View) -> int:
        return view.guarantee_bps


class Deadline:
    """The rate that meets the deadline, or what is left of the guarantee; admission control as in RFC 2212's guaranteed service."""

    def grant(self, view: View) -> int:
        return min(view.requested_bps, view.free_bps)


SLICING: dict[str, SlicingPolicy] = {"none": BestEffort(), "static": Static(), "deadline": Deadline()}
