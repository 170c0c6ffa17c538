"""What handlers get and give: one request, one answer."""

from typing import Any, NamedTuple


class Call(NamedTuple):
    """A request whose form is right so far; `resource` is what its path names."""

    resource: str
    body: bytes
    client: str  # its bearer token; "" where it has none
    correlator: str | None


class Answer(NamedTuple):
    """`body` is what msgspec encodes as JSON; None is no body."""

    status: int
    body: Any = None
