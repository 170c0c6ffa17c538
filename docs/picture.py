"""Draws the result table of a run's folder: `python docs/picture.py RUN docs/campus.svg`."""

import io
import json
import sys
from pathlib import Path

from rich.console import Console

from insitu.experiment import Result
from insitu.screen import result_table
from scenarios.load import load

if __name__ == "__main__":
    folder, picture = Path(sys.argv[1]), Path(sys.argv[2])
    summary = json.loads((folder / "summary.json").read_text())
    expectations = load(folder / "scenario.yaml").expect
    console = Console(record=True, width=110, file=io.StringIO(), highlight=False)
    console.print(result_table(Result(folder, summary), [e.measure(summary) for e in expectations]))
    console.save_svg(str(picture), title="insitu run scenarios/campus.yaml --seed 7")
