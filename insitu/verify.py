"""Does this machine give the bits that the repository has on record for `hello.yaml`? If not, which version differs?

`python -m insitu.verify` puts the digest of this version on record.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from insitu import experiment, program
from scenarios.load import load

HELLO = program.PROJECT / "scenarios" / "hello.yaml"
RECORD = Path(__file__).parent / "recorded.json"
SEED = 0
MOST_SHOWN = 8


class Outcome(NamedTuple):
    """Whether the digests are equal, and a line for each thing to know."""

    equal: bool
    lines: list[str]


def measure(report: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Runs `hello.yaml`; its digest and the versions of everything that it can depend on."""
    with tempfile.TemporaryDirectory(prefix="insitu-verify-") as scratch:
        result = experiment.run(
            load(HELLO, (), experiment.shipped()), HELLO, SEED, Path(scratch) / "run", report=report
        )
        provenance = json.loads((result.folder / "provenance.json").read_text())
    return {"digest": result.summary["digest"], "versions": provenance["versions"]}


def compare(recorded: dict[str, Any], measured: dict[str, Any]) -> Outcome:
    """Pure: what the two digests and their versions say."""
    equal = recorded["digest"] == measured["digest"]
    if equal:
        return Outcome(True, [f"{measured['digest']}: the same bits as on record"])
    lines = [f"{measured['digest']}: on record is {recorded['digest']}"]
    differing = differences(recorded["versions"], measured["versions"])
    if not differing:
        return Outcome(
            False, [*lines, "every version is the one on record: this is a fault of insitu; please report it"]
        )
    more = [f"{len(differing) - MOST_SHOWN} more versions differ"] if len(differing) > MOST_SHOWN else []
    return Outcome(False, [*lines, *differing[:MOST_SHOWN], *more])


def differences(recorded: dict[str, str], here: dict[str, str]) -> list[str]:
    names = [*recorded, *(name for name in here if name not in recorded)]
    return [
        f"{name}: on record {recorded.get(name, 'none')}, here {here.get(name, 'none')}"
        for name in names
        if recorded.get(name) != here.get(name)
    ]


if __name__ == "__main__":
    RECORD.write_text(json.dumps(measure(print), indent=2) + "\n")
