"""Which model fits a device where and when. Pure."""

from collections.abc import Sequence

from scenarios import plan as p
from scenarios.schema import Device, Scenario, Situation


def matching(situations: Sequence[Situation], application: str, gnb: str, time: int) -> Situation | None:
    """The first situation of an application that holds at a gNB at a time (ns)."""
    return next(
        (
            s
            for s in situations
            if s.model.partition("@")[0] == application
            and s.location in (None, gnb)
            and s.time.start <= time
            and (s.time.end is None or time < s.time.end)
        ),
        None,
    )


def needs(scenario: Scenario, spec: Device, gnbs: dict[int, str]) -> list[p.Need]:
    """Which model fits from when on: it can change when the device moves and when a situation begins or ends.

    A payload is asked for when a situation begins that names it.
    """
    times = set(gnbs) | {t for s in scenario.situations for t in (s.time.start, s.time.end) if t is not None}
    found: list[p.Need] = []
    before: Situation | None = None
    for time in sorted(t for t in times if t < scenario.duration):
        gnb = gnbs[max(t for t in gnbs if t <= time)]
        situation = matching(scenario.situations, spec.application, gnb, time)
        assert situation or spec.application in scenario.payloads, "checked when the scenario was read"
        begins = situation is not before if spec.application in scenario.payloads else not found
        if situation and (begins or found[-1].model != situation.model):
            found.append(p.Need(time_ns=time, model=situation.model))
        before = situation
    return found


def first_gap(scenario: Scenario, device: Device) -> tuple[int, str] | None:
    """When and where a device is first without a situation: that can be when it moves, or when one begins or ends."""
    gnbs = {0: device.at, **device.route}
    bounds = {time for s in scenario.situations for time in (s.time.start, s.time.end) if time is not None}
    for time in sorted(time for time in bounds | set(gnbs) if time < scenario.duration):
        gnb = gnbs[max(t for t in gnbs if t <= time)]
        if matching(scenario.situations, device.application, gnb, time) is None:
            return time, gnb
    return None
