"""What one direction of a link is in the kernel: the qdisc tree of the interface that sends, and the wire that it goes by.

A plain link is a netem: rate, delay, jitter and loss, and a queue counted in packets. With slices it is HTB at 1:, a root class
1:ffff at the link's rate, a class 1:(n+1) for queue n, and a netem as each leaf; OpenFlow's `set_queue: n` selects that class.
netem adds the time that a packet takes to be sent, which HTB alone does not have.

A link with a wire keeps its queue apart from its way. Each end has HTB with a queue of bytes (or fq_codel) as each leaf; between
the ends are two more interfaces, joined by redirecting filters, whose netems give sending time, delay and impairments. There a
queue drops by its length alone, CoDel sees the queue that it controls, and a new rate holds for the next packet. (What arrives
cannot be redirected at a switch's own port: Open vSwitch deletes what hangs there whenever it looks at its ports anew.)
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from msgspec.structs import astuple

from linux import qdisc
from linux.netlink import ACK, CREATE, NEW, REPLACE, REQUEST, Message, Netlink, attribute, attributes, text
from scenarios.plan import End, Queue

RTM_NEWQDISC, RTM_GETQDISC, RTM_NEWTCLASS, RTM_GETTCLASS, RTM_NEWTFILTER = 36, 38, 40, 42, 44
_TC = struct.Struct("=BxxxiIII")  # tcmsg: family, ifindex, handle, parent, info
_KIND, _OPTIONS, _STATS2 = 1, 2, 7
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_HTB, _TOP, _NETEM, _HOOK = 0x00010000, 0x0001FFFF, 0x00100000, 0xFFFF0000
_ALL_PROTOCOLS, _FIRST = 0x0300, 1 << 16  # htons(ETH_P_ALL), the filter's priority
_FRAME = 1514  # bytes of a full one: so much may a class send before the next has its turn

Qdiscs = dict[int, dict[int, dict[int, bytes]]]  # of each interface, by its parent: a qdisc's attributes


class Reading(NamedTuple):
    """A setting as it was planned and as the kernel has it."""

    setting: str
    planned: str
    read: str


class Count(NamedTuple):
    """What one queue, or the wire, has let through and dropped."""

    queue: int | None
    bytes: int
    dropped: int


def qdiscs(netlink: Netlink, *indices: int) -> Qdiscs:
    """The qdiscs of some interfaces of a namespace, or of all: the kernel goes through all of them in any case."""
    found: Qdiscs = {}
    for body in netlink.dump(RTM_GETQDISC, _TC.pack(0, 0, 0, 0, 0)):
        _, index, _, parent, _ = _TC.unpack_from(body)
        if not indices or index in indices:
            found.setdefault(index, {})[parent] = attributes(body[_TC.size :])
    return found


def sending(end: End, index: int, *, change: bool = False) -> list[Message]:
    """The tree of the interface that sends, in the order that the kernel takes; a change leaves packets and classes as they are."""
    if not end.wire and not end.queues:
        return [_qdisc(end, index, _ROOT, _NETEM, _netem(end, end.seed), change)]
    messages = [] if change else [_qdisc(end, index, _ROOT, _HTB, qdisc.Htb(default=1))]
    messages.append(_class(end, index, _HTB, _TOP, _whole(end), change))
    for queue in _classes(end):
        messages.append(_class(end, index, _TOP, _class_of(queue), _share(end, queue), change))
        messages.append(_qdisc(end, index, _class_of(queue), _leaf_of(queue), _leaf(end, queue), change))
    return messages


def wire(end: End, index: int, table: Sequence[int], *, change: bool = False) -> Message:
    """The way of what this end sends, at the interface that leads to the other end. An empty `table` is uniform jitter."""
    return _qdisc(end, index, _ROOT, _NETEM, _way(end, table), change)


def onto_wire(end: End, index: int, wire_index: int) -> list[Message]:
    """At the interface to which this end leads: all that arrives leaves by the wire."""
    body = _TC.pack(0, index, 0, _HOOK, _FIRST | _ALL_PROTOCOLS) + attribute(_KIND, text("matchall"))
    body += attribute(_OPTIONS, qdisc.redirect(wire_index))
    return [
        _qdisc(end, index, _INGRESS, _HOOK, qdisc.Ingress()),
        Message(RTM_NEWTFILTER, REQUEST | ACK | CREATE | REPLACE, body, f"{end.wire}: redirect"),
    ]


def read_back(end: End, index: int, netlink: Netlink, dumped: Qdiscs) -> Iterator[Reading]:
    """Every setting of an interface that sends, beside what the kernel says; `dumped` is from `qdiscs`."""
    found = dumped.get(index, {})
    if not end.wire and not end.queues:
        yield _reading("link", _netem(end, end.seed), found.get(_ROOT))
        return
    classes = dict(_class_options(netlink, index))
    yield _reading("class top", _whole(end), classes.get(_TOP))
    for queue in _classes(end):
        yield _reading(f"class {queue.slice}", _share(end, queue), classes.get(_class_of(queue)))
        yield _reading(f"queue {queue.slice}", _leaf(end, queue), found.get(_class_of(queue)))


def read_back_wire(end: End, index: int, dumped: Qdiscs) -> Reading:
    """The settings of the way that what this end sends takes."""
    return _reading("wire", _way(end), dumped.get(index, {}).get(_ROOT))


def is_shaped(index: int, netlink: Netlink) -> bool:
    """Whether an interface has the root of a tree of ours."""
    root = qdiscs(netlink, index).get(index, {}).get(_ROOT)
    return root is not None and root[_KIND] == text("htb")


def counts(end: End, index: int, dumped: Qdiscs) -> list[Count]:
    """What each queue of an interface (0 where it has none) has sent and dropped; `dumped` is from `qdiscs`."""
    found = dumped[index]
    plain = not end.wire and not end.queues
    numbers = {_ROOT: 0} if plain else {_class_of(queue): queue.number for queue in _classes(end)}
    return [Count(number, *_statistics(found[parent])) for parent, number in numbers.items()]


def wire_count(index: int, dumped: Qdiscs) -> Count:
    """What a wire has carried and lost."""
    return Count(None, *_statistics(dumped[index][_ROOT]))


def _classes(end: End) -> list[Queue]:
    """The slices' queues; a host's end has one for everything."""
    return end.queues or [Queue(number=0, slice="all", rate_bps=end.shape.rate_bps, ceiling_bps=end.shape.rate_bps)]


def _whole(end: End) -> qdisc.HtbClass:
    rate = end.shape.rate_bps // 8
    return qdisc.HtbClass(rate, rate, _ticks(end.shape.burst_ns), _FRAME)


def _share(end: End, queue: Queue) -> qdisc.HtbClass:
    return qdisc.HtbClass(queue.rate_bps // 8, queue.ceiling_bps // 8, _ticks(end.shape.burst_ns), _FRAME)


def _ticks(burst_ns: int) -> int:
    return burst_ns // qdisc.TICK_NS * qdisc.TICK_NS


def _leaf(end: End, queue: Queue) -> qdisc.Qdisc:
    buffer = end.shape.queue
    if buffer is None:
        return _netem(end, end.seed + queue.number)
    if buffer.discipline == "fifo":
        return qdisc.Bfifo(buffer.bytes)
    return qdisc.FqCodel(buffer.bytes // _FRAME, buffer.ecn)


def _netem(end: End, seed: int) -> qdisc.Netem:
    shape = end.shape
    rate, loss = shape.rate_bps // 8, _chance(shape.loss)
    return qdisc.Netem(shape.delay_ns, shape.jitter_ns, rate, shape.limit, loss, seed=seed)


def _way(end: End, table: Sequence[int] = ()) -> qdisc.Netem:
    shape = end.shape
    bursts = None if shape.bursts is None else qdisc.Gemodel(*map(_chance, astuple(shape.bursts)))
    return replace(
        _netem(end, end.seed),
        bursts=bursts,
        corrupt=_chance(shape.corrupt),
        duplicate=_chance(shape.duplicate),
        reorder=_chance(shape.reorder),
        table=table,
    )


def _chance(share: float) -> int:
    return round(share * qdisc.CERTAIN)


def _class_of(queue: Queue) -> int:
    return _HTB | (queue.number + 1)


def _leaf_of(queue: Queue) -> int:
    return (0x10 + queue.number) << 16


def _qdisc(end: End, index: int, parent: int, handle: int, setting: qdisc.Qdisc, change: bool = False) -> Message:
    flags = REQUEST | ACK if change else REQUEST | ACK | CREATE | REPLACE
    if change and isinstance(setting, qdisc.Netem):
        setting = replace(setting, seed=None)  # a seed would begin the same random numbers again
    body = _TC.pack(0, index, handle, parent, 0) + attribute(_KIND, text(setting.kind))
    what = f"{end.interface}: {setting.kind}"
    return Message(RTM_NEWQDISC, flags, body + attribute(_OPTIONS, setting.encode()), what)


def _class(end: End, index: int, parent: int, handle: int, setting: qdisc.HtbClass, change: bool) -> Message:
    body = _TC.pack(0, index, handle, parent, 0) + attribute(_KIND, text(setting.kind))
    flags = REQUEST | ACK if change else NEW
    return Message(RTM_NEWTCLASS, flags, body + attribute(_OPTIONS, setting.encode()), f"{end.interface}: class")


def _reading(name: str, planned: qdisc.Qdisc | qdisc.HtbClass, found: dict[int, bytes] | None) -> Reading:
    return Reading(name, qdisc.described(planned), "missing" if found is None else _found(planned, found))


def _found(planned: qdisc.Qdisc | qdisc.HtbClass, found: dict[int, bytes]) -> str:
    kind = found[_KIND].rstrip(b"\0").decode()
    if isinstance(planned, qdisc.HtbClass):
        return qdisc.described(qdisc.HtbClass.decode(found[_OPTIONS]))
    setting = qdisc.decode(kind, found.get(_OPTIONS, b""))
    return kind if setting is None else qdisc.described(setting)


def _class_options(netlink: Netlink, index: int) -> Iterator[tuple[int, dict[int, bytes]]]:
    for body in netlink.dump(RTM_GETTCLASS, _TC.pack(0, index, 0, 0, 0)):
        _, _, handle, _, _ = _TC.unpack_from(body)
        yield handle, attributes(body[_TC.size :])


def _statistics(attrs: dict[int, bytes]) -> tuple[int, int]:
    """Bytes sent and packets dropped, from TCA_STATS2's basic and queue parts."""
    parts = attributes(attrs[_STATS2])
    sent = struct.unpack_from("=Q", parts[1])[0]  # gnet_stats_basic
    _, _, dropped, _, _ = struct.unpack_from("=IIIII", parts[3])  # gnet_stats_queue
    return sent, dropped


def session_class(end: End, index: int, slice_queue: int, number: int, rate_bps: int) -> list[Message]:
    """Sets a session's class, or gives it another rate. (Until slices' own.)"""
    ceiling = next(queue.ceiling_bps for queue in end.queues if queue.number == slice_queue)
    queue = Queue(number=number, slice="", rate_bps=rate_bps, ceiling_bps=ceiling)
    body = _TC.pack(0, index, _class_of(queue), _TOP, 0) + attribute(_KIND, text("htb"))
    options = attribute(_OPTIONS, _share(end, queue).encode())
    return [
        Message(RTM_NEWTCLASS, REQUEST | ACK | CREATE, body + options, f"{end.interface}: class"),
        _qdisc(end, index, _class_of(queue), _leaf_of(queue), _leaf(end, queue), False),
    ]


def without_session(end: End, index: int, number: int) -> list[Message]:
    body = _TC.pack(0, index, _HTB | (number + 1), 0, 0)
    return [Message(41, REQUEST | ACK, body, f"{end.interface}: no class")]


def default_rate(end: End, index: int, slice_queue: int, rate_bps: int) -> list[Message]:
    queue = next(queue for queue in end.queues if queue.number == slice_queue)
    changed = Queue(number=queue.number, slice=queue.slice, rate_bps=rate_bps, ceiling_bps=queue.ceiling_bps)
    return [_class(end, index, _TOP, _class_of(queue), _share(end, changed), True)]
