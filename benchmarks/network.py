"""Plans to measure, and the lines that a packet passes in them."""

import tempfile
from pathlib import Path

from benchmarks.theory import Line
from controller.paths import Paths
from scenarios import planner
from scenarios.load import load
from scenarios.plan import Plan

SEED = 1
NO_MODELS = planner.Published({"digits": "sha256:" + "0" * 64}, "sha256:" + "0" * 64)


def plan_of(scenario: str, seed: int = SEED) -> Plan:
    """The plan of a scenario's text. Raises ScenarioError."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scenario.yaml"
        file.write_text(scenario)
        return planner.decide(load(file), seed, NO_MODELS)


def lines(plan: Plan, source: str, target: str) -> list[Line]:
    """The lines from host to host: the source's own, then that of each switch's port on the path."""
    ends = {(end.node, end.port): end for link in plan.links for end in link.ends}
    path = [ends[source, 0], *(ends[hop.switch, hop.port] for hop in Paths(plan).path(source, target))]
    return [Line(end.shape.rate_bps, end.shape.delay_ns) for end in path]


def there_and_back(plan: Plan, source: str, target: str) -> list[Line]:
    return lines(plan, source, target) + lines(plan, target, source)
