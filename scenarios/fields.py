"""The kinds of values in a scenario file: names, quantities, windows of time. Each error says what would be right."""

import re
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidatorFunctionWrapHandler, WrapValidator

from scenarios import quantity

LONGEST_NAME = 50  # with "-local" and a number it is still a host name, which has at most 63 characters
# A switch is an interface, and an interface name has at most 15 characters; "-cell" is added to a gNB's name.
LONGEST_SWITCH_NAME = 10
LEAST_FREQUENCY = Fraction(1, 6000)
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_INTERFACE_OF_ANOTHER = re.compile(r"lo|all|default|ovs-.*|(eth|ue)[0-9]+|s[0-9]+-eth[0-9]+|w[0-9]+[ab]")


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
Power = Annotated[int, _quantity("power"), AfterValidator(_positive)]
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


TimeWindow = Annotated[Window, BeforeValidator(_window)]
