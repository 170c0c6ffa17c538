"""Which links are up, by what the switches say of their ports. Pure."""

from collections.abc import Mapping

from scenarios.plan import Plan

_Port = tuple[str, int]  # switch, OpenFlow port


class Carrier:
    """A link is down when one of its ends is.

    A switch that is gone says nothing of its own ends. Where the other end of a link of it is down, so is its own, until it is
    back, which is when it has its flows again: a link that is up leads nowhere before.
    """

    def __init__(self, plan: Plan) -> None:
        self._link: dict[_Port, str] = {}
        self._peer: dict[_Port, _Port] = {}  # of links between two switches
        for link in plan.links:
            a, b = ((end.node, end.port) for end in link.ends)
            self._link |= {port: link.name for port in (a, b) if port[1]}
            if a[1] and b[1]:
                self._peer |= {a: b, b: a}
        for device in plan.devices:
            first = device.attachments[0]
            name = self._link[first.cell, first.port]
            self._link |= {(attachment.cell, attachment.port): name for attachment in device.attachments}
        self._gone = {switch.name for switch in plan.switches}
        self._down: set[_Port] = set()

    def links_down(self) -> set[str]:
        return {self._link[port] for port in self._down if port in self._link}

    def says(self, switch: str, port: int, up: bool) -> None:
        """What a switch says of a port; one that it has no more is not down."""
        end = switch, port
        (self._down.discard if up else self._down.add)(end)
        if not up and end in self._peer and self._peer[end][0] in self._gone:
            self._down.add(self._peer[end])

    def gone(self, switch: str) -> None:
        self._gone.add(switch)
        self._down |= {end for end, peer in self._peer.items() if end[0] == switch and peer in self._down}

    def back(self, switch: str, ports: Mapping[int, bool]) -> None:
        """A switch has its flows; of each of its ports whether it is up."""
        self._gone.discard(switch)
        self._down = {end for end in self._down if end[0] != switch}
        for port, up in ports.items():
            self.says(switch, port, up)
