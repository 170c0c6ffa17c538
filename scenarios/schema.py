"""The scenario language: what a user may write in a scenario file. What it means is decided in `planner.py`.

Quantities are strings with units and become integers of base units: bit/s, ns, bytes; shares become fractions of 1.
"""

import re
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from scenarios import quantity
from scenarios.expectation import Expectation

LONGEST_NAME = 50  # with "-local" and a number it is still a host name, which has at most 63 characters
# A switch is an interface, and an interface name has at most 15 characters; "-cell" is added to a gNB's name.
LONGEST_SWITCH_NAME = 10
LEAST_FREQUENCY = Fraction(1, 6000)
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_INTERFACE_OF_ANOTHER = re.compile(r"lo|all|default|ovs-.*|(eth|ue)[0-9]+|s[0-9]+-eth[0-9]+")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f'"{text}" is not a name; write lower-case letters, digits and single hyphens, a letter first')
    if len(text) > LONGEST_NAME:
        raise ValueError(f'"{text}" is too long; use at most {LONGEST_NAME} characters')
    return text


def _switch_name(text: str) -> str:
    if len(text) > LONGEST_SWITCH_NAME:
        raise ValueError(f'"{text}" is too long for an interface; use at most {LONGEST_SWITCH_NAME} characters')
    if _INTERFACE_OF_ANOTHER.fullmatch(text):
        raise ValueError(f'"{text}" is what the machine calls an interface of its own; choose another name')
    return _name(text)


def _positive(value: int) -> int:
    if value <= 0:
        raise ValueError("must be more than 0")
    return value


def _whole_bytes(rate: int) -> int:
    if rate % 8:
        raise ValueError(
            f"{rate} bit/s is not a whole number of bytes per second, in which the kernel counts; write {rate // 8 * 8 or 8} bit/s"
        )
    return rate


def _share(text: object) -> Fraction:
    value = quantity.parse(text, "share")
    if value > 1:
        raise ValueError(f'"{text}" is over 100 %; write at most 100 %')
    return value


def _frequency(text: object) -> Fraction:
    value = quantity.parse(text, "frequency")
    if value < LEAST_FREQUENCY:
        raise ValueError(f'"{text}" is too seldom; write at least {quantity.show(LEAST_FREQUENCY, "frequency")}')
    return value


def _window(text: object) -> "Window":
    """Reads "10 s..20 s", "30 s.." or "..20 s"."""
    if not isinstance(text, str) or text.count("..") != 1:
        written = f'"{text}" is not a time window; ' if isinstance(text, str) else ""
        raise ValueError(f'{written}write "10 s..20 s", "30 s.." or "..20 s"')
    start, end = (part.strip() for part in text.split(".."))
    window = Window(
        start=quantity.parse_integer(start, "time") if start else 0,
        end=quantity.parse_integer(end, "time") if end else None,
    )
    if window.end is not None and window.end <= window.start:
        raise ValueError(f'"{text}" ends before it starts; write the earlier time first')
    return window


def _route(value: object, read: ValidatorFunctionWrapHandler) -> dict[int, str]:
    route: dict[int, str] = read(value)
    if isinstance(value, dict) and len(route) < len(value):
        raise ValueError("two entries are for the same time; a device is at one gNB at a time")
    return route


def _quantity(dimension: str) -> BeforeValidator:
    return BeforeValidator(lambda text: quantity.parse_integer(text, dimension))


Name = Annotated[str, AfterValidator(_name)]
SwitchName = Annotated[str, AfterValidator(_switch_name)]
Rate = Annotated[int, _quantity("rate"), AfterValidator(_positive), AfterValidator(_whole_bytes)]
Time = Annotated[int, _quantity("time")]
PositiveTime = Annotated[int, _quantity("time"), AfterValidator(_positive)]
Size = Annotated[int, _quantity("size"), AfterValidator(_positive)]
Share = Annotated[Fraction, BeforeValidator(_share)]
Frequency = Annotated[Fraction, BeforeValidator(_frequency)]
Route = Annotated[dict[Time, str], WrapValidator(_route)]


class Part(BaseModel):
    """A piece of a scenario: unknown keys are errors, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Window(Part):
    """A span of virtual time, [start, end) in ns; no end means until the run ends."""

    start: int
    end: int | None


class LinkSpec(Part):
    """One link, the same in both directions. Rates count Ethernet frames without preamble and gap."""

    rate: Rate
    delay: Time = 0
    jitter: Time = 0
    loss: Share = Fraction(0)

    @model_validator(mode="after")
    def _jitter_within_delay(self) -> "LinkSpec":
        if self.jitter > self.delay:
            raise ValueError("jitter is over the delay, and a packet cannot arrive before it was sent; lower it")
        if self.loss == 1:
            raise ValueError("a loss of 100 % is no link; write less")
        return self


class Gnb(Part):
    name: SwitchName
    link: LinkSpec = LinkSpec.model_validate({"rate": "10 Gbit/s", "delay": "1 ms"})
    radio: LinkSpec = LinkSpec.model_validate({"rate": "1 Gbit/s", "delay": "2 ms"})


class Region(Part):
    name: SwitchName
    link: LinkSpec = LinkSpec.model_validate({"rate": "10 Gbit/s", "delay": "5 ms"})
    gnbs: list[Gnb] = Field(min_length=1)


class Network(Part):
    """`segments: bulk` lets many TCP segments travel as one packet, which is faster and less exact."""

    core: LinkSpec = LinkSpec.model_validate({"rate": "40 Gbit/s", "delay": "5 ms"})
    regions: list[Region] = Field(min_length=1)
    segments: Literal["exact", "bulk"] = "exact"

    @model_validator(mode="before")
    @classmethod
    def _gnbs_alone(cls, value: Any) -> Any:
        """`gnbs` without regions stands for one region called "region"."""
        if not isinstance(value, dict):
            return value
        if "gnbs" in value and "regions" in value:
            raise ValueError('write "regions" with their "gnbs", or "gnbs" alone, not both')
        if "gnbs" not in value and "regions" not in value:
            raise ValueError('there are no gNBs; write "gnbs: [{name: my-gnb}]"')
        rest = {key: part for key, part in value.items() if key != "gnbs"}
        return rest | {"regions": [{"name": "region", "gnbs": value["gnbs"]}]} if "gnbs" in value else value


class Library(Part):
    """A tier's library; a tier with a cache pulls what it lacks from the tier above and keeps that much of it."""

    cache: Size


class CentralLibrary(Part):
    """The central library holds every model that was published."""


class Libraries(Part):
    central: CentralLibrary = CentralLibrary()
    local: Library = Library(cache="2 GB")  # type: ignore[arg-type]
    edge: Library = Library(cache="200 MB")  # type: ignore[arg-type]


class Slice(Part):
    """A share of every link. Without a guarantee it shares what the guarantees of the others leave."""

    name: Name
    guarantee: Share | None = None
    ceiling: Share = Fraction(1)
    profiles: list[str] = []

    @model_validator(mode="after")
    def _ceiling_over_guarantee(self) -> "Slice":
        if self.guarantee == 0:
            raise ValueError("a guarantee of 0 % is none; leave it out")
        if self.ceiling == 0:
            raise ValueError("a ceiling of 0 % lets nothing through; write more")
        if self.ceiling < (self.guarantee or 0):
            least = quantity.show(self.guarantee or 0, "share")
            raise ValueError(f"the ceiling is under the guarantee; raise it to {least} at least")
        return self


class Device(Part):
    """`count` devices that are alike: `phone` alone for no count, `phone1 … phone16` for `count: 16`."""

    name: Name
    count: Annotated[int, Field(ge=1)] | None = None
    at: str
    device_class: str = Field("phone", alias="class")
    application: str = "digits"
    infer: Frequency = Fraction(1)
    slice: str = "default"
    route: Route = {}

    @property
    def names(self) -> list[str]:
        return [self.name] if self.count is None else [f"{self.name}{i}" for i in range(1, self.count + 1)]


class Situation(Part):
    """Which model fits a device that is at `location` during `time`; the first that matches counts."""

    model: str
    location: str | None = None
    time: Annotated[Window, BeforeValidator(_window)] = Window(start=0, end=None)


class Requests(Part):
    deadline: PositiveTime = 500_000_000


class Traffic(Part):
    """A constant stream from a node to each node that `to` names (a device group, a device or a library host)."""

    source: str = Field(alias="from")
    to: str
    rate: Rate
    slice: str = "default"
    transport: Literal["udp", "tcp"] = "udp"
    during: Annotated[Window, BeforeValidator(_window)] = Window(start=0, end=None)


class Policies(Part):
    slicing: str = "deadline"
    compression: str = "adaptive"
    caching: str = "lru"


class Scenario(Part):
    """A whole scenario file."""

    name: Name
    duration: PositiveTime = 10_000_000_000
    network: Network
    libraries: Libraries = Libraries()
    slices: list[Slice] = [Slice(name="default")]
    devices: list[Device] = Field(min_length=1)
    situations: list[Situation] = [Situation(model="digits")]
    requests: Requests = Requests()
    traffic: list[Traffic] = []
    policies: Policies = Policies()
    expect: list[Annotated[Expectation, BeforeValidator(Expectation.parse)]] = []
