"""Slices and profiles, and what is left of a link for each slice."""

from collections.abc import Iterator
from fractions import Fraction

from scenarios.checks.finding import Finding, unknown
from scenarios.names import directions, slice_names
from scenarios.profiles import offered
from scenarios.quantity import show
from scenarios.schema import Scenario

MOST_SLICES = 64  # queues from this number on are sessions'
LEAST_GUARANTEE = 8000  # bit/s of a slice on any link: a full packet in one and a half seconds


def problems(scenario: Scenario) -> Iterator[Finding]:
    yield from _slices(scenario)
    yield from _profiles(scenario)


def _slices(scenario: Scenario) -> Iterator[Finding]:
    names = [entry.name for entry in scenario.slices]
    for s, name in enumerate(names):
        if name in names[:s]:
            yield ("slices", s, "name"), f'the name "{name}" is already taken by another slice; choose another'
    if (count := len(slice_names(scenario))) > MOST_SLICES:
        yield ("slices",), f"with the default one these are {count} slices; a link has room for {MOST_SLICES}"
    offering: dict[str, str] = {}
    for s, entry in enumerate(scenario.slices):
        for profile in entry.profiles:
            if offering.setdefault(profile, entry.name) != entry.name:
                yield (
                    ("slices", s, "profiles"),
                    f'slice "{offering[profile]}" offers "{profile}" too; leave it to one of them',
                )
    guaranteed = sum(entry.guarantee or 0 for entry in scenario.slices)
    without = [name for name in slice_names(scenario) if name not in {e.name for e in scenario.slices if e.guarantee}]
    if guaranteed > 1:
        yield ("slices",), f"the guarantees add up to {show(guaranteed, 'share')}; they may add up to 100 %"
    elif without and guaranteed == 1:
        yield ("slices",), f'the guarantees leave nothing for slice "{without[0]}", which has none; leave it 1 %'
    else:
        name, share = least_share(scenario)
        rate = share * min(way.rate for way in directions(scenario))
        if rate < LEAST_GUARANTEE:
            least = show(LEAST_GUARANTEE, "rate")
            yield ("slices",), f'slice "{name}" has {show(rate, "rate")} on the slowest link; give it at least {least}'


def _profiles(scenario: Scenario) -> Iterator[Finding]:
    names = [profile.name for profile in scenario.profiles]
    for p, name in enumerate(names):
        if name in names[:p]:
            yield ("profiles", p, "name"), f'the name "{name}" is already taken by another profile; choose another'
    known = [profile.name for profile in offered(scenario.profiles)]
    for s, entry in enumerate(scenario.slices):
        for profile in entry.profiles:
            if profile not in known:
                yield ("slices", s, "profiles"), unknown("profile", profile, known)


def least_share(scenario: Scenario) -> tuple[str, Fraction]:
    """The slice that has the smallest share of every link, and that share."""
    shares = {entry.name: entry.guarantee for entry in scenario.slices if entry.guarantee}
    without = [name for name in slice_names(scenario) if name not in shares]
    shares |= {name: (1 - sum(shares.values())) / Fraction(len(without)) for name in without}
    return min(shares.items(), key=lambda item: item[1])
