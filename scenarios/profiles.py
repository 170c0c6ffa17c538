"""QoS profiles: what a session of CAMARA Quality-On-Demand is promised. Those that are built in, each figure with its source."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from scenarios.camara import CAMARA_UNITS, LONGEST_SESSION, MOST_OF_A_UNIT, camara_rate
from scenarios.fields import Part, PositiveTime, Rate, TimeWindow, Window
from scenarios.quantity import show
from scenarios.tables import SECOND

MOST_PROFILES = 90  # CAMARA's list of profiles has at most 100, those that are built in among them


def _sayable(rate: int) -> int:
    if camara_rate(rate) is None:
        unit = next(factor for factor in CAMARA_UNITS.values() if rate // factor <= MOST_OF_A_UNIT)
        near = show(max(1, rate // unit) * unit, "rate")
        raise ValueError(
            f"CAMARA cannot say {show(rate, 'rate')}, only whole numbers up to {MOST_OF_A_UNIT} of a unit; write {near}"
        )
    return rate


def _profile_name(text: str) -> str:
    if not re.fullmatch("[a-zA-Z0-9_.-]{3,256}", text):
        raise ValueError(f'"{text}" is not a profile\'s name; write 3 to 256 letters, digits, ".", "_" and "-"')
    return text


ProfileRate = Annotated[Rate, AfterValidator(_sayable)]
ProfileName = Annotated[str, AfterValidator(_profile_name)]


class Profile(Part):
    """What a session gets: `down` and `up` are CAMARA's targetMin…Rate, `delay` its packetDelayBudget; `duration` is from the
    shortest to the longest that a session may last. The lower `priority`, the higher it is."""

    name: ProfileName
    down: ProfileRate
    up: ProfileRate
    priority: Annotated[int, Field(ge=1, le=100)] = 50
    delay: PositiveTime | None = None
    duration: TimeWindow = Window(start=SECOND, end=LONGEST_SESSION)
    status: Literal["ACTIVE", "INACTIVE", "DEPRECATED"] = "ACTIVE"

    @model_validator(mode="after")
    def _lasts(self) -> "Profile":
        if self.longest_ns < self.shortest_ns:
            raise ValueError('a session lasts "1 s..24 h" where nothing else is said; write both ends of the duration')
        return self

    @property
    def shortest_ns(self) -> int:
        return max(SECOND, self.duration.start)

    @property
    def longest_ns(self) -> int:
        return self.duration.end or LONGEST_SESSION


def _built_in(name: str, down: str, up: str, priority: int, delay: str) -> Profile:
    return Profile.model_validate({"name": name, "down": down, "up": up, "priority": priority, "delay": delay})


# Downward rates: CAMARA's "QoS Profiles Mapping Table (reference draft)", its example for wide-area networks. It has no rates
# upward: a quarter here, but for QOS_E, whose stable latency is for both directions.
# Priority and packet delay budget: default values of a 5QI in 3GPP TS 23.501, table 5.7.4-1. QOS_E is 5QI 3 (real-time gaming),
# QOS_L, M and S are 5QI 6, 8 and 9 (buffered video, TCP), by falling priority.
BUILT_IN = (
    _built_in("QOS_S", "4 Mbit/s", "1 Mbit/s", 90, "300 ms"),
    _built_in("QOS_M", "8 Mbit/s", "2 Mbit/s", 80, "300 ms"),
    _built_in("QOS_L", "20 Mbit/s", "5 Mbit/s", 60, "300 ms"),
    _built_in("QOS_E", "500 kbit/s", "500 kbit/s", 30, "50 ms"),
)


def offered(own: list[Profile]) -> list[Profile]:
    """Those that are built in and a scenario's own, which go before one of the same name."""
    return list({profile.name: profile for profile in (*BUILT_IN, *own)}.values())
