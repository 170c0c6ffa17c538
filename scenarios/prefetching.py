"""Which models a library pulls before devices ask it for them. Pure."""

from collections.abc import Iterable, Mapping

from scenarios import plan as p
from scenarios.links import TOWARDS
from scenarios.schema import Gnb, Region, Scenario
from scenarios.tables import SECOND

MARGIN = SECOND  # for the tier above, which may have to pull the model too
ROUND_TRIPS = 12  # of slow start: from 10 packets on, doubling, these fill any window that TCP has


def prefetches(
    scenario: Scenario, devices: Iterable[p.Device], share: float, sizes: Mapping[str, int]
) -> list[p.Prefetch]:
    """At a device's gNB, each model that begins to fit it, a lead before: what pulling it takes, and a margin.

    `share` is what is guaranteed of the links to what libraries pull, and `sizes` are the models' bytes, where known. The
    policy "situations" knows from the plan what will fit whom; "none" pulls nothing ahead. Of a payload a device keeps nothing, so
    each time that it is asked for counts.
    """
    if scenario.policies.prefetch == "none":
        return []
    cells = {gnb.name: (region, gnb) for region in scenario.network.regions for gnb in region.gnbs}
    wanted = {
        (need.time_ns, attachment.gnb, need.model)
        for device in devices
        for before, need in zip([device.application, *(n.model for n in device.needs)], device.needs, strict=False)
        if need.model != before or need.model in scenario.payloads
        for attachment in [max((a for a in device.attachments if a.time_ns <= need.time_ns), key=lambda a: a.time_ns)]
    }
    sizes = dict(sizes) | {name: payload.size for name, payload in scenario.payloads.items()}
    leads = {(gnb, model): lead(scenario, *cells[gnb], share, sizes.get(model, 0)) for _, gnb, model in wanted}
    planned = {(max(0, time - leads[gnb, model]), f"{gnb}-edge", model) for time, gnb, model in wanted}
    return [p.Prefetch(time_ns=time, library=library, model=model) for time, library, model in sorted(planned)]


def lead(scenario: Scenario, region: Region, gnb: Gnb, share: float, size: int) -> int:
    """How long an edge library may take to pull `size` bytes from the central one, in ns."""
    path = (scenario.network.core, region.link, gnb.link)
    rate = min(spec.towards("down").rate for spec in path) * share
    round_trip = sum(spec.towards(way).delay for spec in path for way in TOWARDS)
    return MARGIN + ROUND_TRIPS * round_trip + int(8 * size / rate * SECOND)
