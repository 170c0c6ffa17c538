"""A user's own Mininet script, with insitu's links and nothing else of it."""

import json
import os
import subprocess

from mininet.net import Mininet
from mininet.node import OVSBridge
from mininet.topo import Topo

from topology.link import Link


class Line(Topo):
    def build(self):
        s1, s2 = self.addSwitch("s1"), self.addSwitch("s2")
        self.addLink(self.addHost("h1"), s1, bw=10, delay="5ms")
        self.addLink(s1, s2, rate="100 Mbit/s", delay="10 ms", queue="20 ms", queues={1: 0.4, 2: (0.3, 0.6)})
        self.addLink(
            self.addHost("h2"),
            s2,
            params1={"delay": 1000},
            params2={"jitter": "1 ms", "delay": "2 ms", "distribution": "pareto"},
        )


def refused(net, **params):
    try:
        net.addLink(*net.hosts, **params)
    except ValueError as error:
        return str(error)


def settings(net):
    ends = [end for link in net.links for end in (link.intf1, link.intf2)]
    return [(end.name, *reading) for end in ends for reading in end.readings()]


before = sorted(os.listdir("/sys/class/net"))
net = Mininet(Line(), link=Link, switch=OVSBridge, controller=None)
net.start()
h1, h2 = net.get("h1", "h2")
result = {"loss": net.pingAll(), "settings": settings(net)}
result["ping"] = h1.cmd("ping -c 20 -i 0.1 -q -s 1472", h2.IP())
stream = h1.popen("ping -c 500 -i 0.01 -q " + h2.IP(), stdout=subprocess.PIPE)
for number in range(20):
    h1.cmd("sleep 0.2")
    net.links[0].intf1.config(bw=10 + number, delay=f"{5 + number}ms")
result["changed"] = stream.communicate()[0].decode()
result["settings after"] = settings(net)
result["classes"] = subprocess.run(["tc", "class", "show", "dev", "s1-eth2"], capture_output=True, text=True).stdout
result["refused"] = [
    refused(net, dealy="5ms"),
    refused(net, rate="5 Mbps"),
    refused(net, queue="1 B"),
    refused(net, use_tbf=True),
]
net.stop()
result["left"] = sorted(set(os.listdir("/sys/class/net")) - set(before))
print(json.dumps(result))
