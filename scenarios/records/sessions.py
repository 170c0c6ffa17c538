"""Sessions, as the controller decides, keeps and ends them."""

from typing import Literal

from scenarios.records.event import Event


class SessionAsked(Event, frozen=True):
    """Somebody asked the controller for a session; rates at the links, `down_bps` towards the device."""

    session: str
    slice: str
    device: str
    server: str
    profile: str
    download: str  # "" without one
    down_bps: int
    up_bps: int
    duration_ns: int


class Session(Event, frozen=True):
    """The controller's decision about a session: what it granted, and the time that it was charged for deciding."""

    session: str
    slice: str
    device: str
    requested_bps: int
    granted_bps: int
    decision: Literal["granted", "reduced", "refused"]
    variant: str = ""  # "" where the policy leaves it to the library
    charged_ns: int = 0


class SessionAvailable(Event, frozen=True):
    """The kernel has the session's classes at all ports of its path, and all its switches have confirmed its flows."""

    session: str
    slice: str
    queue: int


class SessionChanged(Event, frozen=True):
    """A session that lasts has another rate, variant, path or end. Causes: POLICY, HANDOVER, FAILURE, EXTENDED."""

    session: str
    slice: str
    granted_bps: int
    variant: str
    cause: str


class SessionEnded(Event, frozen=True):
    """Nothing of the session is left. Causes are CAMARA's: DURATION_EXPIRED, DELETE_REQUESTED, NETWORK_TERMINATED."""

    session: str
    slice: str
    cause: str = ""


class PolicyFailed(Event, frozen=True):
    """A policy raised or decided the impossible, and was not followed. `view`: the file in `logs` that made it so, if any."""

    why: str
    view: str = ""


class Notified(Event, frozen=True):
    """A session's sink was told of a status, or could not be: `answer` is its last HTTP status, 0 for none."""

    session: str
    qos_status: str
    attempts: int
    answer: int
