"""The network of a plan, up: Mininet's nodes, one OVSDB transaction for all bridges, netlink for all links."""

import os
import socket
from collections.abc import Iterator

import mininet.net

from scenarios.plan import GATEWAY, OPENFLOW_PORT, Device, End, Plan
from scenarios.plan import Link as PlannedLink
from topology import link, namespace, netlink, openvswitch
from topology.node import Host, Link, Switch
from topology.ran import RanTopo


class Network(mininet.net.Mininet):
    """A Mininet network whose links and bridges are made all at once from a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._root = netlink.Netlink()
        self._group = os.getpid()  # of our interfaces: they go all at once, and those of a network beside ours stay
        _set_tcp_buffers(plan.machine.tcp_buffer_bytes)
        # Mininet would raise the limit of open files, which makes each of its shells close thousands one by one.
        mininet.net.Mininet.inited = True
        super().__init__(topo=RanTopo(plan), host=Host, switch=Switch, link=Link, controller=None)

    def configHosts(self) -> None:
        """Hosts are configured with their links, in `start`."""

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

    def hand_over(self, device: Device, place: int) -> None:
        """Moves a device's port to the switch of its attachment number `place`; its queues are set anew there."""
        before, after = device.attachments[place - 1], device.attachments[place]
        port = (
            f"add-port {after.cell} {device.interface} -- set Interface {device.interface} ofport_request={after.port}"
        )
        openvswitch.transact([f"del-port {before.cell} {device.interface}", port])
        end = next(e for planned in self.plan.links for e in planned.ends if e.interface == device.interface)
        self._root.request(link.tree(end, socket.if_nametoindex(end.interface)))

    def read_back(self) -> Iterator[tuple[End, link.Reading]]:
        """Every setting of every interface, as planned and as the kernel has it."""
        dumped = link.qdiscs(self._root)
        for end in self._switch_ends():
            for reading in link.read_back(end, socket.if_nametoindex(end.interface), self._root, dumped):
                yield end, reading
        for end in self._host_ends():
            with namespace.inside(end.node):
                here = netlink.Netlink()
                index = socket.if_nametoindex(end.interface)
            for reading in link.read_back(end, index, here, link.qdiscs(here)):
                yield end, reading
            here.close()

    def counts(self) -> Iterator[tuple[PlannedLink, End, link.Count]]:
        """What each queue of each switch's port has sent and dropped."""
        dumped = link.qdiscs(self._root)
        for planned in self.plan.links:
            for end in (end for end in planned.ends if end.port):
                for count in link.counts(end, socket.if_nametoindex(end.interface), dumped):
                    yield planned, end, count

    def _make_links(self) -> None:
        macs = {host.name: host.mac for host in self.plan.hosts}
        messages = []
        files = []
        for number, planned in enumerate(self.plan.links):
            host, switch = sorted(planned.ends, key=lambda end: end.port)
            mac = f"02:01:00:00:{number >> 8:02x}:{number & 255:02x}"
            if host.port:
                peer_mac = f"02:02:00:00:{number >> 8:02x}:{number & 255:02x}"
                messages.append(netlink.veth(switch.interface, host.interface, mac, peer_mac, self._group))
            else:
                files.append(namespace.path(host.node).open())
                messages.append(
                    netlink.veth(
                        switch.interface, host.interface, mac, macs[host.node], self._group, files[-1].fileno()
                    )
                )
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
                # The network starts with its controller: try at once.
                f"set Controller {switch.name} max_backoff=1000 connection_mode=out-of-band",
            ]
        for end in self._switch_ends():
            commands.append(
                f"add-port {end.node} {end.interface} -- set Interface {end.interface} ofport_request={end.port}"
            )
        openvswitch.transact(commands)

    def _shape_and_raise(self) -> None:
        """Queues first, then up; Open vSwitch has taken the ports already, for taking one deletes its queues."""
        messages = []
        for end in self._switch_ends():
            index = socket.if_nametoindex(end.interface)
            messages += [*link.tree(end, index), netlink.up(index, end.interface)]
        self._root.request(messages)

    def _configure_hosts(self) -> None:
        addresses = {host.name: host.ip for host in self.plan.hosts}
        gateway_ip, gateway_mac = GATEWAY
        for end in self._host_ends():
            with namespace.inside(end.node):
                here = netlink.Netlink()
                index = socket.if_nametoindex(end.interface)
                lo = socket.if_nametoindex("lo")
            here.request(
                [
                    netlink.up(lo, "lo"),
                    *link.tree(end, index),
                    netlink.up(index, end.interface),
                    netlink.address(index, addresses[end.node], 32),
                    netlink.default_route(index, gateway_ip),
                    netlink.neighbour(index, gateway_ip, gateway_mac),
                ]
            )
            here.close()

    def _switch_ends(self) -> Iterator[End]:
        return (end for planned in self.plan.links for end in planned.ends if end.port)

    def _host_ends(self) -> Iterator[End]:
        return (end for planned in self.plan.links for end in planned.ends if not end.port)


def _set_tcp_buffers(most: int) -> None:
    """Namespaces that are made later inherit these: (least, default, most) bytes of a socket."""
    for name, default in (("tcp_rmem", 131072), ("tcp_wmem", 16384)):
        with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
            file.write(f"4096 {default} {most}")
