"""The scenario language: what a user may write in a scenario file. What it means is decided in `planner.py`.

Quantities are strings with units and become integers of base units: bit/s, ns, bytes; shares become fractions of 1.
"""

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationInfo, model_validator

from scenarios import own_policies, quantity
from scenarios.expectation import Expectation
from scenarios.faults import CrossLink, Fault
from scenarios.fields import (
    Frequency,
    Name,
    Part,
    PositiveTime,
    Power,
    Rate,
    Route,
    Share,
    Size,
    SwitchName,
    TimeWindow,
    Window,
)
from scenarios.links import CongestionControl, Dynamics, LinkSpec
from scenarios.own_models import OwnFolder
from scenarios.profiles import MOST_PROFILES, Profile


class Gnb(Part):
    name: SwitchName
    link: LinkSpec = LinkSpec.model_validate({"rate": "10 Gbit/s", "delay": "1 ms"})
    radio: LinkSpec = LinkSpec.model_validate({"rate": "1 Gbit/s", "delay": "2 ms"})


class Region(Part):
    name: SwitchName
    link: LinkSpec = LinkSpec.model_validate({"rate": "10 Gbit/s", "delay": "5 ms"})
    gnbs: list[Gnb] = Field(min_length=1)


class Network(Part):
    """`segments: bulk` lets many TCP segments travel as one packet, which is faster and less exact.

    `links` are those beside the tree of core, regions and gNBs.
    """

    core: LinkSpec = LinkSpec.model_validate({"rate": "40 Gbit/s", "delay": "5 ms"})
    regions: list[Region] = Field(min_length=1)
    links: list[CrossLink] = []
    tcp: CongestionControl = "cubic"
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
    tcp: CongestionControl | None = None


class CentralLibrary(Part):
    """The central library holds every model that was published: those that ship, and `models`, a folder of the user's own."""

    models: OwnFolder | None = None
    tcp: CongestionControl | None = None


class Libraries(Part):
    central: CentralLibrary = CentralLibrary()
    local: Library = Library(cache="2 GB")  # type: ignore[arg-type]
    edge: Library = Library(cache="200 MB")  # type: ignore[arg-type]


class Slice(Part):
    """A share of every link. Without a guarantee it shares what the guarantees of the others leave.

    What slices leave of their guarantees is lent to those of priority 0 first.
    """

    name: Name
    guarantee: Share | None = None
    ceiling: Share = Fraction(1)
    priority: Annotated[int, Field(ge=0, le=7)] = 0
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
    """`count` devices that are alike: `phone` alone for no count, `phone1 … phone16` for `count: 16`.

    `link` is what a device has beside the radio that it shares with its cell: a rate, delay or loss of its own. Its `deadline`
    goes before that of the requests, and `power` is what inference may draw on average.
    """

    name: Name
    count: Annotated[int, Field(ge=1)] | None = None
    at: str
    device_class: str = Field("phone", alias="class")
    application: str = "digits"
    infer: Frequency = Fraction(1)
    slice: str = "default"
    deadline: PositiveTime | None = None
    power: Power | None = None
    route: Route = {}
    link: LinkSpec | None = None
    tcp: CongestionControl | None = None

    @property
    def names(self) -> list[str]:
        return [self.name] if self.count is None else [f"{self.name}{i}" for i in range(1, self.count + 1)]


class Situation(Part):
    """Which model fits a device that is at `location` during `time`; the first that matches counts."""

    model: str
    location: str | None = None
    time: TimeWindow = Window(start=0, end=None)


class Requests(Part):
    deadline: PositiveTime = 500_000_000


class Payload(Part):
    """Bytes in a model's place. `elastic`: in the blocks and variants of `digits`, so scaled that a byte for each weight is `size`.

    A device with a payload as its application has no model and infers nothing: it asks for the payload whenever a situation
    that names it begins, and keeps nothing.
    """

    size: Size
    elastic: bool = False


class Traffic(Part):
    """A constant stream from a node to each node that `to` names (a device group, a device or a library host)."""

    source: str = Field(alias="from")
    to: str
    rate: Rate
    slice: str = "default"
    transport: Literal["udp", "tcp"] = "udp"
    during: TimeWindow = Window(start=0, end=None)


class Policies(Part):
    """By name; `slicing` and `compression` also by `module:Class`, a file in the scenario's folder or an installed module."""

    slicing: str = "deadline"
    compression: str = "adaptive"
    caching: str = "lru"
    prefetch: str = "none"
    _folder: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _in_a_folder(self, info: ValidationInfo) -> "Policies":
        self._folder = (info.context or {}).get("folder")
        return self

    @property
    def folder(self) -> Path | None:
        """The scenario's, where a user's own modules are."""
        return self._folder

    @property
    def files(self) -> list[Path]:
        """The modules in the scenario's folder that policies come from."""
        found = [own_policies.file_of(name, self._folder) for name in (self.slicing, self.compression)]
        return sorted({file for file in found if file})


class Scenario(Part):
    """A whole scenario file."""

    name: Name
    duration: PositiveTime = 10_000_000_000
    network: Network
    libraries: Libraries = Libraries()
    slices: list[Slice] = [Slice(name="default")]
    profiles: list[Profile] = Field([], max_length=MOST_PROFILES)
    devices: list[Device] = Field(min_length=1)
    situations: list[Situation] = [Situation(model="digits")]
    payloads: dict[Name, Payload] = {}
    requests: Requests = Requests()
    traffic: list[Traffic] = []
    dynamics: list[Dynamics] = []
    faults: list[Fault] = []
    policies: Policies = Policies()
    controller: Literal["os-ken", "ryu"] = "os-ken"
    capture: list[str] = []
    expect: list[Annotated[Expectation, BeforeValidator(Expectation.parse)]] = []
    _settings: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _with_settings(self, info: ValidationInfo) -> "Scenario":
        self._settings = (info.context or {}).get("settings", ())
        return self

    @property
    def settings(self) -> tuple[str, ...]:
        """The `KEY=VALUE` that were put over the file."""
        return self._settings
