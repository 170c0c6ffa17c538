"""The Mininet network of a plan, for whatever controller listens here, and Mininet's CLI: `python docs/ryu_network.py PLAN`."""

import subprocess
import sys
import time
from pathlib import Path

from mininet.cli import CLI

from scenarios import plan
from topology import openvswitch
from topology.net import Network


def connected() -> int:
    """How many switches have their controller."""
    openvswitch.nudge()
    listing = ["ovs-vsctl", "--bare", "--columns=is_connected", "list", "Controller"]
    return subprocess.run(listing, capture_output=True, text=True, check=True).stdout.count("true")


network = Network(plan.parse(Path(sys.argv[1]).read_bytes()))
network.start()
while connected() < len(network.switches):
    time.sleep(0.1)
CLI(network)
network.stop()
