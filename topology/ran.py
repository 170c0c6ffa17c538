"""The virtualised RAN and core of a plan as a Mininet topology."""

from mininet.topo import Topo

from scenarios.plan import Plan


class RanTopo(Topo):
    """Core, regions, gNBs and cells as switches; libraries, NEF and devices as hosts."""

    def build(self, plan: Plan) -> None:
        for host in plan.hosts:
            self.addHost(host.name, ip=f"{host.ip}/32", mac=host.mac)
        for switch in plan.switches:
            self.addSwitch(switch.name, dpid=f"{switch.dpid:016x}")
        for link in plan.links:
            a, b = link.ends
            self.addLink(a.node, b.node, port1=a.port, port2=b.port, planned=link)
