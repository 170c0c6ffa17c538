"""The network of a plan, up: Mininet's nodes, one OVSDB transaction for all bridges, netlink for all links."""

import socket
from collections.abc import Iterator

import mininet.net

from scenarios.plan import GATEWAY, OPENFLOW_PORT, Device, End, Plan
from scenarios.plan import Link as PlannedLink
from topology import link, namespace, netlink, openvswitch, segments
from topology.node import Host, Link, Switch
from topology.ran import RanTopo


class Network(mininet.net.Mininet):
    """A Mininet network whose links and bridges are made all at once from a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._root = netlink.Netlink()
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
        for planned in self.plan.links:
            if all(end.port for end in planned.ends):
                self._root.request([netlink.delete(socket.if_nametoindex(planned.ends[0].interface), planned.name)])

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
        for end, index, netlink_there in self._everywhere():
            for reading in link.read_back(end, index, netlink_there):
                yield end, reading

    def counts(self) -> Iterator[tuple[PlannedLink, End, link.Count]]:
        """What each queue of each switch's port has sent and dropped."""
        for planned in self.plan.links:
            for end in (end for end in planned.ends if end.port):
                for count in link.counts(end, socket.if_nametoindex(end.interface), self._root):
                    yield planned, end, count

    def _make_links(self) -> None:
        macs = {host.name: host.mac for host in self.plan.hosts}
        messages = []
        files = []
        most = segments.MOST[self.plan.segments]
        for number, planned in enumerate(self.plan.links):
            host, switch = sorted(planned.ends, key=lambda end: end.port)
            mac = f"02:01:00:00:{number >> 8:02x}:{number & 255:02x}"
            if host.port:
                peer_mac = f"02:02:00:00:{number >> 8:02x}:{number & 255:02x}"
                messages.append(netlink.veth(switch.interface, host.interface, mac, peer_mac, most))
            else:
                files.append(namespace.path(host.node).open())
                messages.append(
                    netlink.veth(switch.interface, host.interface, mac, macs[host.node], most, files[-1].fileno())
                )
        self._root.request(messages)
        for file in files:
            file.close()
        if self.plan.segments == "exact":
            for planned in self.plan.links:
                segments.segment_before_host(planned)

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
        for end in self._switch_ends():
            index = socket.if_nametoindex(end.interface)
            messages += [*link.tree(end, index), netlink.up(index, end.interface)]
        self._root.request(messages)

    def _configure_hosts(self) -> None:
        addresses = {host.name: host.ip for host in self.plan.hosts}
        gateway_ip, gateway_mac = GATEWAY
        for planned in self.plan.links:
            for end in (end for end in planned.ends if not end.port):
                with namespace.inside(end.node):
                    here = netlink.Netlink()
                    index = socket.if_nametoindex(end.interface)
                    lo = socket.if_nametoindex("lo")
                    if self.plan.segments == "exact":
                        segments.merge_received(here, planned, index)
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

    def _everywhere(self) -> Iterator[tuple[End, int, netlink.Netlink]]:
        for end in self._switch_ends():
            yield end, socket.if_nametoindex(end.interface), self._root
        for planned in self.plan.links:
            for end in (end for end in planned.ends if not end.port):
                with namespace.inside(end.node):
                    here = netlink.Netlink()
                    index = socket.if_nametoindex(end.interface)
                yield end, index, here
                here.close()


def _set_tcp_buffers(most: int) -> None:
    """Namespaces that are made later inherit these: (least, default, most) bytes of a socket."""
    for name, default in (("tcp_rmem", 131072), ("tcp_wmem", 16384)):
        with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
            file.write(f"4096 {default} {most}")
