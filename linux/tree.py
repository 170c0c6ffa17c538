"""What one direction of a link is in the kernel: the qdisc tree of the interface that sends, and the wire that it goes by.

A plain link is a netem: rate, delay, jitter and loss, and a queue counted in packets. With slices it is HTB at 1:, and every leaf
has such a netem, for the time that a packet takes to be sent HTB does not have:

    1:ffff                link: its rate
    └─ 1:(f000 + n)       slice of queue n: guarantee, ceiling
       ├─ 1:(n + 1)       its default class: what its sessions leave of the guarantee
       └─ 1:(q + 1)       a session's class, q from 64 on: its rate as guarantee, the slice's ceiling

OpenFlow's `set_queue: q` selects class 1:(q + 1). Whoever is under its own guarantee sends before all who borrow; borrowers have
their turns by the slices' priorities, and of one priority packet by packet.

A link with a wire keeps its queue apart from its way. Each end has HTB with a queue of bytes (or fq_codel) as each leaf; between
the ends are two more interfaces, joined by redirecting filters, whose netems give sending time, delay and impairments. There a
queue drops by its length alone, CoDel sees the queue that it controls, and a new rate holds for the next packet. (What arrives
cannot be redirected at a switch's own port: Open vSwitch deletes what hangs there whenever it looks at its ports anew.)
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from msgspec.structs import astuple

from linux import qdisc
from linux.netlink import ACK, CREATE, NEW, REPLACE, REQUEST, Message, Netlink, attribute, attributes, text
from scenarios.plan import End, Queue

FIRST_SESSION, LAST_SESSION = 64, 0xEFFE  # queues; those below are the slices'
LEAST_BPS = 8_000  # of a class: the kernel takes none without a rate, and a default class must not starve
ENDED = -1  # in a count, where a queue's number would stand

RTM_NEWQDISC, RTM_GETQDISC, RTM_NEWTCLASS, RTM_DELTCLASS, RTM_GETTCLASS, RTM_NEWTFILTER = 36, 38, 40, 41, 42, 44
_TC = struct.Struct("=BxxxiIII")  # tcmsg: family, ifindex, handle, parent, info
_KIND, _OPTIONS, _STATS2 = 1, 2, 7
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_HTB, _TOP, _SLICES, _NETEM, _HOOK = 0x00010000, 0x0001FFFF, 0x0001F000, 0x00100000, 0xFFFF0000
_ALL_PROTOCOLS, _FIRST = 0x0300, 1 << 16  # htons(ETH_P_ALL), the filter's priority
_CHANGE = REQUEST | ACK
_FRAME = 1514  # bytes of a full one: so much may a class send before the next has its turn

Qdiscs = dict[int, dict[int, dict[int, bytes]]]  # of each interface, by its parent: a qdisc's attributes
Classes = dict[int, tuple[int, dict[int, bytes]]]  # of one interface, by handle: a class's parent and attributes


class Reading(NamedTuple):
    """A setting as it was planned and as the kernel has it."""

    setting: str
    planned: str
    read: str


class Count(NamedTuple):
    """What a slice (by its queue), the wire (None) or sessions that have ENDED have let through and dropped.

    A slice has the bytes of its sessions, whether they have ended or not, and the drops of those that have not.
    """

    queue: int | None
    bytes: int
    dropped: int


class Session(NamedTuple):
    """A session's class as the kernel has it, and what it has done."""

    slice_queue: int
    rate_bps: int
    ceiling_bps: int
    bytes: int
    dropped: int
    waiting: int  # packets in its queue; those of a plain link's way are there too


def qdiscs(netlink: Netlink, *indices: int) -> Qdiscs:
    """The qdiscs of some interfaces of a namespace, or of all: the kernel goes through all of them in any case."""
    found: Qdiscs = {}
    for body in netlink.dump(RTM_GETQDISC, _TC.pack(0, 0, 0, 0, 0)):
        _, index, _, parent, _ = _TC.unpack_from(body)
        if not indices or index in indices:
            found.setdefault(index, {})[parent] = attributes(body[_TC.size :])
    return found


def sending(
    end: End, index: int, *, change: bool = False, beside: Mapping[int, Session] | None = None
) -> list[Message]:
    """The tree of the interface that sends, in the order that the kernel takes.

    A change leaves packets and sessions' classes as they are; `beside` are those (from `sessions`), whose rates the default
    classes do not have.
    """
    if _is_plain(end):
        return [_qdisc(end, index, _ROOT, _NETEM, _netem(end, end.seed), change)]
    flags = _CHANGE if change else NEW
    messages = [] if change else [_qdisc(end, index, _ROOT, _HTB, qdisc.Htb(default=1))]
    messages.append(_class(end, index, _HTB, _TOP, _whole(end), flags))
    for queue in _queues(end):
        taken = sum(s.rate_bps for s in (beside or {}).values() if s.slice_queue == queue.number)
        inner, number = _SLICES + queue.number, queue.number
        messages += [
            _class(end, index, _TOP, inner, _share(end, queue, queue.rate_bps), flags),
            _class(end, index, inner, _class_of(number), _share(end, queue, left(queue.rate_bps, taken)), flags),
            _qdisc(end, index, _class_of(number), _leaf_of(number), _leaf(end, number), change),
        ]
    return messages


def left(guarantee_bps: int, taken_bps: int) -> int:
    """The rate of a slice's default class beside sessions that have `taken_bps` of its guarantee."""
    return max(guarantee_bps - taken_bps, LEAST_BPS)


def session_class(end: End, index: int, slice_queue: int, q: int, rate_bps: int) -> list[Message]:
    """Makes a session's class and queue, or makes one that is there like this: its packets stay, netem's draws begin again."""
    queue, handle = _queue(end, slice_queue), _class_of(q)
    share = _share(end, queue, rate_bps)
    return [
        _class(end, index, _SLICES + slice_queue, handle, share, REQUEST | ACK | CREATE),
        _qdisc(end, index, handle, _leaf_of(q), _leaf(end, q)),
    ]


def session_rate(end: End, index: int, slice_queue: int, q: int, rate_bps: int) -> list[Message]:
    """Gives a session's class another guarantee; refused (ENOENT) where there is none."""
    share = _share(end, _queue(end, slice_queue), rate_bps)
    return [_class(end, index, _SLICES + slice_queue, _class_of(q), share, _CHANGE)]


def without_session(end: End, index: int, q: int) -> list[Message]:
    """Removes a session's class, and what it still holds: on a plain link that is also what is on its way (`Session.waiting`)."""
    body = _TC.pack(0, index, _class_of(q), 0, 0)
    return [Message(RTM_DELTCLASS, REQUEST | ACK, body, f"{end.interface}: class of queue {q}")]


def default_rate(end: End, index: int, slice_queue: int, rate_bps: int) -> list[Message]:
    """Gives a slice's default class another guarantee: what is `left` of the slice's."""
    share = _share(end, _queue(end, slice_queue), rate_bps)
    return [_class(end, index, _SLICES + slice_queue, _class_of(slice_queue), share, _CHANGE)]


def sessions(index: int, netlink: Netlink) -> dict[int, Session]:
    """The sessions' classes of an interface, by their queues."""
    found = {}
    for handle, (parent, attrs) in sorted(_classes(netlink, index).items()):
        q = handle - _HTB - 1
        if FIRST_SESSION <= q <= LAST_SESSION:
            setting, counted = qdisc.HtbClass.decode(attrs[_OPTIONS]), _statistics(attrs)
            found[q] = Session(parent - _SLICES, 8 * setting.rate, 8 * setting.ceiling, *counted)
    return found


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
    if _is_plain(end):
        yield _reading("link", _netem(end, end.seed), found.get(_ROOT))
        return
    classes = _classes(netlink, index)
    options = {handle: attrs for handle, (_, attrs) in classes.items()}
    yield _reading("class top", _whole(end), options.get(_TOP))
    for queue in _queues(end):
        inner, default = _SLICES + queue.number, _class_of(queue.number)
        share = _share(end, queue, queue.rate_bps)
        yield _reading(f"slice {queue.slice}", share, options.get(inner))
        if default in options and any(parent == inner for handle, (parent, _) in classes.items() if handle != default):
            # What sessions leave to it, whoever sets them knows
            share = replace(share, rate=qdisc.HtbClass.decode(options[default][_OPTIONS]).rate)
        yield _reading(f"class {queue.slice}", share, options.get(default))
        yield _reading(f"queue {queue.slice}", _leaf(end, queue.number), found.get(default))


def read_back_session(
    end: End, index: int, slice_queue: int, q: int, rate_bps: int, netlink: Netlink, dumped: Qdiscs
) -> Iterator[Reading]:
    """A session's class and queue, as `session_class` sets them, beside what the kernel says."""
    _, options = _classes(netlink, index).get(_class_of(q), (0, None))
    yield _reading(f"class {q}", _share(end, _queue(end, slice_queue), rate_bps), options)
    yield _reading(f"queue {q}", _leaf(end, q), dumped.get(index, {}).get(_class_of(q)))


def read_back_wire(end: End, index: int, dumped: Qdiscs) -> Reading:
    """The settings of the way that what this end sends takes."""
    return _reading("wire", _way(end), dumped.get(index, {}).get(_ROOT))


def is_shaped(index: int, netlink: Netlink) -> bool:
    """Whether an interface has the root of a tree of ours."""
    root = qdiscs(netlink, index).get(index, {}).get(_ROOT)
    return root is not None and root[_KIND] == text("htb")


def counts(end: End, index: int, netlink: Netlink, dumped: Qdiscs) -> Iterator[Count]:
    """What each slice at an interface (0 where it has none) has sent and dropped; `dumped` is from `qdiscs`.

    A class keeps what its children have sent, but what they dropped goes with them; the root's number has it still.
    """
    found = dumped[index]
    if _is_plain(end):
        yield Count(0, *_statistics(found[_ROOT])[:2])
        return
    classes = _classes(netlink, index)
    refused = _statistics(found[_ROOT])[1]
    for queue in _queues(end):
        inner = _SLICES + queue.number
        leaves = {handle: attrs for handle, (parent, attrs) in classes.items() if parent == inner}
        sent = _statistics(classes[inner][1])[0]
        yield Count(queue.number, sent, sum(_statistics(found[leaf])[1] for leaf in leaves))
        refused -= sum(_statistics(attrs)[1] for attrs in leaves.values())
    if refused:
        yield Count(ENDED, 0, refused)


def sent(end: End, index: int, netlink: Netlink) -> dict[str, int]:
    """The bytes that each slice at an interface has sent, as in `counts`."""
    classes = _classes(netlink, index)
    return {queue.slice: _statistics(classes[_SLICES + queue.number][1])[0] for queue in end.queues}


def wire_count(index: int, dumped: Qdiscs) -> Count:
    """What a wire has carried and lost."""
    return Count(None, *_statistics(dumped[index][_ROOT])[:2])


def _is_plain(end: End) -> bool:
    return not end.wire and not end.queues


def _queues(end: End) -> list[Queue]:
    """The slices' queues; a host's end has one for everything."""
    rate = end.shape.rate_bps
    return end.queues or [Queue(number=0, slice="all", rate_bps=rate, ceiling_bps=rate, priority=0)]


def _queue(end: End, slice_queue: int) -> Queue:
    return next(queue for queue in end.queues if queue.number == slice_queue)


def _whole(end: End) -> qdisc.HtbClass:
    rate = end.shape.rate_bps // 8
    return qdisc.HtbClass(rate, rate, _ticks(end.shape.burst_ns), _FRAME)


def _share(end: End, queue: Queue, rate_bps: int) -> qdisc.HtbClass:
    burst = _ticks(end.shape.burst_ns)
    return qdisc.HtbClass(rate_bps // 8, queue.ceiling_bps // 8, burst, _FRAME, queue.priority)


def _ticks(burst_ns: int) -> int:
    return burst_ns // qdisc.TICK_NS * qdisc.TICK_NS


def _leaf(end: End, number: int) -> qdisc.Qdisc:
    buffer = end.shape.queue
    if buffer is None:
        return _netem(end, end.seed + number)
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


def _class_of(number: int) -> int:
    return _HTB | (number + 1)


def _leaf_of(number: int) -> int:
    return (0x10 + number) << 16


def _qdisc(end: End, index: int, parent: int, handle: int, setting: qdisc.Qdisc, change: bool = False) -> Message:
    flags = _CHANGE if change else REQUEST | ACK | CREATE | REPLACE
    if change and isinstance(setting, qdisc.Netem):
        setting = replace(setting, seed=None)  # a seed would begin the same random numbers again
    body = _TC.pack(0, index, handle, parent, 0) + attribute(_KIND, text(setting.kind))
    what = f"{end.interface}: {setting.kind}"
    return Message(RTM_NEWQDISC, flags, body + attribute(_OPTIONS, setting.encode()), what)


def _class(end: End, index: int, parent: int, handle: int, setting: qdisc.HtbClass, flags: int) -> Message:
    body = _TC.pack(0, index, handle, parent, 0) + attribute(_KIND, text(setting.kind))
    body += attribute(_OPTIONS, setting.encode())
    return Message(RTM_NEWTCLASS, flags, body, f"{end.interface}: class 1:{handle & 0xFFFF:x}")


def _reading(name: str, planned: qdisc.Qdisc | qdisc.HtbClass, found: dict[int, bytes] | None) -> Reading:
    return Reading(name, qdisc.described(planned), "missing" if found is None else _found(planned, found))


def _found(planned: qdisc.Qdisc | qdisc.HtbClass, found: dict[int, bytes]) -> str:
    kind = found[_KIND].rstrip(b"\0").decode()
    if isinstance(planned, qdisc.HtbClass):
        return qdisc.described(qdisc.HtbClass.decode(found[_OPTIONS]))
    setting = qdisc.decode(kind, found.get(_OPTIONS, b""))
    return kind if setting is None else qdisc.described(setting)


def _classes(netlink: Netlink, index: int) -> Classes:
    found = {}
    for body in netlink.dump(RTM_GETTCLASS, _TC.pack(0, index, 0, 0, 0)):
        _, _, handle, parent, _ = _TC.unpack_from(body)
        found[handle] = (parent, attributes(body[_TC.size :]))
    return found


def _statistics(attrs: dict[int, bytes]) -> tuple[int, int, int]:
    """Bytes sent, packets dropped and packets waiting, from TCA_STATS2's basic and queue parts."""
    parts = attributes(attrs[_STATS2])
    sent = struct.unpack_from("=Q", parts[1])[0]  # gnet_stats_basic
    waiting, _, dropped, _, _ = struct.unpack_from("=IIIII", parts[3])  # gnet_stats_queue
    return sent, dropped, waiting
