"""How much memory TCP needs to fill the paths of a scenario. Pure."""

from collections.abc import Iterator

from scenarios.links import TOWARDS, LinkSpec
from scenarios.names import directions
from scenarios.schema import Gnb, Network, Region, Scenario
from scenarios.tables import SECOND

LEAST_TCP_BUFFER = 4 << 20
MOST_TCP_BUFFER = (1 << 31) - 1  # the kernel's; TCP's window has at most 1 GiB (RFC 7323, 2.3), half of it
FILLING = 13_000_000  # ns


def tcp_buffer(scenario: Scenario) -> int:
    """Three times the largest bandwidth-delay product of any path from the central site, so that one flow can fill it: over half
    of a socket's memory is the kernel's own; with four times, slow start overruns the queue of 50 ms.

    At least 13 ms at the fastest link's rate: 64 MB at 40 Gbit/s, where less does not fill a link of no delay.
    """
    own = [device.link for device in scenario.devices if device.link is not None]
    farthest = max((_slowest_way(spec)[1] for spec in own), default=0)
    largest = max(way.rate for way in directions(scenario)) // 8 * FILLING // SECOND // 2
    for region in scenario.network.regions:
        for gnb in region.gnbs:
            for path in _paths(scenario.network, region, gnb):
                links = [_slowest_way(spec) for spec in path]
                round_trip = 2 * (sum(delay for _, delay in links) + farthest)
                largest = max(largest, min(rate for rate, _ in links) * round_trip // (8 * SECOND))
    return min(max(LEAST_TCP_BUFFER, 3 * largest), MOST_TCP_BUFFER)


def _paths(network: Network, region: Region, gnb: Gnb) -> Iterator[list[LinkSpec]]:
    """From the central site to a gNB, and to its cell: from above, and by each redundant link to the gNB or its region."""
    above: dict[str, list[LinkSpec]] = {"core": [network.core]}
    for other in network.regions:
        above[other.name] = [network.core, other.link]
        above |= {below.name: [*above[other.name], below.link] for below in other.gnbs}
    inside = {below.name for below in region.gnbs}
    paths = [above[gnb.name]]
    for link in network.links:
        for here, there in ((link.first, link.second), (link.second, link.first)):
            if here == gnb.name:
                paths.append([*above[there], link])
            elif here == region.name and there not in inside:
                paths.append([*above[there], link, gnb.link])
    for path in paths:
        yield from (path, [*path, gnb.radio])


def _slowest_way(spec: LinkSpec) -> tuple[int, int]:
    """The higher rate and the longer delay of a link's directions."""
    ways = [spec.towards(way) for way in TOWARDS]
    return max(way.rate for way in ways), max(way.delay for way in ways)
