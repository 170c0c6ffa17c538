"""Policies, those that ship and the user's own."""

from collections.abc import Iterator, Sequence

from scenarios import own_policies
from scenarios.checks.finding import Finding, unknown
from scenarios.checks.models import Models
from scenarios.schema import Scenario

POLICIES = {
    "slicing": ("none", "static", "deadline", "fair", "joint"),
    "caching": ("lru", "lfu", "popularity", "pinned"),
    "prefetch": ("none", "situations"),
}
COMPRESSION = ("full", "device", "adaptive", "file")
FIXED = "fixed:"  # and a variant's name: a compression policy too


def problems(scenario: Scenario, models: Models | None) -> Iterator[Finding]:
    """`models` are the published ones; None: not known."""
    yield from _policies(scenario)
    yield from _compression(scenario, models)


def _policies(scenario: Scenario) -> Iterator[Finding]:
    for kind, known in POLICIES.items():
        name = getattr(scenario.policies, kind)
        if name not in known:
            yield from (
                _own_policy(scenario, kind, known)
                if kind in own_policies.METHODS
                else [(("policies", kind), unknown(f"{kind} policy", name, known))]
            )


def _own_policy(scenario: Scenario, kind: str, known: Sequence[str]) -> Iterator[Finding]:
    """Whether a policy that does not ship can be made."""
    name = getattr(scenario.policies, kind)
    if ":" not in name and name not in (installed := own_policies.named(kind)):
        yield ("policies", kind), unknown(f"{kind} policy", name, [*known, *installed, "module:Class"])
        return
    try:
        own_policies.make(kind, name, scenario.policies.folder)
    except own_policies.NoPolicy as error:
        yield ("policies", kind), f'"{name}": {error}'


def _compression(scenario: Scenario, models: Models | None) -> Iterator[Finding]:
    """Whether the one variant that is to be sent is there, of every model that a device can need."""
    name = scenario.policies.compression
    if name in COMPRESSION:
        return
    variant = name.removeprefix(FIXED)
    if variant == name:
        yield from _own_policy(scenario, "compression", [*COMPRESSION, f"{FIXED}VARIANT"])
        return
    applications = {device.application for device in scenario.devices}
    for model in dict.fromkeys(situation.model for situation in scenario.situations):
        if models and model in models and model.partition("@")[0] in applications and variant not in models[model]:
            yield ("policies", "compression"), unknown(f"variant of {model}", variant, sorted(models[model]))
