"""What can be wrong with a scenario although each of its parts is well written: references, sums, sizes."""

from scenarios.checks import devices, measuring, models, network, policies, slices
from scenarios.checks.finding import Finding
from scenarios.checks.models import Models
from scenarios.schema import Scenario


def problems(scenario: Scenario, shipped: Models | None = None) -> list[Finding]:
    """Everything that is wrong, each with its place; `shipped` are the models that ship (None: what names one is not checked)."""
    if too_many := list(devices.too_many(scenario)):
        return too_many  # naming them all would take long
    return [
        *network.problems(scenario),
        *slices.problems(scenario),
        *devices.problems(scenario),
        *models.problems(scenario, shipped),
        *policies.problems(scenario, models.published(scenario, shipped)),
        *measuring.problems(scenario),
    ]
