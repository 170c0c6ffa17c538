"""The Mininet network of a plan, without a controller of its own, and Mininet's CLI: `python docs/ryu_network.py PLAN`."""

import sys
from pathlib import Path

from mininet.cli import CLI

from scenarios import plan
from topology.net import Network

network = Network(plan.parse(Path(sys.argv[1]).read_bytes()))
network.start()
CLI(network)
network.stop()
