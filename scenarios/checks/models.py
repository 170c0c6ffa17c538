"""Models: a user's own, payloads, and whether every device has one that fits it wherever and whenever it is."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from scenarios.checks.finding import Finding, unknown
from scenarios.names import gnb_names
from scenarios.quantity import show
from scenarios.schema import Scenario
from scenarios.situations import first_gap

Models = Mapping[str, Collection[str]]  # the names of each model's variants

# A payload is at its edge and, while it passes, at two tiers or the device: three times in the 3 GB that a guest has.
MOST_BYTES = 800_000_000


def problems(scenario: Scenario, shipped: Models | None) -> Iterator[Finding]:
    """`shipped` are the models that ship; None: not known, and what names a model is not checked."""
    models = published(scenario, shipped)
    yield from _own_models(scenario, shipped or {})
    yield from _payloads(scenario, models or {})
    yield from _situations(scenario, None if models is None else sorted(models))


def published(scenario: Scenario, shipped: Models | None) -> Models | None:
    """The models that ship and the user's own."""
    own = scenario.libraries.central.models
    return None if shipped is None else {**shipped, **(own.variants if own else {})}


def _own_models(scenario: Scenario, shipped: Models) -> Iterator[Finding]:
    own = scenario.libraries.central.models
    if own and (twice := sorted(shipped.keys() & own.variants)):
        yield ("libraries", "central", "models"), f'the model "{twice[0]}" ships; publish yours by another name'


def _payloads(scenario: Scenario, models: Models) -> Iterator[Finding]:
    asked = {situation.model for situation in scenario.situations}
    for name, payload in scenario.payloads.items():
        if name in models:
            yield ("payloads", name), f'"{name}" is a published model; choose another name'
        elif payload.size > MOST_BYTES:
            most = show(MOST_BYTES, "size")
            yield ("payloads", name, "size"), f"does not fit a guest three times; write at most {most}"
        elif name not in asked:
            yield ("payloads", name), f"no situation asks for it; write {{time: 1 s.., model: {name}}}"


def _situations(scenario: Scenario, models: Sequence[str] | None) -> Iterator[Finding]:
    gnbs = gnb_names(scenario)
    models = None if models is None else [*models, *scenario.payloads]
    for s, situation in enumerate(scenario.situations):
        if situation.location is not None and situation.location not in gnbs:
            yield ("situations", s, "location"), unknown("gNB", situation.location, gnbs)
        if models is not None and situation.model not in models:
            yield ("situations", s, "model"), unknown("model", situation.model, models)
    for d, device in enumerate(scenario.devices):
        base, _, situation_name = device.application.partition("@")
        if situation_name:
            yield ("devices", d, "application"), f'"{device.application}" fits one situation only; write "{base}"'
        elif models is not None and device.application not in models:
            yield ("devices", d, "application"), unknown("model", device.application, models)
        elif device.application not in scenario.payloads and (gap := first_gap(scenario, device)):
            yield (
                ("devices", d, "application"),
                f"no situation of {base} holds at {gap[1]} from {show(gap[0], 'time')} on; "
                f"end the situations with {{model: {base}}}",
            )
