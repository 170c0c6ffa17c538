"""A link for any Mininet script: `Mininet(topo, link=Link)`. It takes TCLink's parameters, and those of a scenario's links.

    net.addLink(h1, s1, rate="10 Gbit/s", delay="5 ms", queue="20 ms", params1={"loss": "1 %"})

TCLink's: `bw` (Mbit/s), `delay` and `jitter` ("5ms", or a number of us), `loss` (%), `max_queue_size` (packets), `enable_ecn`.
A scenario's: `rate delay jitter distribution loss bursts corrupt duplicate reorder queue aqm ecn`, as strings. Without a rate it is
40 Gbit/s.
`intf.config(bw=5)` changes one direction while packets are on their way. Open vSwitch's queues and links go together:
`queues={1: 0.4, 2: (0.3, 0.6)}` gives queue 1 of that port 40 % of the rate, queue 2 30 % and at most 60 %.
"""

import difflib
import itertools
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import mininet.link
from mininet.node import Node
from pydantic import ValidationError

from linux import namespace, netlink, tree
from linux.netlink import Netlink
from scenarios import shaping
from scenarios.links import LinkSpec
from scenarios.plan import End, Queue

UNLIMITED = "40 Gbit/s"  # the fastest rate that is known to be exact
_OURS = tuple(name for name in LinkSpec.model_fields if name not in ("up", "down"))
_TCLINKS = ("bw", "max_queue_size", "enable_ecn")
# What Mininet itself gives to a link and an interface, or TCLink to `tc`, without a meaning here
_PASSED_ON = (
    *("port", "mac", "ip", "ifconfig", "up", "moveIntfFn", "use_htb", "gro", "txo", "rxo", "speedup", "intf"),
    *(f"{name}{end}" for name in ("port", "intfName", "addr", "params", "cls") for end in (1, 2)),
)
_numbers = itertools.count()


class Interface(mininet.link.TCIntf):
    """One end of a link. It is a TCIntf, so that Mininet sets it again after Open vSwitch has taken, and cleared, it."""

    _shaped: End | None = None

    def config(self, **params: Any) -> dict[str, Any]:
        """Sets what is given; the rest stays. Raises ValueError for what no link can do."""
        self.params: dict[str, Any] = {**self.params, **params}
        result: dict[str, Any] = mininet.link.Intf.config(
            self, **{k: v for k, v in params.items() if k in ("mac", "ip", "ifconfig", "up")}
        )
        if getattr(self.link, "ready", False):
            self.shape()
        return result

    def shape(self) -> None:
        """Makes the queues of this end and its wire, or changes them as they are."""
        spec = _spec(f"{self.name}", self.params)
        made = shaping.shape(spec, "virtual" if _virtual() else "real", wired=True)
        seed = self._shaped.seed if self._shaped else int.from_bytes(os.urandom(6), "big")
        queues = _queues(spec.rate, self.params.get("queues") or {})
        end = End(
            node=self.node.name, interface=self.name, port=0, shape=made, queues=queues, seed=seed, wire=self.wire
        )
        table = () if spec.distribution is None else spec.distribution.table
        if self._shaped and self._shaped.shape.distribution and not table:
            raise ValueError(f"{self.name}: the kernel does not take a distribution back; give another")
        with self._routing() as there:
            index = socket.if_nametoindex(self.name)
            there.request(tree.sending(end, index, change=tree.is_shaped(index, there)))
        with closing(Netlink()) as here:
            wire, arriving = socket.if_nametoindex(self.wire), socket.if_nametoindex(self.arriving)
            if self._shaped is None:
                here.request(
                    [tree.wire(end, wire, table), *tree.onto_wire(end, arriving, wire), netlink.up(wire, self.wire)]
                )
            else:
                here.request([tree.wire(end, wire, table, change=True)])
        self._shaped = end

    def readings(self) -> list[tree.Reading]:
        """Every setting as it was asked for and as the kernel has it."""
        assert self._shaped is not None, "a link shapes its ends when it is made"
        with self._routing() as there:
            index = socket.if_nametoindex(self.name)
            found = list(tree.read_back(self._shaped, index, there, tree.qdiscs(there, index)))
        with closing(Netlink()) as here:
            wire = socket.if_nametoindex(self.wire)
            return [*found, tree.read_back_wire(self._shaped, wire, tree.qdiscs(here, wire))]

    @property
    def wire(self) -> str:
        """The interface by which what this one sends goes on to the other end."""
        return str(self.link.wires[1 if self.link.intf1 is self else 0])

    @property
    def arriving(self) -> str:
        return str(self.link.wires[0 if self.link.intf1 is self else 1])

    @contextmanager
    def _routing(self) -> Iterator[Netlink]:
        with namespace.inside_of(_namespace(self.node)), closing(Netlink()) as there:
            yield there


class Link(mininet.link.Link):
    """Two interfaces, each direction with its own settings (`params1` for what the first node sends)."""

    def __init__(self, node1: Node, node2: Node, **params: Any) -> None:
        self.ready = False
        number = next(_numbers)
        self.wires = (f"w{os.getpid() % 100000}-{number}a", f"w{os.getpid() % 100000}-{number}b")
        for key in ("params1", "params2"):
            _spec(f"{node1}-{node2}", {**params, **(params.get(key) or {})})
        super().__init__(node1, node2, **{**params, "intf": Interface})
        self.ready = True
        self.intf1.shape()
        self.intf2.shape()

    def makeIntfPair(
        self, intfname1: str, intfname2: str, addr1: str | None, addr2: str | None, node1: Node, node2: Node, **_: Any
    ) -> None:
        """Mininet's Link calls this: each end is a pair with an interface of the wire, which stays in this namespace."""
        ends = ((self.wires[0], intfname1, addr1, node1), (self.wires[1], intfname2, addr2, node2))
        with closing(Netlink()) as here:
            for wire, name, mac, node in ends:
                with _namespace(node).open() as there:
                    here.request([netlink.veth(wire, name, None, mac, there.fileno())])


def _namespace(node: Node) -> Path:
    return Path(f"/proc/{node.pid if node.inNamespace else 'self'}/ns/net")


def _virtual() -> bool:
    """Whether the machine's clock waits for its programs: the kernel's command line says so."""
    return "time-travel" in Path("/proc/cmdline").read_text()


def _spec(where: str, params: Mapping[str, Any]) -> LinkSpec:
    """What one direction is to be. Raises ValueError in one line."""
    known = (*_OURS, *_TCLINKS, *_PASSED_ON, "queues")
    for name in params:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(
                f'{where}: no parameter "{name}" of a link' + (f'; did you mean "{near[0]}"?' if near else "")
            )
    said = {name: params[name] for name in _OURS if params.get(name) is not None}
    said |= {name: f"{said[name]} us" for name in ("delay", "jitter") if isinstance(said.get(name), int | float)}
    if isinstance(said.get("loss"), int | float):
        said["loss"] = f"{said['loss']} %"
    if params.get("bw") is not None:
        said["rate"] = f"{params['bw']} Mbit/s"
    if params.get("max_queue_size") is not None:
        said["queue"] = f"{params['max_queue_size'] * shaping.FRAME_BYTES} B"
    if params.get("enable_ecn"):
        said["aqm"] = "fq_codel"
    try:
        spec = LinkSpec.model_validate({"rate": UNLIMITED, **said})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"{where}: {place}: {first['msg'].removeprefix('Value error, ')}") from None
    if wrong := shaping.queue_problem(spec):
        raise ValueError(f"{where}: queue: {wrong}")
    if wrong := shaping.way_problem(spec, wired=True):
        raise ValueError(f"{where}: {wrong}")
    return spec


def _queues(rate: int, shares: Mapping[int, float | tuple[float, float]]) -> list[Queue]:
    """Open vSwitch's queues; queue 0, for what names none, has what the others leave."""
    pairs = {number: share if isinstance(share, tuple) else (share, 1.0) for number, share in shares.items()}
    rest = 1 - sum(share for share, _ in pairs.values())
    if rest <= 0 and 0 not in pairs:
        raise ValueError("the queues leave nothing for queue 0, which takes what names none")
    given = ({0: (rest, 1.0)} | pairs) if pairs else {}
    return [
        Queue(
            number=n,
            slice=f"queue {n}",
            rate_bps=int(rate * share) // 8 * 8,
            ceiling_bps=int(rate * most) // 8 * 8,
            priority=0,
        )
        for n, (share, most) in sorted(given.items())
    ]
