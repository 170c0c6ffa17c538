"""Queueing disciplines as the kernel takes them and gives them back: settings <-> netlink attributes.

Layouts and units are those of linux/pkt_sched.h and pkt_cls.h. `described` shows planned settings and those read back alike.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

from linux.netlink import attribute, attributes

TICK_NS = 64  # the kernel's unit for a class's burst
CERTAIN = 0xFFFFFFFF  # a chance of 1
_QOPT = struct.Struct("=IIIIII")  # tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter
_HTB_CLASS = struct.Struct("=BBHhHIBBHhHIIIIII")  # tc_htb_opt: two ratespecs, buffer, cbuffer, quantum, level, prio
_ETHERNET = 1
_GILBERT_ELLIOTT = 2


class Gemodel(NamedTuple):
    """Gilbert-Elliott chances in parts of 2^32: entering and leaving the bad state, losing a packet in it and outside it."""

    enter: int
    leave: int
    loss: int
    outside: int


@dataclass(frozen=True)
class Netem:
    """Delay, impairments and sending time. Rate in bytes/s, chances in parts of 2^32; no seed means that it stays as it is.

    `table` is the jitter's distribution in 1/8192 of the jitter; the kernel does not give it back.
    """

    delay_ns: int
    jitter_ns: int
    rate: int
    limit: int
    loss: int = 0
    bursts: Gemodel | None = None
    corrupt: int = 0
    duplicate: int = 0
    reorder: int = 0
    seed: int | None = None
    table: Sequence[int] = ()

    kind: ClassVar[str] = "netem"

    def encode(self) -> bytes:
        gap = 1 if self.reorder else 0
        options = _QOPT.pack(0, self.limit, self.loss, gap, self.duplicate, 0)
        options += attribute(3, struct.pack("=II", self.reorder, 0)) + attribute(4, struct.pack("=II", self.corrupt, 0))
        options += attribute(6, struct.pack("=IiIi", min(self.rate, 0xFFFFFFFF), 0, 0, 0))
        options += attribute(8, struct.pack("=Q", self.rate))
        options += attribute(10, struct.pack("=q", self.delay_ns)) + attribute(11, struct.pack("=q", self.jitter_ns))
        if self.bursts is not None:
            kept = CERTAIN - self.bursts.loss  # the kernel wants the chance that a packet of the bad state survives
            model = struct.pack("=IIII", self.bursts.enter, self.bursts.leave, kept, self.bursts.outside)
            options += attribute(5, attribute(_GILBERT_ELLIOTT, model))
        if self.table:
            options += attribute(2, struct.pack(f"={len(self.table)}h", *self.table))
        return options if self.seed is None else options + attribute(14, struct.pack("=Q", self.seed))

    @classmethod
    def decode(cls, options: bytes) -> "Netem":
        _, limit, loss, gap, duplicate, _ = _QOPT.unpack_from(options)
        more = attributes(options[_QOPT.size :])
        model = attributes(more[5]).get(_GILBERT_ELLIOTT) if 5 in more else None
        bursts = None
        if model is not None:
            enter, leave, kept, outside = struct.unpack("=IIII", model)
            bursts = Gemodel(enter, leave, CERTAIN - kept, outside)
        return cls(
            delay_ns=_number("=q", more[10]),
            jitter_ns=_number("=q", more[11]),
            rate=_number("=Q", more[8]) if 8 in more else _number("=I", more[6]),
            limit=limit,
            loss=loss,
            bursts=bursts,
            corrupt=_number("=I", more[4]),
            duplicate=duplicate,
            reorder=_number("=I", more[3]) if gap else 0,
            seed=_number("=Q", more[14]) if 14 in more else None,
        )


@dataclass(frozen=True)
class Htb:
    """The root of a tree of classes; what no filter and no priority names goes to `default`."""

    default: int

    kind: ClassVar[str] = "htb"

    def encode(self) -> bytes:
        return attribute(2, struct.pack("=IIIII", 3, 10, self.default, 0, 0))  # version, rate2quantum, default

    @classmethod
    def decode(cls, options: bytes) -> "Htb":
        return cls(struct.unpack_from("=II", attributes(options)[2], 4)[1])


@dataclass(frozen=True)
class HtbClass:
    """A share of a link in bytes/s; after a pause it may run `burst_ns` ahead of its rate. Priority 0 borrows first, 7 last."""

    rate: int
    ceiling: int
    burst_ns: int
    quantum: int  # bytes that it may send before the next class has its turn
    priority: int = 0

    kind: ClassVar[str] = "htb"

    def encode(self) -> bytes:
        burst = self.burst_ns // TICK_NS
        parameters = _HTB_CLASS.pack(
            0, _ETHERNET, 0, 0, 0, min(self.rate, 0xFFFFFFFF),
            0, _ETHERNET, 0, 0, 0, min(self.ceiling, 0xFFFFFFFF),
            burst, burst, self.quantum, 0, self.priority,
        )  # fmt: skip
        options = attribute(1, parameters) + attribute(6, struct.pack("=Q", self.rate))
        return options + attribute(7, struct.pack("=Q", self.ceiling))

    @classmethod
    def decode(cls, options: bytes) -> "HtbClass":
        more = attributes(options)
        values = _HTB_CLASS.unpack(more[1])
        rate = _number("=Q", more[6]) if 6 in more else values[5]
        ceiling = _number("=Q", more[7]) if 7 in more else values[11]
        return cls(rate, ceiling, values[12] * TICK_NS, values[14], values[16])


@dataclass(frozen=True)
class Bfifo:
    """A queue of `limit` bytes: what does not fit is dropped."""

    limit: int

    kind: ClassVar[str] = "bfifo"

    def encode(self) -> bytes:
        return struct.pack("=I", self.limit)

    @classmethod
    def decode(cls, options: bytes) -> "Bfifo":
        return cls(_number("=I", options))


@dataclass(frozen=True)
class FqCodel:
    """Flow queues under CoDel (RFC 8290) with the kernel's target of 5 ms in 100 ms; `limit` in packets."""

    limit: int
    ecn: bool

    kind: ClassVar[str] = "fq_codel"

    def encode(self) -> bytes:
        return attribute(2, struct.pack("=I", self.limit)) + attribute(4, struct.pack("=I", self.ecn))

    @classmethod
    def decode(cls, options: bytes) -> "FqCodel":
        more = attributes(options)
        return cls(_number("=I", more[2]), bool(_number("=I", more[4])))


@dataclass(frozen=True)
class Ingress:
    """The hook for what arrives at an interface."""

    kind: ClassVar[str] = "ingress"

    def encode(self) -> bytes:
        return b""

    @classmethod
    def decode(cls, options: bytes) -> "Ingress":
        return cls()


Qdisc = Netem | Htb | Bfifo | FqCodel | Ingress
_KINDS: Mapping[str, Any] = {kind.kind: kind for kind in (Netem, Htb, Bfifo, FqCodel, Ingress)}


def decode(kind: str, options: bytes) -> Qdisc | None:
    """A qdisc that the kernel has; None for a kind that no link here uses."""
    made: Qdisc | None = _KINDS[kind].decode(options) if kind in _KINDS else None
    return made


def redirect(index: int) -> bytes:
    """A filter's options: every packet leaves by the interface of this index (matchall with mirred)."""
    stolen, redirect_out = 4, 1
    parameters = struct.pack("=IIiiiiI", 0, 0, stolen, 0, 0, redirect_out, index)
    action = attribute(1, b"mirred\0") + attribute(2, attribute(2, parameters))
    return attribute(2, attribute(1, action))


def described(setting: Qdisc | HtbClass) -> str:
    """One line: "delay_ns 5000000 rate 125000000 limit 100"; what is off is left out."""
    named = [(field.name, getattr(setting, field.name)) for field in fields(setting) if field.name != "table"]
    words = [f"{name} {_word(value)}" for name, value in named if value not in (None, 0, False)]
    return " ".join([setting.kind, *words])


def _word(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _number(layout: str, data: bytes) -> int:
    return int(struct.unpack_from(layout, data)[0])
