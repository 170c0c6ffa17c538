"""What all events have."""

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="kind", tag=str.lower, omit_defaults=False):
    """Something that happened at a node."""

    t: int
    node: str
