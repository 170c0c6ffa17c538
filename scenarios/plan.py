"""The plan: everything that is decided before a run. The machine executes it and decides nothing.

Times are ns since the run's start, rates bit/s, sizes bytes. `canonical` gives the one byte form of a plan, and `schema` its
JSON schema.
"""

import hashlib
from typing import Any, Literal, dataclass_transform

import msgspec

FORMAT = 4
OWN_POLICIES = "policies"  # the folder beside a plan with the modules that its policies come from
LIBRARY_PORT = 5000  # the customary port of an OCI registry
NORTHBOUND_PORT = 8080
OPENFLOW_PORT = 6653
TRAFFIC_PORT = 20000  # the first flow's; each flow has the next
GATEWAY = ("10.255.255.254", "02:00:0a:ff:ff:fe")  # every host's only neighbour: no ARP is ever needed


@dataclass_transform(frozen_default=True)
class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a plan."""


class Bursts(Part):
    """Gilbert-Elliott losses: a packet's chances, 0 … 1, to enter and to leave the bad state, and to be lost in it and outside."""

    enter: float
    leave: float
    loss: float
    outside: float


class Buffer(Part):
    """A queue before a link, of each slice."""

    discipline: Literal["fifo", "fq_codel"]
    bytes: int
    ecn: bool  # fq_codel marks instead of dropping


class Shape(Part):
    """What a link does to the packets of one direction. Shares are 0 … 1."""

    rate_bps: int
    delay_ns: int
    jitter_ns: int
    distribution: str  # of the jitter, a key of the plan's `distributions`; "" is uniform
    loss: float
    bursts: Bursts | None
    corrupt: float
    duplicate: float
    reorder: float
    limit: int  # packets that travel at once; without a `queue` they wait here too
    queue: Buffer | None
    burst_ns: int  # how far a class may run ahead of its rate after a pause


class Queue(Part):
    """A slice on one port: an HTB class, whose default class OpenFlow's `set_queue: number` selects (see linux/tree.py)."""

    number: int
    slice: str
    rate_bps: int
    ceiling_bps: int
    priority: int  # 0 is lent first what others leave of their guarantees, 7 last


class End(Part):
    """One end of a link and the shape of what leaves there. `port` is the OpenFlow port, 0 at a host.

    `seed` is netem's, for jitter and loss; queue n has `seed + n`. On a link whose queue is apart from its way, `wire` is the
    interface by which what leaves here goes on to the other end; "" where one netem is both.
    """

    node: str
    interface: str
    port: int
    shape: Shape
    queues: list[Queue]
    seed: int
    wire: str


class Link(Part):
    name: str
    ends: tuple[End, End]


class Host(Part):
    name: str
    role: Literal["central", "nef", "local", "edge", "device"]
    ip: str
    mac: str
    congestion_control: str
    ecn: bool  # asks for explicit congestion notification when it connects


class Switch(Part):
    name: str
    role: Literal["core", "region", "gnb", "cell"]
    dpid: int


class Slice(Part):
    name: str
    queue: int
    guarantee: float
    ceiling: float
    priority: int  # 0 … 7
    profiles: list[str]


class Profile(Part):
    """A QoS profile of the northbound: the rates that a session has, and how long one may last."""

    name: str
    down_bps: int
    up_bps: int
    priority: int  # 1 … 100, the highest first
    delay_ns: int | None  # the packet delay budget
    shortest_ns: int
    longest_ns: int
    status: Literal["ACTIVE", "INACTIVE", "DEPRECATED"]


class Library(Part):
    """One tier's service; `upstream` are the hosts to pull from, in order."""

    host: str
    tier: Literal["edge", "local", "central"]
    upstream: list[str]
    cache_bytes: int  # 0: holds everything
    retry_ns: list[int]  # the pauses before the second, third, … round over `upstream`


class Attachment(Part):
    """From `time_ns` on the device is in a gNB's cell, at a port of the cell's switch."""

    time_ns: int
    gnb: str
    cell: str
    port: int


class Need(Part):
    """From `time_ns` on, `model` is the one that fits what the device sees."""

    time_ns: int
    model: str


class Device(Part):
    host: str
    interface: str  # the switch's end of its port; it moves from cell to cell
    device_class: str
    macs_per_s: int
    load_bytes_per_s: int
    memory_bytes: int
    energy_per_mac_j: float
    power_w: float | None  # what inference may draw on average
    application: str
    infer_interval_ns: int
    phase_ns: int
    image_seed: int
    slice: str
    deadline_ns: int
    retry_ns: list[int]  # the pauses before the second, third, … attempt to get one model
    attachments: list[Attachment]
    needs: list[Need]


class Flow(Part):
    """A constant stream of background traffic."""

    name: str
    source: str
    destination: str
    port: int
    transport: Literal["udp", "tcp"]
    rate_bps: int  # of payload
    start_ns: int
    end_ns: int
    phase_ns: int
    queue: int


class Prefetch(Part):
    """At `time_ns` a library begins to pull a model that devices will ask it for."""

    time_ns: int
    library: str
    model: str


class Change(Part):
    """From `time_ns` on an end of a link (0 or 1) has another shape."""

    time_ns: int
    link: str
    end: int
    shape: Shape
    queues: list[Queue]


class Fault(Part):
    """At `time_ns` a link, a switch or the controller goes down, or comes back."""

    time_ns: int
    kind: Literal["link", "switch", "controller"]
    name: str
    up: bool


class Capture(Part):
    """A pcap of one interface: the first `snap_bytes` of each packet, and no more than `packets` of them."""

    name: str  # as the scenario has it: a link or a host
    host: str  # in whose namespace the interface is; "" for a switch's port
    interface: str
    snap_bytes: int
    packets: int


class Policies(Part):
    slicing: str
    compression: str
    caching: str
    prefetch: str
    files: dict[str, str]  # SHA-256 of each module of the user's own, which is in the run's folder under `policies`


class Machine(Part):
    clock: Literal["virtual", "real"]
    memory_mb: int
    tcp_buffer_bytes: int
    datapath: Literal["system", "netdev"] = "system"  # of Open vSwitch: the kernel's, or its own in userspace


class Plan(Part):
    format: int
    scenario: str
    seed: int
    duration_ns: int
    sample_interval_ns: int
    machine: Machine
    segments: Literal["exact", "bulk"]  # whether one packet on a link is one TCP segment, or up to 64 kB of them
    hosts: list[Host]
    switches: list[Switch]
    links: list[Link]
    changes: list[Change]  # in the order of their times
    faults: list[Fault]  # in the order of their times
    distributions: dict[
        str, list[int]
    ]  # netem's tables: the quantiles' distance from the mean in 1/8192 of the deviation
    slices: list[Slice]
    profiles: list[Profile]
    libraries: list[Library]
    devices: list[Device]
    prefetches: list[Prefetch]  # in the order of their times
    flows: list[Flow]
    captures: list[Capture]
    policies: Policies
    library_slice: str  # in which the tiers pull from one another
    models: dict[str, str]  # SHA-256 of each model's manifest
    held_out: str  # SHA-256 of the held-out images
    payloads: list[str]  # those of the models that are bytes alone; a device with one as application keeps nothing


class _Format(msgspec.Struct):
    format: int


def canonical(plan: Plan) -> bytes:
    """The one byte form: keys sorted, no spaces."""
    return msgspec.json.encode(plan, order="sorted")


def digest(plan: Plan) -> str:
    return "sha256:" + hashlib.sha256(canonical(plan)).hexdigest()


def parse(data: bytes) -> Plan:
    """Raises msgspec.DecodeError when the bytes are not a plan of this format."""
    found = msgspec.json.decode(data, type=_Format).format
    if found != FORMAT:
        raise msgspec.ValidationError(f"this plan has format {found}; this insitu reads format {FORMAT}")
    return msgspec.json.decode(data, type=Plan)


def schema() -> dict[str, Any]:
    return msgspec.json.schema(Plan)
