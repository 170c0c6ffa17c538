"""What a session is, from the request to the end. Pure data, which northbound, policies and switches share."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Status = Literal["REQUESTED", "AVAILABLE", "UNAVAILABLE"]  # CAMARA's qosStatus
Direction = tuple[str, int]  # a link's name, and which of its ends sends


class Ports(NamedTuple):
    """A range of TCP and UDP ports, both ends included."""

    first: int
    last: int


class Candidate(NamedTuple):
    """A variant that would do for a download: what is missing of it, and the least rate at which that arrives in time."""

    variant: str
    bytes: int
    accuracy: float  # 0 … 1, as it was measured when the model was published
    rate_bps: int


@dataclass(frozen=True)
class Request:
    """A flow that is to get a session: a download's, with its candidates and deadline, or anybody's.

    Rates are at the links, headers included. `deadline_ns` is of the machine's monotonic clock.
    """

    id: str  # the session's, a UUID
    device: str  # hosts of the plan
    server: str
    slice: str
    profile: str
    down_bps: int  # towards the device
    up_bps: int  # from the device
    duration_ns: int
    device_ports: tuple[Ports, ...] = ()  # empty: all
    server_ports: tuple[Ports, ...] = ()
    download: str = ""
    deadline_ns: int | None = None
    candidates: tuple[Candidate, ...] = ()


@dataclass
class Session:
    """A request and what became of it. Its `queue` is the number of its class at every port of its path."""

    request: Request
    queue: int
    down_bps: int  # granted
    up_bps: int
    variant: str  # that the policy chose; "" leaves it to the library
    status: Status
    started_ns: int  # of the monotonic clock, as all times here
    expires_ns: int
    path: tuple[Direction, ...] = ()  # towards the device
    back: tuple[Direction, ...] = ()
    switches: tuple[str, ...] = ()  # that have its flows, under its queue as cookie
    ended: str = ""  # CAMARA's statusInfo, or what else ended it
