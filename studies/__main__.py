"""`python -m studies [NAME…]` makes the studies that are named, or all: figure.svg and the measured part of README.md of each.

Runs are kept in runs/study-NAME: interrupted and started again, it goes on where it stopped.
"""

import sys
from importlib import import_module
from pathlib import Path

from insitu.own_library import BrokenLibrary
from insitu.study.errors import StudyFailed, WrongStudy
from insitu.vm.process import cleaning_up_on_signals
from insitu.vm.source import KernelError
from scenarios.load import ScenarioError
from studies import drawing, study

NAMES = ("connectivity", "slicing", "caching")
INPUT, FAILED, INTERRUPTED = 2, 3, 130


def make(name: str) -> None:
    one: study.Study = import_module(f"studies.{name}.study").STUDY
    answer = study.measure(one, Path("runs") / f"study-{name}")
    study.publish(one, answer, one.folder)
    print(
        study.markdown(answer),
        *answer.sentences,
        f"figure: {one.folder / study.FIGURE}",
        sep="\n",
        end="\n\n",
        flush=True,
    )


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in NAMES]:
        print(f'no study "{unknown[0]}"; there are {", ".join(NAMES)}', file=sys.stderr)
        return INPUT
    try:
        with cleaning_up_on_signals():
            for name in names or NAMES:
                make(name)
    except (ScenarioError, BrokenLibrary, WrongStudy) as error:
        print(error, file=sys.stderr)
        return INPUT
    except (study.Unusable, drawing.NoDrawing, StudyFailed, KernelError, OSError) as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted: what is done is kept, and the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
