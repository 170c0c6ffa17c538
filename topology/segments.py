"""Segments of TCP and how many of them the kernel handles at once.

`exact`: on every link one packet is one segment. Only a host merges what has arrived in order (generic receive offload, as a
network card's driver does), because calling TCP and its reader for each packet takes most of the wall time. A packet that comes
close behind others may wait for the next one meanwhile, WAIT_NS at most; one that comes alone does not.

`bulk`: packets of up to 64 kB travel as one, which is several times faster; loss, queue limits and shares act on them as one.
"""

from linux import namespace
from topology import offload

MOST = {"exact": 1, "bulk": 65535}  # segments in a packet on a link
LEAST_RATE_BPS = 10**9
WAIT_NS = 24_000  # for the next packet: the time of two full ones at that rate


def split_before_host(interface: str) -> None:
    """At the interface that leads to a host: a veth whose peer shall merge packets must not itself send merged ones."""
    offload.switch(interface, offload.SEGMENTATION, False)


def merge_received(interface: str, rate_bps: int) -> None:
    """At a host's interface, in this thread's namespace, to which its link sends at a rate.

    Under 1 Gbit/s there is little to save, and a packet would wait longer for the next.
    """
    if rate_bps < LEAST_RATE_BPS:
        return
    with namespace.interfaces() as folder:  # where alone these can be set
        (folder / interface / "gro_flush_timeout").write_text(str(WAIT_NS))
        (folder / interface / "napi_defer_hard_irqs").write_text("1")
    offload.switch(interface, offload.MERGING, True)
