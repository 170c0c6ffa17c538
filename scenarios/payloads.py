"""What can be wrong with a scenario's payload models."""

from collections.abc import Container, Iterator

from scenarios.quantity import show
from scenarios.schema import Scenario

# A payload is at its edge and, while it passes, at two tiers or the device: three times in the 3 GB that a guest has.
MOST_BYTES = 800_000_000


def problems(scenario: Scenario, models: Container[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each with its place; `models` are the published ones."""
    asked = {situation.model for situation in scenario.situations}
    for name, payload in scenario.payloads.items():
        if name in models:
            yield ("payloads", name), f'"{name}" is a published model; choose another name'
        elif payload.size > MOST_BYTES:
            most = show(MOST_BYTES, "size")
            yield ("payloads", name, "size"), f"does not fit a guest three times; write at most {most}"
        elif name not in asked:
            yield ("payloads", name), f"no situation asks for it; write {{time: 1 s.., model: {name}}}"
