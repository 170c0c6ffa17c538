"""What a scenario has, by name: also what is not written in it, but made for each region, gNB and device. Pure."""

from collections.abc import Iterator

from scenarios.links import TOWARDS, LinkSpec
from scenarios.schema import Scenario

Place = tuple[str | int, ...]  # of something written: keys and numbers


def gnb_names(scenario: Scenario) -> list[str]:
    return [gnb.name for region in scenario.network.regions for gnb in region.gnbs]


def slice_names(scenario: Scenario) -> list[str]:
    names = [entry.name for entry in scenario.slices]
    return names if "default" in names else ["default", *names]


def host_names(scenario: Scenario) -> list[str]:
    locals_ = [f"{region.name}-local" for region in scenario.network.regions]
    edges = [f"{gnb}-edge" for gnb in gnb_names(scenario)]
    return ["central", "nef", *locals_, *edges, *(name for device in scenario.devices for name in device.names)]


def link_names(scenario: Scenario) -> list[str]:
    """Each host has a link of its own, a region one to the core, a gNB one to its region and one to its cell; and the user's."""
    radios = [f"{gnb}-radio" for gnb in gnb_names(scenario)]
    own = [*(region.name for region in scenario.network.regions), *gnb_names(scenario), *host_names(scenario)]
    return [*radios, *(f"{name}-link" for name in own), *(link.name for link in scenario.network.links)]


def switch_names(scenario: Scenario) -> list[str]:
    return [*upper_switches(scenario), *(f"{gnb}-cell" for gnb in gnb_names(scenario))]


def upper_switches(scenario: Scenario) -> list[str]:
    return ["core", *(region.name for region in scenario.network.regions), *gnb_names(scenario)]


def described_links(scenario: Scenario) -> dict[str, LinkSpec]:
    """The links between switches and the central site's, by their names."""
    found = {"central-link": scenario.network.core}
    for region in scenario.network.regions:
        found[f"{region.name}-link"] = region.link
        for gnb in region.gnbs:
            found |= {f"{gnb.name}-link": gnb.link, f"{gnb.name}-radio": gnb.radio}
    return found | {link.name: link for link in scenario.network.links}


def written_links(scenario: Scenario) -> Iterator[tuple[Place, LinkSpec]]:
    """Every link that is written, with its place."""
    yield ("network", "core"), scenario.network.core
    for r, region in enumerate(scenario.network.regions):
        place: Place = ("network", "regions", r)
        yield (*place, "link"), region.link
        for g, gnb in enumerate(region.gnbs):
            yield (*place, "gnbs", g, "link"), gnb.link
            yield (*place, "gnbs", g, "radio"), gnb.radio
    for number, link in enumerate(scenario.network.links):
        yield ("network", "links", number), link
    for d, device in enumerate(scenario.devices):
        if device.link is not None:
            yield ("devices", d, "link"), device.link


def directions(scenario: Scenario) -> list[LinkSpec]:
    """Both directions of every link that is written."""
    return [spec.towards(way) for _, spec in written_links(scenario) for way in TOWARDS]
