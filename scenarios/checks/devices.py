"""Devices, and the other traffic."""

from collections.abc import Iterator

from scenarios.checks.finding import Finding, unknown
from scenarios.device_classes import DEVICE_CLASSES
from scenarios.names import gnb_names, slice_names
from scenarios.quantity import show
from scenarios.schema import Scenario

# A device costs a guest about 1.5 MB (its namespace, queues and sockets): 2,000 fill the 3 GB that a guest has.
MOST_DEVICES = 2000


def problems(scenario: Scenario) -> Iterator[Finding]:
    yield from _devices(scenario)
    yield from _traffic(scenario)


def too_many(scenario: Scenario) -> Iterator[Finding]:
    total = sum(device.count or 1 for device in scenario.devices)
    if total > MOST_DEVICES:
        reason = "a device takes 1.5 MB, and a guest has 3 GB"
        yield ("devices",), f"{total} devices do not fit one machine ({reason}); use at most {MOST_DEVICES}"


def _devices(scenario: Scenario) -> Iterator[Finding]:
    gnbs, slices = gnb_names(scenario), slice_names(scenario)
    run = show(scenario.duration, "time")
    for d, device in enumerate(scenario.devices):
        if device.at not in gnbs:
            yield ("devices", d, "at"), unknown("gNB", device.at, gnbs)
        if device.device_class not in DEVICE_CLASSES:
            yield ("devices", d, "class"), unknown("device class", device.device_class, list(DEVICE_CLASSES))
        if device.slice not in slices:
            yield ("devices", d, "slice"), unknown("slice", device.slice, slices)
        for number, (time, gnb) in enumerate(device.route.items()):
            if gnb not in gnbs:
                yield ("devices", d, "route", number), unknown("gNB", gnb, gnbs)
            if not 0 < time < scenario.duration:
                what = f"{show(time, 'time')} is not within the run; write a time after 0 s and before {run}"
                yield ("devices", d, "route", number), what


def _traffic(scenario: Scenario) -> Iterator[Finding]:
    groups = {device.name: device.names for device in scenario.devices}
    single = [name for names in groups.values() for name in names]
    hosts = ["central"]
    hosts += [f"{region.name}-local" for region in scenario.network.regions]
    hosts += [f"{gnb}-edge" for gnb in gnb_names(scenario)]
    ends = [*hosts, *groups, *(name for name in single if name not in groups)]
    for t, traffic in enumerate(scenario.traffic):
        if traffic.source in groups and traffic.source not in single:
            one = groups[traffic.source][0]
            yield ("traffic", t, "from"), f'"{traffic.source}" is a group; write one of its devices, such as "{one}"'
        elif traffic.source not in (*single, *hosts):
            yield ("traffic", t, "from"), unknown("node", traffic.source, [*hosts, *single])
        if traffic.to not in ends:
            yield ("traffic", t, "to"), unknown("node or device group", traffic.to, ends)
        elif groups.get(traffic.to, [traffic.to]) == [traffic.source]:
            yield ("traffic", t, "to"), f'"{traffic.to}" would send to itself; name another node'
        if traffic.slice not in slice_names(scenario):
            yield ("traffic", t, "slice"), unknown("slice", traffic.slice, slice_names(scenario))
        if traffic.during.start >= scenario.duration:
            yield ("traffic", t, "during"), f"begins when the run of {show(scenario.duration, 'time')} has ended"
