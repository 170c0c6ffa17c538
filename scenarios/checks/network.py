"""The network: names, links, and what happens to them."""

from collections.abc import Iterator
from fractions import Fraction

from scenarios.checks.finding import Finding, unknown
from scenarios.checks.slices import LEAST_GUARANTEE, least_share
from scenarios.faults import Fault
from scenarios.links import TOWARDS, Dynamics, LinkSpec, problem
from scenarios.names import Place, described_links, link_names, switch_names, upper_switches, written_links
from scenarios.quantity import show
from scenarios.schema import Scenario
from scenarios.shaping import needs_wire, queue_problem, timeline, way_problem

RESERVED_NAMES = ("central", "nef", "core")
# Settings of a link that act on single packets
OF_PACKETS = ("loss", "bursts", "corrupt", "duplicate", "reorder", "queue", "aqm")


def problems(scenario: Scenario) -> Iterator[Finding]:
    for check in (_names, _cross_links, _links, _segments, _dynamics, _faults):
        yield from check(scenario)


def _names(scenario: Scenario) -> Iterator[Finding]:
    """Every node and group has a name of its own; so have those that are made for a region or a gNB."""
    taken = dict.fromkeys(RESERVED_NAMES, "the network itself")
    named: list[tuple[Place, str, list[str]]] = []
    for r, region in enumerate(scenario.network.regions):
        place: Place = ("network", "regions", r)
        named.append((place, f"region {region.name}", [region.name, f"{region.name}-local"]))
        for g, gnb in enumerate(region.gnbs):
            made = [gnb.name, f"{gnb.name}-cell", f"{gnb.name}-edge"]
            named.append(((*place, "gnbs", g), f"gNB {gnb.name}", made))
    for d, device in enumerate(scenario.devices):
        named.append((("devices", d), f"device {device.name}", [device.name, *device.names]))
    for place, owner, names in named:
        if twice := next((name for name in names if name in taken), None):
            yield (*place, "name"), f'the name "{twice}" is already taken by {taken[twice]}; choose another'
        taken = dict.fromkeys(names, owner) | taken


def _cross_links(scenario: Scenario) -> Iterator[Finding]:
    """A link of the user's own is between two switches, and has a name of its own."""
    switches, links = upper_switches(scenario), link_names(scenario)
    taken = links[: len(links) - len(scenario.network.links)]
    for number, link in enumerate(scenario.network.links):
        place: Place = ("network", "links", number)
        for key, switch in (("from", link.first), ("to", link.second)):
            if switch not in switches:
                yield (*place, key), unknown("switch", switch, switches)
        if link.first == link.second:
            yield (*place, "to"), f'"{link.second}" would be linked to itself; name another switch'
        elif link.name in taken:
            yield place, f'the name "{link.name}" is already taken by another link; write a "name"'
        taken.append(link.name)


def _segments(scenario: Scenario) -> Iterator[Finding]:
    """Many segments that travel as one packet are also lost as one."""
    if scenario.network.segments == "exact":
        return
    for place, link in written_links(scenario):
        ways = [link.towards(way) for way in TOWARDS]
        for setting in OF_PACKETS:
            if any(getattr(way, setting) for way in ways):
                yield (*place, setting), 'would act on 64 kB at once; leave it out, or write "segments: exact"'


def _links(scenario: Scenario) -> Iterator[Finding]:
    for place, spec in written_links(scenario):
        ways = [spec.towards(way) for way in TOWARDS]
        wired = any(map(needs_wire, ways))
        if wired and (wrong := next(filter(None, map(queue_problem, ways)), "")):
            yield (*place, "queue"), wrong
        elif wrong := next(filter(None, (way_problem(way, wired=wired) for way in ways)), ""):
            yield place, wrong


def _dynamics(scenario: Scenario) -> Iterator[Finding]:
    links = described_links(scenario) | {
        f"{name}-link": device.link for device in scenario.devices for name in device.names if device.link is not None
    }
    share = least_share(scenario)[1]
    for d, change in enumerate(scenario.dynamics):
        place: Place = ("dynamics", d)
        if change.link not in links:
            yield (*place, "link"), unknown("link", change.link, list(links))
        elif change.window.start >= scenario.duration:
            yield place, f"begins when the run of {show(scenario.duration, 'time')} has ended"
        elif any(_overlap(change, other) for other in scenario.dynamics[:d]):
            yield (
                place,
                f"another change of {change.link} gives the same value at that time; let one end before the other",
            )
        else:
            yield from _course(scenario, place, change, links[change.link], share)


def _course(scenario: Scenario, place: Place, change: Dynamics, spec: LinkSpec, share: Fraction) -> Iterator[Finding]:
    """What is wrong with a link when a change has its way."""
    for way in TOWARDS if change.towards is None else (change.towards,):
        same = [d for d in scenario.dynamics if d.link == change.link and d.towards in (None, way)]
        states = timeline(same, spec.towards(way), scenario.duration)
        if wrong := queue_problem(spec.towards(way)):
            yield place, wrong
            return
        if wrong := next(filter(None, (problem(state) or way_problem(state, wired=True) for _, state in states)), ""):
            yield place, wrong
            return
        slowest = min((state.rate for _, state in states), default=spec.rate)
        if slowest * share < LEAST_GUARANTEE:
            rate, least = show(slowest, "rate"), show(LEAST_GUARANTEE, "rate")
            yield (
                place,
                f"a slice has {show(slowest * share, 'rate')} when the link has {rate}; leave it at least {least}",
            )
            return


def _overlap(one: Dynamics, other: Dynamics) -> bool:
    def values(change: Dynamics) -> set[str]:
        return {*change.values, *(("rate",) if change.trace else ())}

    same = one.link == other.link and values(one) & values(other)
    if not same or None not in (one.towards, other.towards) and one.towards != other.towards:
        return False
    (a, b), (c, d) = ((w.start, w.end) for w in (one.window, other.window))
    return (d is None or a < d) and (b is None or c < b)


def _faults(scenario: Scenario) -> Iterator[Finding]:
    known = {"link": link_names(scenario), "switch": switch_names(scenario), "controller": ["controller"]}
    for f, fault in enumerate(scenario.faults):
        place: Place = ("faults", f)
        run = show(scenario.duration, "time")
        if fault.name not in known[fault.kind]:
            yield (*place, fault.kind), unknown(fault.kind, fault.name, known[fault.kind])
        elif fault.at >= scenario.duration:
            yield (*place, "at"), f"begins when the run of {run} has ended"
        elif fault.end is not None and fault.end >= scenario.duration:
            yield (*place, "for"), f"ends when the run of {run} has ended; leave it out, and it lasts to the end"
        elif any(_meet(fault, other) for other in scenario.faults[:f]):
            yield place, f"{fault.name} is down already at that time; let one fault end before the other"


def _meet(one: Fault, other: Fault) -> bool:
    same = (one.kind, one.name) == (other.kind, other.name)
    return same and (other.end is None or one.at <= other.end) and (one.end is None or other.at <= one.end)
