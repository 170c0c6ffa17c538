"""What a case of `make fidelity` is: an order to guests, and a judge of their answers; and the network that most are about."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import theory
from benchmarks.guests import Order
from benchmarks.tables import Row

MS, SECOND = 1_000_000, 1_000_000_000
SMALL, FULL = 56, 1472  # ping's payloads: frames of 98 and 1514 bytes
PING_HEADERS = theory.ETHERNET + theory.IP + theory.ICMP
UDP_HEADERS = theory.ETHERNET + theory.IP + theory.UDP
RATES = {
    "0.1 Mbit/s": 100_000,
    "1 Mbit/s": 1_000_000,
    "10 Mbit/s": 10_000_000,
    "100 Mbit/s": 100_000_000,
    "1 Gbit/s": 1_000_000_000,
    "10 Gbit/s": 10_000_000_000,
    "40 Gbit/s": 40_000_000_000,
}
FASTEST_OF_MININET = 1_000_000_000  # TCLink takes a bandwidth of at most 1000 Mbit/s
SLOWEST_OF_MININET = 10_000_000  # below, iperf3 waits for its end without sleeping behind TCLink's long queue, for ever


@dataclass(frozen=True)
class Case:
    """`judge` makes the rows of its section's table of the answers, which are those of all `orders` one after the
    other."""

    name: str
    orders: tuple[Order, ...]
    judge: Callable[[list[Any]], list[Row]]


@dataclass(frozen=True)
class Section:
    title: str
    note: str
    columns: tuple[str, ...]
    cases: list[Case]


def scenario(rate: str, core: str, hop: str = "{rate: RATE, delay: 5 us}") -> str:
    """One hop: from nef to central. Four: from nef to phone1, or phone2, whose own links have no delay."""
    return f"""
name: fidelity
network:
  core: {core}
  regions:
    - name: west
      link: {hop}
      gnbs: [{{name: a, link: {hop}, radio: {hop}}}]
slices: [{{name: video, guarantee: 50 %}}, {{name: default}}]
devices: [{{name: phone, count: 2, at: a}}]
traffic: [{{from: central, to: phone2, slice: video, rate: 1 Mbit/s}}, {{from: phone2, to: central, slice: video, rate: 1 Mbit/s}}]
""".replace("RATE", rate)
