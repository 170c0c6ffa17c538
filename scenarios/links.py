"""How a scenario describes a link, and how it may change while the run goes on."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, model_validator

from scenarios import quantity, tables
from scenarios.fields import Part, PositiveTime, Rate, Share, Time, TimeWindow, Window
from scenarios.tables import Distribution, Trace

CongestionControl = Literal["cubic", "bbr", "dctcp", "reno"]
Towards = Literal["up", "down"]  # up: from a device to its gNB, on to its region, the core, the central site
MOST_JITTER = 2 * 10**9  # netem keeps a jitter in 31 bits of ns

_Table = TypeVar("_Table")


class Length(NamedTuple):
    """How much a queue holds."""

    amount: int
    unit: Literal["bytes", "ns"]


def _length(text: object) -> Length:
    """Reads "100 kB" or "20 ms"."""
    unit = text.strip().lstrip("+-.0123456789 ") if isinstance(text, str) else ""
    if unit in quantity.UNITS["time"]:
        made = Length(quantity.parse_integer(text, "time"), "ns")
    else:
        made = Length(quantity.parse_integer(text, "size"), "bytes")
    if made.amount == 0:
        raise ValueError("a queue of nothing lets nothing through; write more")
    return made


def _read(text: object, info: ValidationInfo, what: str, read: Callable[[str, str], _Table]) -> _Table:
    """The table in a file, whose path is relative to the scenario's folder."""
    if not isinstance(text, str):
        raise ValueError(f"write the path of {what} here")
    folder = (info.context or {}).get("folder", Path())
    try:
        return read(text, (folder / text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f'"{text}" cannot be read: {error.strerror}; write the path of {what}') from None
    except UnicodeDecodeError:
        raise ValueError(f'"{text}" is not a text file; write the path of {what}') from None


def _distribution(text: object, info: ValidationInfo) -> Distribution:
    if isinstance(text, Distribution):
        return text
    built_in = tables.distribution(text) if isinstance(text, str) else None
    if built_in is not None:
        return built_in
    if isinstance(text, str) and not set(text) & set("./"):
        raise ValueError(
            f'no distribution "{text}"; write uniform, normal, pareto, or the path of a table such as my.dist'
        )
    return _read(text, info, "a table", tables.read_distribution)


def _trace(text: object, info: ValidationInfo) -> Trace:
    return text if isinstance(text, Trace) else _read(text, info, "a trace", tables.read_trace)


def _possible(share: Fraction) -> Fraction:
    if share == 1:
        raise ValueError("a loss of 100 % is no link; write less")
    return share


def _bounded(jitter: int) -> int:
    if jitter > MOST_JITTER:
        raise ValueError(f"a jitter is at most {quantity.show(MOST_JITTER, 'time')}")
    return jitter


Loss = Annotated[Share, AfterValidator(_possible)]
Jitter = Annotated[Time, AfterValidator(_bounded)]
Queue = Annotated[Length, BeforeValidator(_length)]


class Bursts(Part):
    """Losses in bursts (Gilbert-Elliott): each packet may enter or leave the bad state; `loss` in it, `outside` out of it."""

    enter: Share
    leave: Share
    loss: Share = Fraction(1)
    outside: Share = Fraction(0)

    @model_validator(mode="after")
    def _comes_and_goes(self) -> "Bursts":
        if not self.enter or not self.leave:
            raise ValueError("a chance of 0 % to enter or to leave makes one state for ever; write more, or use loss")
        return self


class Direction(Part):
    """What may be said of a link, or of one direction of it alone."""

    rate: Rate | None = None
    delay: Time | None = None
    jitter: Jitter | None = None
    distribution: Annotated[Distribution, BeforeValidator(_distribution)] | None = None
    loss: Loss | None = None
    bursts: Bursts | None = None
    corrupt: Share | None = None
    duplicate: Share | None = None
    reorder: Share | None = None
    queue: Queue | None = None
    aqm: Literal["fifo", "fq_codel"] | None = None
    ecn: bool | None = None

    @model_validator(mode="after")
    def _one_kind_of_loss(self) -> "Direction":
        if self.loss and self.bursts:
            raise ValueError("write loss or bursts, not both; bursts have a loss outside of them too")
        if self.ecn is not None and self.aqm != "fq_codel":
            raise ValueError("only aqm: fq_codel marks packets; write it too, or leave ecn out")
        return self


class LinkSpec(Direction):
    """One link. Rates count Ethernet frames without preamble and gap; `up` and `down` say what is otherwise in one direction."""

    rate: Rate
    delay: Time = 0
    jitter: Jitter = 0
    loss: Loss = Fraction(0)
    up: Direction = Direction()
    down: Direction = Direction()

    @model_validator(mode="after")
    def _no_packet_before_it_was_sent(self) -> "LinkSpec":
        for towards in TOWARDS:
            if wrong := problem(self.towards(towards)):
                raise ValueError(wrong)
        return self

    def towards(self, towards: Towards) -> "LinkSpec":
        """The link as it is in one direction."""
        own = self.up if towards == "up" else self.down
        said = {name: getattr(own, name) for name in own.model_fields_set}
        if "loss" in said:
            said["bursts"] = None
        elif "bursts" in said:
            said["loss"] = Fraction(0)
        return self.model_copy(update=said | {"up": Direction(), "down": Direction()})


TOWARDS: tuple[Towards, Towards] = ("up", "down")


def problem(spec: LinkSpec) -> str:
    """What a link cannot do: let a packet arrive before it was sent."""
    distribution = spec.distribution or Distribution("")
    if spec.delay + spec.jitter * distribution.earliest >= 0:
        return ""
    if not distribution.table:
        return "jitter is over the delay, and a packet cannot arrive before it was sent; lower it"
    most = spec.delay / -distribution.earliest
    shown = quantity.show(int(most) // 1000 * 1000, "time")
    return f"a {distribution.name} jitter would let packets arrive before they were sent; write at most {shown}"


class Dynamics(Part):
    """A change of a link: a step `at` a time, a ramp `during` a window from what was to what is written, or a `trace` of its rate.

    Ramps and Mahimahi traces take a step `every` so often.
    """

    link: str
    towards: Towards | None = None
    at: Time | None = None
    during: TimeWindow | None = None
    every: PositiveTime = 100_000_000
    rate: Rate | None = None
    delay: Time | None = None
    jitter: Jitter | None = None
    loss: Loss | None = None
    trace: Annotated[Trace, BeforeValidator(_trace)] | None = None

    @model_validator(mode="after")
    def _one_kind_of_change(self) -> "Dynamics":
        if self.at is not None and self.during is not None:
            raise ValueError("write at for a step or during for a ramp, not both")
        if self.trace is None and not self.values:
            raise ValueError("nothing changes; write a rate, delay, jitter, loss or trace")
        if self.trace is not None and (self.values or self.at is not None):
            raise ValueError("a trace gives the rate during a window; write the rest as another change")
        if self.trace is None and self.at is None and (self.during is None or self.during.end is None):
            raise ValueError('when? write at: "10 s" for a step, or during: "10 s..20 s" for a ramp')
        return self

    @property
    def values(self) -> dict[str, int | Fraction]:
        """What a step or ramp leads to."""
        said = {name: getattr(self, name) for name in ("rate", "delay", "jitter", "loss")}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def window(self) -> Window:
        if self.at is not None:
            return Window(start=self.at, end=self.at + 1)
        return self.during or Window(start=0, end=None)
