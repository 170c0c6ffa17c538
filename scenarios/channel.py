"""What a device knows of its channel: rates and delays of the plan's links at a time of the run. Pure."""

from scenarios.plan import Device, Link, Plan, Shape

SECOND = 10**9
FRAME = 1514  # bytes of a full one
DOWN, UP = 1, 0  # ends of a link: the second is the one nearer to the core, and sends towards the devices


def rate_bps(plan: Plan, device: Device, gnb: str, time_ns: int) -> int:
    """The rate towards a device in a gNB's cell: that of the slower of the radio and its own link."""
    return min(shape_at(plan, link, DOWN, time_ns).rate_bps for link in _last_hops(device, gnb))


def round_trip_ns(plan: Plan, device: Device, gnb: str, time_ns: int) -> int:
    """What the links between a device and its cell's edge library take for a full frame down, and a small one up."""
    shapes = [
        (shape_at(plan, link, DOWN, time_ns), shape_at(plan, link, UP, time_ns))
        for link in (*_last_hops(device, gnb), f"{gnb}-edge-link")
    ]
    return sum(down.delay_ns + FRAME * 8 * SECOND // down.rate_bps + up.delay_ns for down, up in shapes)


def between_ns(plan: Plan, gnb: str, other: str) -> int:
    """What the links between two gNBs delay a packet, there and back: nothing where they are one."""
    one, another = _way_up(plan, gnb), _way_up(plan, other)
    return sum((one | another)[link] for link in one.keys() ^ another.keys())


def above_ns(plan: Plan, host: str) -> int:
    """What the links from a library to the central one delay a packet, there and back."""
    links = {link.name: link for link in plan.links}
    delay, node = 0, host
    while node != "core":
        link = links[f"{node}-link"]
        delay, node = delay + sum(end.shape.delay_ns for end in link.ends), link.ends[1].node
    return delay if host == "central" else delay + above_ns(plan, "central")


def shape_at(plan: Plan, link: str, end: int, time_ns: int) -> Shape:
    """What an end of a link does at a time. Raises StopIteration for a link that the plan does not have."""
    changes = (c for c in reversed(plan.changes) if c.time_ns <= time_ns and c.link == link and c.end == end)
    changed = next(changes, None)
    return changed.shape if changed else _link(plan, link).ends[end].shape


def _way_up(plan: Plan, node: str) -> dict[str, int]:
    """The links from a node to the core, and what each delays a packet there and back."""
    way = {}
    while node != "core":
        link = _link(plan, f"{node}-link")
        way[link.name] = sum(end.shape.delay_ns for end in link.ends)
        node = link.ends[1].node
    return way


def _last_hops(device: Device, gnb: str) -> tuple[str, str]:
    return f"{gnb}-radio", f"{device.host}-link"


def _link(plan: Plan, name: str) -> Link:
    return next(link for link in plan.links if link.name == name)
