"""Slicing policies by name. Pure: a policy sees a view and gives a decision."""

from importlib import import_module
from pathlib import Path
from typing import cast

from controller.policies.view import SlicingPolicy
from scenarios import own_policies

_BUILT_IN = {
    "none": "controller.policies.admission:BestEffort",
    "static": "controller.policies.admission:Static",
    "deadline": "controller.policies.admission:Deadline",
    "fair": "controller.policies.admission:Fair",
    "joint": "controller.policies.joint:Joint",  # which imports scipy, half a second that the others need not pay
}


def slicing(name: str, folder: Path | None = None) -> SlicingPolicy:
    """The policy of a name: a built-in, an entry point of `insitu.slicing`, or `module:Class`, the module being in `folder` or
    installed. Raises own_policies.NoPolicy."""
    if name in _BUILT_IN:
        module, _, made = _BUILT_IN[name].partition(":")
        return cast(SlicingPolicy, getattr(import_module(module), made)())
    return cast(SlicingPolicy, own_policies.make("slicing", name, folder))
