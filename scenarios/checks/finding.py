"""How it is said that something in a scenario is wrong."""

import difflib
from collections.abc import Sequence

from scenarios.names import Place

Finding = tuple[Place, str]
MOST_SHOWN = 8


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    some = ", ".join(known[:MOST_SHOWN]) + (", …" if len(known) > MOST_SHOWN else "")
    return f'no {kind} "{name}"; ' + (f'did you mean "{near[0]}"?' if near else f"known are {some}")
