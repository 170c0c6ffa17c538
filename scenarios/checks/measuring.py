"""What is to be captured and what is expected."""

from collections.abc import Iterator

from scenarios.checks.finding import Finding, unknown
from scenarios.figures import figures
from scenarios.names import Place, described_links, host_names, link_names, slice_names, upper_switches
from scenarios.schema import Scenario

MOST_CAPTURES = 32  # each has a buffer of 8 MB


def problems(scenario: Scenario) -> Iterator[Finding]:
    yield from _captures(scenario)
    yield from _expectations(scenario)


def _captures(scenario: Scenario) -> Iterator[Finding]:
    links, hosts = link_names(scenario), host_names(scenario)
    switches = upper_switches(scenario)
    groups = {device.name: device.names[0] for device in scenario.devices if device.count is not None}
    if len(scenario.capture) > MOST_CAPTURES:
        yield ("capture",), f"{len(scenario.capture)} captures do not fit one machine; name at most {MOST_CAPTURES}"
    for c, name in enumerate(scenario.capture):
        place: Place = ("capture", c)
        if name in scenario.capture[:c]:
            yield place, f'"{name}" is captured already; name it once'
        elif name in links and name in hosts:
            yield place, f'"{name}" is a link and a device; give the device another name'
        elif name in (*links, *hosts):
            continue
        elif name in switches:
            yield (
                place,
                f'"{name}" is a switch; name one of its links, such as "{"central" if name == "core" else name}-link"',
            )
        elif name in groups:
            yield place, f'"{name}" is a group; write one of its devices, such as "{groups[name]}"'
        else:
            yield place, unknown("link or node", name, [*links, *hosts])


def _expectations(scenario: Scenario) -> Iterator[Finding]:
    known = figures(slice_names(scenario), ["nef-link", *described_links(scenario)])
    for e, expectation in enumerate(scenario.expect):
        for figure in expectation.figures:
            if figure.name not in known:
                yield ("expect", e), unknown("figure", figure.name, known)
