"""The network of a plan, up: Mininet's nodes, one OVSDB transaction for all bridges, netlink for all links."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mininet.net
from msgspec.structs import replace

from scenarios.plan import GATEWAY, OPENFLOW_PORT, Change, Device, End, Plan
from scenarios.plan import Host as PlannedHost
from scenarios.plan import Link as PlannedLink
from topology import link, namespace, netlink, openvswitch
from topology.node import Host, Link, Switch
from topology.ran import RanTopo

Index = Callable[[str], int]


class Network(mininet.net.Mininet):
    """A Mininet network whose links and bridges are made all at once from a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._now = {planned.name: planned.ends for planned in plan.links}
        self._root = netlink.Netlink()
        _allow_congestion_controls({host.congestion_control for host in plan.hosts})
        _set_tcp_buffers(plan.machine.tcp_buffer_bytes)
        # Mininet would raise the limit of open files, which makes each of its shells close thousands one by one.
        mininet.net.Mininet.inited = True
        super().__init__(topo=RanTopo(plan), host=Host, switch=Switch, link=Link, controller=None)

    def configHosts(self) -> None:
        """Hosts are configured with their links, in `start`."""

    def start(self) -> None:
        """Links, bridges, queues, addresses; returns when Open vSwitch has all ports."""
        self._make_links()
        self._make_bridges()
        self._shape_and_raise()
        self._configure_hosts()

    def stop(self) -> None:
        openvswitch.transact(["--if-exists del-br " + switch.name for switch in self.switches])
        for node in (*self.hosts, *self.switches):
            node.terminate()
        here = [end.interface for end, other in self._ends() if end.port and other.port]
        wires = [end.wire for end, other in self._ends() if end.wire and other.port]
        for name in (*here[::2], *wires):  # a veth takes its peer with it
            self._root.request([netlink.delete(socket.if_nametoindex(name), name)])

    def hand_over(self, device: Device, place: int) -> None:
        """Moves a device's port to the switch of its attachment number `place`; its queues are set anew there."""
        before, after = device.attachments[place - 1], device.attachments[place]
        port = (
            f"add-port {after.cell} {device.interface} -- set Interface {device.interface} ofport_request={after.port}"
        )
        openvswitch.transact([f"del-port {before.cell} {device.interface}", port])
        end, other = next(pair for pair in self._ends() if pair[0].interface == device.interface)
        self._root.request(_port(end, other))

    def change(self, change: Change) -> Iterator[tuple[End, link.Reading]]:
        """Gives an end of a link another shape, packets and classes as they are; gives every setting as read back."""
        ends = list(self._now[change.link])
        ends[change.end] = end = replace(ends[change.end], shape=change.shape, queues=change.queues)
        self._now[change.link] = (ends[0], ends[1])
        other = ends[1 - change.end]
        with self._at(end) as (there, index):
            there.request(link.sending(end, index(end.interface), change=True))
            for reading in link.read_back(end, index(end.interface), there):
                yield end, reading
        with self._at(other) as (there, index):
            there.request([link.wire(end, index(end.wire), (), change=True)])
            yield end, link.read_back_wire(end, index(end.wire), there)

    def read_back(self) -> Iterator[tuple[End, link.Reading]]:
        """Every setting of every interface, as planned and as the kernel has it."""
        for end, other in self._ends():
            with self._at(end) as (there, index):
                for reading in link.read_back(end, index(end.interface), there):
                    yield end, reading
                if other.wire:
                    yield other, link.read_back_wire(other, index(other.wire), there)

    def counts(self) -> Iterator[tuple[PlannedLink, End, link.Count]]:
        """What each queue of each switch's port has sent and dropped, and what the wires to switches have lost."""
        for planned in self.plan.links:
            for end, other in _both_ways(self._now[planned.name]):
                if not end.port:
                    continue
                for count in link.counts(end, socket.if_nametoindex(end.interface), self._root):
                    yield planned, end, count
                if other.wire:
                    yield planned, other, link.wire_count(socket.if_nametoindex(other.wire), self._root)

    def _make_links(self) -> None:
        macs = {host.name: host.mac for host in self.plan.hosts}
        messages = []
        files = []
        for number, planned in enumerate(self.plan.links):
            host, switch = sorted(planned.ends, key=lambda end: end.port)
            mac = f"02:01:00:00:{number >> 8:02x}:{number & 255:02x}"
            if host.port:
                peer_mac = f"02:02:00:00:{number >> 8:02x}:{number & 255:02x}"
                messages.append(netlink.veth(switch.interface, host.interface, mac, peer_mac))
            else:
                files.append(namespace.path(host.node).open())
                messages.append(
                    netlink.veth(switch.interface, host.interface, mac, macs[host.node], files[-1].fileno())
                )
        messages += [netlink.ifb(end.wire) for end, other in self._ends() if end.wire and other.port]
        self._root.request(messages)
        for file in files:
            file.close()

    def _make_bridges(self) -> None:
        commands = []
        for switch in self.plan.switches:
            commands += [
                f"add-br {switch.name}",
                f"set-controller {switch.name} tcp:127.0.0.1:{OPENFLOW_PORT}",
                f"set Bridge {switch.name} other_config:datapath-id={switch.dpid:016x} fail_mode=secure "
                "protocols=OpenFlow13 other_config:disable-in-band=true",
                # The network starts with its controller: try at once, and never give up a connection that is only idle.
                f"set Controller {switch.name} max_backoff=1000 inactivity_probe=0 connection_mode=out-of-band",
            ]
        for end in self._switch_ends():
            commands.append(
                f"add-port {end.node} {end.interface} -- set Interface {end.interface} ofport_request={end.port}"
            )
        openvswitch.transact(commands)

    def _shape_and_raise(self) -> None:
        """Queues first, then up; Open vSwitch has taken the ports already, for taking one deletes its queues."""
        messages = []
        for end, other in self._ends():
            if end.port:
                messages += _port(end, other)
                if other.wire:
                    messages.append(link.wire(other, socket.if_nametoindex(other.wire), self._table(other)))
                messages.append(netlink.up(socket.if_nametoindex(end.interface), end.interface))
        self._root.request(messages)

    def _configure_hosts(self) -> None:
        hosts = {host.name: host for host in self.plan.hosts}
        for end, other in self._ends():
            if not end.port:
                with self._at(end) as (here, index):
                    self._configure_host(hosts[end.node], end, other, here, index)

    def _configure_host(self, host: PlannedHost, end: End, other: End, here: netlink.Netlink, index: Index) -> None:
        gateway_ip, gateway_mac = GATEWAY
        eth, lo = index(end.interface), index("lo")
        if other.wire:
            here.request([netlink.ifb(other.wire)])
            wire = index(other.wire)
            here.request([link.wire(other, wire, self._table(other)), *link.arriving(other, eth, wire)])
        here.request(
            [
                netlink.up(lo, "lo"),
                *link.sending(end, eth),
                netlink.up(eth, end.interface),
                netlink.address(eth, host.ip, 32),
                netlink.default_route(eth, gateway_ip),
                netlink.neighbour(eth, gateway_ip, gateway_mac),
            ]
        )
        _set_tcp(host)

    def _table(self, end: End) -> Sequence[int]:
        return self.plan.distributions.get(end.shape.distribution, ())

    def _ends(self) -> Iterator[tuple[End, End]]:
        """Each end of each link as it is now, with the other one."""
        for ends in self._now.values():
            yield from _both_ways(ends)

    def _switch_ends(self) -> Iterator[End]:
        return (end for end, _ in self._ends() if end.port)

    @contextmanager
    def _at(self, end: End) -> Iterator[tuple[netlink.Netlink, Index]]:
        """A routing socket where an end is, and how interfaces are numbered there; this thread is there meanwhile."""
        if end.port:
            yield self._root, socket.if_nametoindex
            return
        with namespace.inside(end.node):
            here = netlink.Netlink()
            try:
                yield here, socket.if_nametoindex
            finally:
                here.close()


def _both_ways(ends: tuple[End, End]) -> tuple[tuple[End, End], tuple[End, End]]:
    return ends, (ends[1], ends[0])


def _port(end: End, other: End) -> list[netlink.Message]:
    """What a port of a switch loses when Open vSwitch takes it: its queues, and where to what arrives goes."""
    index = socket.if_nametoindex(end.interface)
    arriving = link.arriving(other, index, socket.if_nametoindex(other.wire)) if other.wire else []
    return [*link.sending(end, index), *arriving]


def _set_tcp(host: PlannedHost) -> None:
    """In the namespace where this thread is; what a namespace begins with is not set again."""
    settings = {
        "tcp_congestion_control": (host.congestion_control, "cubic"),
        "tcp_ecn": ("1" if host.ecn else "2", "2"),
    }
    for name, (value, default) in settings.items():
        if value != default:
            Path(f"/proc/sys/net/ipv4/{name}").write_text(value)


def _allow_congestion_controls(names: set[str]) -> None:
    """Namespaces may use those that the machine allows."""
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    if not names <= set(allowed.read_text().split()):
        allowed.write_text(" ".join(sorted({*allowed.read_text().split(), *names})))


def _set_tcp_buffers(most: int) -> None:
    """Namespaces that are made later inherit these: (least, default, most) bytes of a socket."""
    for name, default in (("tcp_rmem", 131072), ("tcp_wmem", 16384)):
        with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
            file.write(f"4096 {default} {most}")
