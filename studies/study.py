"""What a study is, and how one is made: its runs by a sweep, then the figure, and the measured part of its README."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from insitu.study import sweep
from insitu.study.cases import Case
from insitu.study.cluster import carry_out
from insitu.study.design import Point
from insitu.study.folder import study_folder, write_whole
from insitu.study.progress import StudyProgress
from insitu.study.statistics import Difference, estimate
from studies import drawing

if TYPE_CHECKING:
    import polars as pl

BEGIN, END = "<!-- measured -->\n", "<!-- end of what was measured -->\n"  # in a README
README, FIGURE = "README.md", "figure.svg"


class Answer(NamedTuple):
    """What a study's runs say: sentences, a table of texts with its columns' heads, and a figure as plotly.js has it."""

    sentences: Sequence[str]
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    figure: Mapping[str, Any]
    alt: str  # what the figure shows, for those who do not see it
    size: tuple[int, int]  # of the figure, px


class Study(NamedTuple):
    """`cases` gives a case for each point and seed, in this order; `answer` gets the sweep's table and the folder of its runs."""

    folder: Path
    points: Sequence[Point]
    seeds: int
    cases: Callable[[Sequence[Point], int], list[Case]]
    answer: Callable[["pl.DataFrame", Path], Answer]

    @property
    def name(self) -> str:
        return self.folder.name


class Unusable(Exception):
    """A run failed or is INVALID, so there is no answer: one line."""


def measure(study: Study, out: Path) -> Answer:
    """Makes the runs that are not in `out` yet. Raises Unusable, and what `carry_out` and `study_folder` raise."""
    points = list(study.points)
    asked = {"study": study.name, "points": points, "seeds": study.seeds}
    with study_folder(study.name, asked, out) as folder, StudyProgress(study.name) as progress:
        cases = study.cases(points, study.seeds)
        outcomes = carry_out(cases, folder, progress=progress)
        swept = sweep.collect(study.name, points, study.seeds, cases, outcomes)
        sweep.write(swept, folder)
    if bad := swept.unusable:
        why = "; ".join(sweep.reasons(bad[0])).partition("\n")[0]
        raise Unusable(f"{study.name}: {len(bad)} of {len(cases)} runs failed or are INVALID; the first: {why}")
    return study.answer(sweep.table(swept), folder / "runs")


def publish(study: Study, answer: Answer, into: Path) -> None:
    """The figure, and the README with what was measured between its marks."""
    before, begin, rest = (study.folder / README).read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Unusable(
            f"{study.folder / README}: has no lines {BEGIN.strip()} and {END.strip()}, which the results go between"
        )
    drawing.write(answer.figure, into / FIGURE, *answer.size)
    runs = f"{len(study.points) * study.seeds} runs: {len(study.points)} points, {_seeds(study.seeds)}."
    picture = f"![{answer.alt}]({FIGURE})"
    parts = ["\n".join(answer.sentences), picture, markdown(answer), runs]
    write_whole(into / README, (before + begin + "\n" + "\n\n".join(parts) + "\n\n" + end + after).encode())


def markdown(answer: Answer) -> str:
    rule = ["---", *["--:"] * (len(answer.head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (answer.head, rule, *answer.rows))


def shown(values: Sequence[float]) -> str:
    """Their mean and the half width of its 95 % interval: `57.9 ± 2.3`."""
    found = estimate(values)
    return f"{found.mean:.1f}" + (f" ± {found.interval.high - found.mean:.1f}" if found.interval else "")


def apart(found: Difference, unit: str) -> str:
    """`5.3 points [3.6, 7.1]`, with the interval if there is one."""
    between = f" [{found.interval.low:.1f}, {found.interval.high:.1f}]" if found.interval else ""
    return f"{found.mean:.1f} {unit}{between}"


def _seeds(seeds: int) -> str:
    return f"seeds 0 to {seeds - 1} at each" if seeds > 1 else "seed 0"
