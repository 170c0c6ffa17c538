"""What a device knows of its channel: rates and delays of the plan's links at a time of the run. Pure."""

from scenarios.plan import Device, Link, Plan, Shape

DOWN, UP = 1, 0  # ends of a link: the second is the one nearer to the core, and sends towards the devices


def rate_bps(plan: Plan, device: Device, gnb: str, time_ns: int) -> int:
    """The rate towards a device in a gNB's cell: that of the slower of the radio and its own link."""
    return min(shape_at(plan, link, DOWN, time_ns).rate_bps for link in _last_hops(device, gnb))


def round_trip_ns(plan: Plan, device: Device, gnb: str, time_ns: int) -> int:
    """What the links between a device and its cell's edge library delay a packet, there and back."""
    links = (*_last_hops(device, gnb), f"{gnb}-edge-link")
    return sum(shape_at(plan, link, end, time_ns).delay_ns for link in links for end in (DOWN, UP))


def shape_at(plan: Plan, link: str, end: int, time_ns: int) -> Shape:
    """What an end of a link does at a time. Raises StopIteration for a link that the plan does not have."""
    changes = (c for c in reversed(plan.changes) if c.time_ns <= time_ns and c.link == link and c.end == end)
    changed = next(changes, None)
    return changed.shape if changed else _link(plan, link).ends[end].shape


def _last_hops(device: Device, gnb: str) -> tuple[str, str]:
    return f"{gnb}-radio", f"{device.host}-link"


def _link(plan: Plan, name: str) -> Link:
    return next(link for link in plan.links if link.name == name)
