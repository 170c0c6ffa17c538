"""The network of a plan, /run/out/plan.json in the guest, by stock Mininet with TCLink, for comparison.

It has what TCLink can do: rate (not over 1 Gbit/s), delay, jitter, loss, queue. It has no slices and no controller. Mininet raises
the limit of open files, and each of its shells then closes thousands one by one (150 ms a host); that is cured here.
"""

from pathlib import Path

from mininet.link import TCLink
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.topo import Topo

from scenarios import plan as plans
from scenarios.plan import Plan, Shape

OUT = Path("/run/out")


class StockTopo(Topo):
    """The plan's hosts, switches and links."""

    def build(self, plan: Plan) -> None:
        for host in plan.hosts:
            self.addHost(host.name, ip=f"{host.ip}/8", mac=host.mac)
        for switch in plan.switches:
            self.addSwitch(switch.name, dpid=f"{switch.dpid:016x}")
        for link in plan.links:
            a, b = link.ends
            names = {"intfName1": f"h-{a.interface}" if not a.port else a.interface, "intfName2": b.interface}
            self.addLink(a.node, b.node, **names, **_settings(a.shape))


def _settings(shape: Shape) -> dict[str, object]:
    return {
        "bw": min(1000, shape.rate_bps / 1e6),
        "delay": f"{shape.delay_ns // 1000}us",
        "jitter": f"{shape.jitter_ns // 1000}us" if shape.jitter_ns else None,
        "loss": 100 * shape.loss or None,
        "max_queue_size": shape.limit,
    }


def phase(name: str) -> None:
    with (OUT / "progress").open("a") as file:
        file.write(f"{name}\n")


def main() -> None:
    plan = plans.parse((OUT / "plan.json").read_bytes())
    setLogLevel("error")
    Mininet.inited = True  # leaves the limit of open files as it is, 1024
    phase("network")
    network = Mininet(topo=StockTopo(plan), link=TCLink, controller=None)
    network.start()
    phase("stop")
    network.stop()
    phase("down")


if __name__ == "__main__":
    main()
