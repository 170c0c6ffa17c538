"""The qdisc tree of one interface: its settings as netlink messages, and what the kernel reads back.

A port without queues is one netem. A port with queues is HTB at 1:, a root class 1:ffff at the link's rate, a class 1:(n+1) for
queue n and a netem as each leaf; OpenFlow's `set_queue: n` selects that class. netem gives delay, jitter, loss, queue and the
time that a packet takes to be sent, which HTB alone does not. Layouts are those of linux/pkt_sched.h.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from scenarios.plan import End, Queue, Shape
from topology.netlink import CREATE, NEW, REPLACE, REQUEST, Message, Netlink, attribute, attributes, text

_ACK = 0x4
RTM_NEWQDISC, RTM_GETQDISC, RTM_NEWTCLASS, RTM_GETTCLASS = 36, 38, 40, 42
_TC = struct.Struct("=BxxxiIII")  # tcmsg: family, ifindex, handle, parent, info
_KIND, _OPTIONS, _STATS2 = 1, 2, 7
_ROOT = 0xFFFFFFFF
_HTB, _TOP = 0x00010000, 0x0001FFFF
_NETEM = struct.Struct("=IIIIII")  # latency, limit, loss, gap, duplicate, jitter
_CLASS = struct.Struct("=BBHhHIBBHhHIIIIII")  # rate and ceiling (ratespec), buffer, cbuffer, quantum, level, prio
_ETHERNET = 1
_TICK_NS = 64  # the kernel's unit for a class's burst
_QUANTUM = 1514  # bytes that a class may send before the next has its turn


class Reading(NamedTuple):
    """A setting as it was planned and as the kernel has it."""

    setting: str
    planned: str
    read: str


class Count(NamedTuple):
    """What one leaf has sent and dropped."""

    queue: int
    bytes: int
    dropped: int


# Interface's index -> parent -> attributes of the qdisc there
Qdiscs = dict[int, dict[int, dict[int, bytes]]]


def qdiscs(netlink: Netlink) -> Qdiscs:
    """The qdiscs of all interfaces of a namespace: the kernel goes through all of them even when it is asked for one."""
    found: Qdiscs = {}
    for body in netlink.dump(RTM_GETQDISC, _TC.pack(0, 0, 0, 0, 0)):
        _, index, _, parent, _ = _TC.unpack_from(body)
        found.setdefault(index, {})[parent] = attributes(body[_TC.size :])
    return found


def tree(end: End, index: int) -> list[Message]:
    """All settings of an interface, in the order in which the kernel takes them."""
    if not end.queues:
        return [_qdisc(end, index, _ROOT, 0x00100000, "netem", _netem(end.shape, end.seed))]
    init = attribute(2, struct.pack("=IIIII", 3, 10, 1, 0, 0))  # TCA_HTB_INIT: version, rate2quantum, default class 1:1
    messages = [
        _qdisc(end, index, _ROOT, _HTB, "htb", init),
        _class(end, index, _HTB, _TOP, end.shape.rate_bps, end.shape.rate_bps),
    ]
    for queue in end.queues:
        messages.append(_class(end, index, _TOP, _class_of(queue), queue.rate_bps, queue.ceiling_bps))
        leaf = _netem(end.shape, end.seed + queue.number)
        messages.append(_qdisc(end, index, _class_of(queue), _leaf_of(queue), "netem", leaf))
    return messages


def read_back(end: End, index: int, netlink: Netlink, dumped: Qdiscs) -> Iterator[Reading]:
    """Every setting of an interface beside what the kernel says; `dumped` is from `qdiscs`."""
    found = dumped.get(index, {})
    if not end.queues:
        yield Reading("netem", _describe(end.shape, end.seed), _described(found.get(_ROOT)))
        return
    classes = dict(_classes(netlink, index))
    yield Reading("class top", _rates(end.shape.rate_bps, end.shape.rate_bps), classes.get(_TOP, "missing"))
    for queue in end.queues:
        rates = _rates(queue.rate_bps, queue.ceiling_bps)
        yield Reading(f"class {queue.slice}", rates, classes.get(_class_of(queue), "missing"))
        leaf = _described(found.get(_class_of(queue)))
        yield Reading(f"netem {queue.slice}", _describe(end.shape, end.seed + queue.number), leaf)


def counts(end: End, index: int, dumped: Qdiscs) -> list[Count]:
    """What each queue of an interface (0 where it has none) has sent and dropped; `dumped` is from `qdiscs`."""
    found = dumped[index]
    numbers = {_class_of(queue): queue.number for queue in end.queues} or {_ROOT: 0}
    return [Count(number, *_statistics(found[parent])) for parent, number in numbers.items()]


def _class_of(queue: Queue) -> int:
    return _HTB | (queue.number + 1)


def _leaf_of(queue: Queue) -> int:
    return (0x10 + queue.number) << 16


def _qdisc(end: End, index: int, parent: int, handle: int, kind: str, options: bytes) -> Message:
    body = _TC.pack(0, index, handle, parent, 0) + attribute(_KIND, text(kind)) + attribute(_OPTIONS, options)
    return Message(RTM_NEWQDISC, REQUEST | _ACK | CREATE | REPLACE, body, f"{end.interface}: {kind}")


def _class(end: End, index: int, parent: int, handle: int, rate_bps: int, ceiling_bps: int) -> Message:
    # 16 kB of burst; more from 40 Gbit/s, where the timer's steps are longer than 16 kB
    burst = 16_000 if ceiling_bps < 40_000_000_000 else 128_000
    rate, ceiling = rate_bps // 8, ceiling_bps // 8
    parameters = _CLASS.pack(
        0, _ETHERNET, 0, 0, 0, min(rate, 0xFFFFFFFF),
        0, _ETHERNET, 0, 0, 0, min(ceiling, 0xFFFFFFFF),
        burst * 10**9 // rate // _TICK_NS, burst * 10**9 // ceiling // _TICK_NS, _QUANTUM, 0, 0,
    )  # fmt: skip
    options = (
        attribute(1, parameters) + attribute(6, struct.pack("=Q", rate)) + attribute(7, struct.pack("=Q", ceiling))
    )
    body = _TC.pack(0, index, handle, parent, 0) + attribute(_KIND, text("htb")) + attribute(_OPTIONS, options)
    return Message(RTM_NEWTCLASS, NEW, body, f"{end.interface}: class")


def _netem(shape: Shape, seed: int) -> bytes:
    rate = shape.rate_bps // 8
    options = _NETEM.pack(0, shape.limit, _probability(shape.loss), 0, 0, 0)
    options += attribute(6, struct.pack("=IiIi", min(rate, 0xFFFFFFFF), 0, 0, 0)) + attribute(
        8, struct.pack("=Q", rate)
    )
    options += attribute(10, struct.pack("=q", shape.delay_ns)) + attribute(11, struct.pack("=q", shape.jitter_ns))
    return options + attribute(14, struct.pack("=Q", seed))


def _probability(share: float) -> int:
    return round(share * 0xFFFFFFFF)


def _rates(rate_bps: int, ceiling_bps: int) -> str:
    return f"rate {rate_bps // 8} ceiling {ceiling_bps // 8} B/s"


def _describe(shape: Shape, seed: int) -> str:
    loss, rate = _probability(shape.loss), shape.rate_bps // 8
    return f"delay {shape.delay_ns} jitter {shape.jitter_ns} ns loss {loss} rate {rate} B/s limit {shape.limit} seed {seed}"


def _described(attrs: dict[int, bytes] | None) -> str:
    if attrs is None or attrs[_KIND] != text("netem"):
        return "missing"
    _, limit, loss, _, _, _ = _NETEM.unpack_from(attrs[_OPTIONS])
    more = attributes(attrs[_OPTIONS][_NETEM.size :])
    (delay,), (jitter,) = struct.unpack("=q", more[10]), struct.unpack("=q", more[11])
    rate = struct.unpack("=Q", more[8])[0] if 8 in more else struct.unpack_from("=I", more[6])[0]
    (seed,) = struct.unpack("=Q", more[14])
    return f"delay {delay} jitter {jitter} ns loss {loss} rate {rate} B/s limit {limit} seed {seed}"


def _classes(netlink: Netlink, index: int) -> Iterator[tuple[int, str]]:
    for body in netlink.dump(RTM_GETTCLASS, _TC.pack(0, index, 0, 0, 0)):
        _, _, handle, _, _ = _TC.unpack_from(body)
        options = attributes(attributes(body[_TC.size :])[_OPTIONS])
        values = _CLASS.unpack(options[1])
        rate = struct.unpack("=Q", options[6])[0] if 6 in options else values[5]
        ceiling = struct.unpack("=Q", options[7])[0] if 7 in options else values[11]
        yield handle, f"rate {rate} ceiling {ceiling} B/s"


def _statistics(attrs: dict[int, bytes]) -> tuple[int, int]:
    """Bytes sent and packets dropped, from TCA_STATS2's basic and queue parts."""
    parts = attributes(attrs[_STATS2])
    sent = struct.unpack_from("=Q", parts[1])[0]  # gnet_stats_basic
    _, _, dropped, _, _ = struct.unpack_from("=IIIII", parts[3])  # gnet_stats_queue
    return sent, dropped
