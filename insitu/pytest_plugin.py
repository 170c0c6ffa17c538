"""Scenarios as tests: `pytest --insitu scenarios/` runs every scenario file that has `expect:`; tests in Python have `insitu_run`.

pytest loads this whenever it starts, so what is heavy is imported by the test that needs it.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from insitu.api import Run

_KEYS = re.compile(
    r"^(network|devices|expect)\s*:", re.MULTILINE
)  # at the top of a scenario's file, also of a broken one


class ScenarioFailed(Exception):
    """What a run says against its scenario, a line for each thing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("insitu")
    group.addoption("--insitu", action="store_true", help="every scenario file (.yaml) with `expect:` is a test")
    group.addoption(
        "--insitu-out",
        type=Path,
        metavar="DIR",
        help="where the folders of runs stay; by default among pytest's temporary ones",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if not parent.config.getoption("--insitu") or file_path.suffix not in (".yaml", ".yml"):
        return None
    keys = set(_KEYS.findall(file_path.read_text(encoding="utf-8", errors="replace")))
    is_meant = "expect" in keys and len(keys) > 1
    return ScenarioFile.from_parent(parent, path=file_path) if is_meant else None


class ScenarioFile(pytest.File):
    """A scenario's file; a broken one is an error of collection."""

    def collect(self) -> Iterable[pytest.Item]:
        from insitu import api, experiment

        try:
            with api.errors():
                scenario = experiment.read_scenario(self.path)
        except api.InsituError as error:
            raise self.CollectError(str(error)) from None
        if scenario.expect:
            yield ScenarioTest.from_parent(self, name=scenario.name)


class ScenarioTest(pytest.Item):
    """Runs its scenario, with seed 0; passes if the run is not INVALID and every expectation holds."""

    def runtest(self) -> None:
        from insitu import api

        run = api.run(self.path, out=_folder(self.config, self.nodeid))
        self.user_properties += _properties(run)
        wrong = [f"{one.text}: measured {one.said}" for one in run.expectations if not one.holds]
        if run.verdict == "INVALID":
            wrong = _invalid(run)
        if wrong:
            raise ScenarioFailed("\n".join([*wrong, f"run: {run.folder}"]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from insitu.api import InsituError

        if isinstance(excinfo.value, ScenarioFailed | InsituError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.nodeid


@pytest.fixture
def insitu_run(request: pytest.FixtureRequest) -> "Callable[..., Run]":
    """`insitu_run("campus.yaml", seed=3, policies={"slicing": "joint"})`: runs a scenario, and gives the `insitu.Run`.

    The file is beside the test's, or named from pytest's root directory. What is given by other names than `seed` is put over the
    scenario's keys. Raises insitu.InsituError; a run that is INVALID fails the test.
    """

    def run(file: str | Path, *, seed: int = 0, **sections: Any) -> "Run":
        __tracebackhide__ = True
        from insitu import api

        beside = request.path.parent / file
        found = beside if beside.exists() else request.config.rootpath / file
        out = _folder(request.config, f"{request.node.nodeid}-{found.stem}-{seed}")
        try:
            made = api.run(found, seed=seed, set=sections, out=out)
        except api.InsituError as error:
            raise error.with_traceback(None) from None
        request.node.user_properties += _properties(made, f"{found.stem}-{seed}.")
        if made.verdict == "INVALID":
            pytest.fail("\n".join([*_invalid(made), f"run: {made.folder}"]), pytrace=False)
        return made

    return run


def _folder(config: pytest.Config, name: str) -> Path:
    """A folder for a run that is not there yet."""
    from insitu import experiment

    name = re.sub(r"[^\w.-]+", "-", name).strip("-")
    out: Path | None = config.getoption("--insitu-out")
    where = out.absolute() if out else config._tmp_path_factory.getbasetemp() / "insitu"  # type: ignore[attr-defined]
    return experiment.free_folder(None, name, where)


def _properties(run: "Run", prefix: str = "") -> list[tuple[str, object]]:
    """What JUnit's output says of a run."""
    about = {"verdict": run.verdict, "digest": run.summary["digest"], "folder": str(run.folder)}
    figures = {name: value for name, value in run.figures.items() if value is not None}
    return [(prefix + name, value) for name, value in {**about, **figures}.items()]


def _invalid(run: "Run") -> list[str]:
    return [f"the run is INVALID: {reason}" for reason in run.summary["verdict"]["reasons"]]
