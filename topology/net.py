"""The network of a plan, up: Mininet's nodes, one OVSDB transaction for all bridges, netlink for all links."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import mininet.log
import mininet.net
from msgspec.structs import replace

from linux import namespace, netlink, tree
from scenarios.plan import GATEWAY, OPENFLOW_PORT, Change, Device, End, Plan
from scenarios.plan import Host as PlannedHost
from scenarios.plan import Link as PlannedLink
from topology import offload, openvswitch, segments
from topology.node import Host, Link, Switch
from topology.ran import RanTopo

_AT_ONCE = 64  # links that are made in one go: each of a host keeps a file open meanwhile


class Network(mininet.net.Mininet):
    """A Mininet network whose links and bridges are made all at once from a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._now = {planned.name: planned.ends for planned in plan.links}
        self._down: set[str] = set()  # links and switches that have failed
        self._moved: dict[str, str] = {}  # interface -> the switch that has it now
        self._root = netlink.Netlink()
        self._group = os.getpid()  # of our interfaces: they go all at once, and those of a network beside ours stay
        _allow_congestion_controls({host.congestion_control for host in plan.hosts})
        # Mininet would raise the limit of open files, which makes each of its shells close thousands one by one.
        mininet.net.Mininet.inited = True
        super().__init__(topo=RanTopo(plan), host=Host, switch=Switch, link=Link, controller=None)

    def configHosts(self) -> None:
        """Hosts are configured with their links, in `start`."""

    def addHost(self, name: str, *args: Any, **params: Any) -> Any:
        self._refuse_once_built()
        return super().addHost(name, *args, **params)

    def addSwitch(self, name: str, *args: Any, **params: Any) -> Any:
        self._refuse_once_built()
        return super().addSwitch(name, *args, **params)

    def addLink(self, node1: Any, node2: Any, *args: Any, **params: Any) -> Any:
        self._refuse_once_built()
        return super().addLink(node1, node2, *args, **params)

    def delNode(self, node: Any, nodes: Any = None) -> None:
        self._refuse_once_built()

    def delLink(self, link: Any) -> None:
        self._refuse_once_built()

    def _refuse_once_built(self) -> None:
        if self.built:
            raise TypeError("the network is as its scenario says: add or remove nodes and links there")

    def start(self) -> None:
        """Links, bridges, queues, addresses; returns when Open vSwitch has all ports."""
        self._make_links()
        # Before the bridges: Open vSwitch looks at all its ports again whenever an interface of it changes
        self._configure_hosts()
        self._make_bridges()
        self._shape_and_raise()

    def stop(self) -> None:
        openvswitch.transact(["--if-exists del-br " + switch.name for switch in self.switches])
        # With its namespace a host's interface would go too, but later: the kernel takes a namespace down in its own time
        self._root.request([netlink.delete_group(self._group)])
        for node in (*self.hosts, *self.switches):
            node.terminate()

    def trust_controller(self) -> None:
        """Ends the probes of idle connections to the controller. Open vSwitch (3.1) takes that from connected switches only."""
        openvswitch.transact([f"set Controller {switch.name} inactivity_probe=0" for switch in self.switches])

    def configLinkStatus(self, src: str, dst: str, status: str) -> None:
        """Mininet's `link A B up|down`, at the switches' ends: a host's would lose its routes with it, and loses its carrier."""
        links = self.linksBetween(self[src], self[dst]) if src in self and dst in self else []
        if not links:
            mininet.log.error(f"no link between {src} and {dst}\n")
        for end in (end for made in links for end in (made.intf1, made.intf2) if end.planned.port):
            end.ifconfig(status)

    def set_link(self, name: str, up: bool) -> None:
        """A link fails, or comes back: both ends lose their carrier, what was queued is lost."""
        (self._down.discard if up else self._down.add)(name)
        self._raise_and_lower([name])

    def set_switch(self, name: str, up: bool) -> None:
        """A switch loses its power, or gets it back: its flows, its links and its connection to the controller are gone at once."""
        (self._down.discard if up else self._down.add)(name)
        links = [link for link in self._now if name in self._nodes(link)]
        if up:
            self._raise_and_lower(links)
            openvswitch.transact(_controlled(name))
        else:
            openvswitch.transact([f"del-controller {name}"])  # as `fail_mode=secure` has it, its flows stay
            openvswitch.forget_flows(name)
            self._raise_and_lower(links)

    def _raise_and_lower(self, links: list[str]) -> None:
        """A link is up unless it, or a switch at one of its ends, has failed. A host's end stays up, for its routes would go."""
        messages = []
        for link in links:
            set_to = netlink.down if self._down & {link, *self._nodes(link)} else netlink.up
            switch_ends = [end.interface for end in self._now[link] if end.port]
            messages += [set_to(socket.if_nametoindex(interface), interface) for interface in switch_ends]
        self._root.request(messages)

    def hand_over(self, moves: Sequence[tuple[Device, int]]) -> None:
        """Moves devices' ports, each to the switch of the attachment of that number, with its queues and what waits in them."""
        commands = []
        for number, (device, place) in enumerate(moves):
            before, after = device.attachments[place - 1], device.attachments[place]
            commands += [
                f"--id=@port{number} get Port {device.interface}",
                f"remove Bridge {before.cell} ports @port{number}",
                f"add Bridge {after.cell} ports @port{number}",
                f"set Interface {device.interface} ofport_request={after.port}",
            ]
        openvswitch.transact(commands)
        self._moved |= {device.interface: device.attachments[place].cell for device, place in moves}
        if self._down:
            moved = {device.interface for device, _ in moves}
            self._raise_and_lower([link for link, ends in self._now.items() if moved & {end.interface for end in ends}])

    def _nodes(self, link: str) -> set[str]:
        """What a link is between now."""
        return {self._moved.get(end.interface, end.node) for end in self._now[link] if end.port}

    def change(self, change: Change) -> tuple[End, list[tree.Reading]]:
        """Gives an end of a link another shape, packets and sessions' classes as they are; gives every setting as read back."""
        ends = list(self._now[change.link])
        ends[change.end] = end = replace(ends[change.end], shape=change.shape, queues=change.queues)
        self._now[change.link] = (ends[0], ends[1])
        with self._at(end) as there:
            index = socket.if_nametoindex(end.interface)
            there.request(tree.sending(end, index, change=True, beside=tree.sessions(index, there)))
            readings = list(tree.read_back(end, index, there, tree.qdiscs(there, index)))
        wire = socket.if_nametoindex(end.wire)
        self._root.request([tree.wire(end, wire, (), change=True)])
        return end, [*readings, tree.read_back_wire(end, wire, tree.qdiscs(self._root, wire))]

    def read_back(self) -> Iterator[tuple[End, tree.Reading]]:
        """Every setting of every interface, as planned and as the kernel has it."""
        dumped = tree.qdiscs(self._root)
        for end, _ in self._ends():
            with self._at(end) as there:
                index = socket.if_nametoindex(end.interface)
                here = dumped if end.port else tree.qdiscs(there)
                yield from ((end, reading) for reading in tree.read_back(end, index, there, here))
            if end.wire:
                yield end, tree.read_back_wire(end, socket.if_nametoindex(end.wire), dumped)

    def counts(self) -> Iterator[tuple[PlannedLink, End, tree.Count]]:
        """What each slice at each switch's port has sent and dropped, and what each wire has lost."""
        dumped = tree.qdiscs(self._root)
        for planned in self.plan.links:
            for end in self._now[planned.name]:
                if end.port:
                    for count in tree.counts(end, socket.if_nametoindex(end.interface), self._root, dumped):
                        yield planned, end, count
                if end.wire:
                    yield planned, end, tree.wire_count(socket.if_nametoindex(end.wire), dumped)

    def _make_links(self) -> None:
        macs = {host.name: host.mac for host in self.plan.hosts}
        most = segments.MOST[self.plan.segments]
        numbered = list(enumerate(self.plan.links))
        for start in range(0, len(numbered), _AT_ONCE):
            with ExitStack() as files:
                messages = []
                for number, planned in numbered[start : start + _AT_ONCE]:
                    for name, here, end in _veths(planned):
                        role = 2 * planned.ends.index(end)
                        spare = [f"02:{role + kind:02x}:00:00:{number >> 8:02x}:{number & 255:02x}" for kind in (1, 2)]
                        there = None if end.port else files.enter_context(namespace.path(end.node).open()).fileno()
                        mac = macs.get(end.node, spare[1])
                        made = netlink.veth(here, name, spare[0], mac, there, group=self._group, segments=most)
                        messages.append(made)
                self._root.request(messages)

    def _make_bridges(self) -> None:
        commands = ["set open . other_config:stats-update-interval=60000"]  # nobody reads what is written then
        for switch in self.plan.switches:
            commands += [
                f"add-br {switch.name}",
                f"set Bridge {switch.name} other_config:datapath-id={switch.dpid:016x} fail_mode=secure "
                f"protocols=OpenFlow13 other_config:disable-in-band=true datapath_type={self.plan.machine.datapath}",
                *_controlled(switch.name),
            ]
        for end in self._switch_ends():
            commands.append(
                f"add-port {end.node} {end.interface} -- set Interface {end.interface} ofport_request={end.port}"
            )
        moving = [device.interface for device in self.plan.devices if len(device.attachments) > 1]
        if moving:
            # Else it would delete their queues when another bridge takes them
            commands += ["--id=@ours create QoS type=linux-noop", *(f"set Port {port} qos=@ours" for port in moving)]
        openvswitch.transact(commands)

    def _shape_and_raise(self) -> None:
        """Queues first, then up; Open vSwitch has taken the ports already, for taking one deletes its queues."""
        messages = []
        for end in self._switch_ends():
            index = socket.if_nametoindex(end.interface)
            messages += [*tree.sending(end, index), netlink.up(index, end.interface)]
        for end, other in self._ends():
            if end.wire:
                wire, opposite = socket.if_nametoindex(end.wire), socket.if_nametoindex(other.wire)
                table = self.plan.distributions.get(end.shape.distribution, ())
                messages += [
                    tree.wire(end, wire, table),
                    *tree.onto_wire(end, opposite, wire),
                    netlink.up(wire, end.wire),
                ]
        self._root.request(messages)

    def _configure_hosts(self) -> None:
        hosts = {host.name: host for host in self.plan.hosts}
        for end, other in self._ends():
            if end.port:
                continue
            if self.plan.segments == "exact":
                segments.split_before_host(other.wire or other.interface)
            with self._at(end) as there:
                if self.plan.segments == "exact":
                    segments.merge_received(end.interface, other.shape.rate_bps)
                if self.plan.machine.datapath == "netdev":
                    # A veth leaves checksums out, for its packets do not leave the kernel; but this datapath takes them out of it
                    offload.switch(end.interface, offload.CHECKSUMS, False)
                _configure_host(hosts[end.node], end, there)
                _set_tcp(hosts[end.node], self.plan.machine.tcp_buffer_bytes)

    def _ends(self) -> Iterator[tuple[End, End]]:
        """Each end of each link as it is now, with the other one."""
        for a, b in self._now.values():
            yield from ((a, b), (b, a))

    def _switch_ends(self) -> Iterator[End]:
        return (end for end, _ in self._ends() if end.port)

    @contextmanager
    def _at(self, end: End) -> Iterator[netlink.Netlink]:
        """A routing socket where an end is; this thread is there meanwhile."""
        if end.port:
            yield self._root
            return
        with namespace.inside(end.node), closing(netlink.Netlink()) as there:
            yield there


def _controlled(switch: str) -> list[str]:
    """A switch's connection to the controller. It tries at once, for both start together, and then once a second."""
    return [
        f"set-controller {switch} tcp:127.0.0.1:{OPENFLOW_PORT}",
        f"set Controller {switch} max_backoff=1000 connection_mode=out-of-band",
    ]


def _veths(planned: PlannedLink) -> Iterator[tuple[str, str, End]]:
    """The pairs of interfaces that make a link: an end's, the one that it leads to, and the end.

    A plain link's ends lead to each other; each end of a wired one leads to the interface by which it is reached.
    """
    a, b = sorted(planned.ends, key=lambda end: end.port)
    if a.wire:
        yield from ((a.interface, b.wire, a), (b.interface, a.wire, b))
    else:
        yield a.interface, b.interface, a


def _configure_host(host: PlannedHost, end: End, here: netlink.Netlink) -> None:
    """In the namespace where this thread is."""
    gateway_ip, gateway_mac = GATEWAY
    eth, lo = socket.if_nametoindex(end.interface), socket.if_nametoindex("lo")
    here.request(
        [
            netlink.up(lo, "lo"),
            *tree.sending(end, eth),
            netlink.up(eth, end.interface),
            netlink.address(eth, host.ip, 32),
            netlink.default_route(eth, gateway_ip),
            netlink.neighbour(eth, gateway_ip, gateway_mac),
        ]
    )


def _set_tcp(host: PlannedHost, most: int) -> None:
    """In the namespace where this thread is; it begins with the values of the machine's first one."""
    settings = {"tcp_rmem": f"4096 131072 {most}", "tcp_wmem": f"4096 16384 {most}"}  # bytes: least, default, most
    if host.congestion_control != "cubic":
        settings["tcp_congestion_control"] = host.congestion_control
    if host.ecn:
        settings["tcp_ecn"] = "1"
    for name, value in settings.items():
        Path(f"/proc/sys/net/ipv4/{name}").write_text(value)


def _allow_congestion_controls(names: set[str]) -> None:
    """Namespaces may use those that the machine allows; only its first namespace can say so."""
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    if allowed.exists() and not names <= set(allowed.read_text().split()):
        allowed.write_text(" ".join(sorted({*allowed.read_text().split(), *names})))
