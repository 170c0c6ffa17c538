"""What decisions take, by policy and by how many downloads wait: `python -m benchmarks.joint` prints a table.

The model of `controller/policies/cost.py` (so much for a decision, a download and a part) is fitted to the medians by least
squares, relative to each, and printed too. It is processor time that is measured, of all threads: it is the wall time of a
machine that has nothing else to do.
"""

import statistics
import time

import numpy as np
from scipy.optimize import nnls

from benchmarks.tables import Row, Table
from controller.policies import slicing
from controller.policies.checking import decide
from controller.policies.view import Flow, LinkView, Running, SliceView, View
from controller.session import Candidate, Direction, Request

POLICIES = ("static", "deadline", "fair", "joint")
# Downloads that wait, that run, and the cells that they are in
SIZES = ((1, 0, 1), (10, 0, 4), (30, 10, 4), (30, 10, 16), (100, 0, 4), (100, 0, 16), (100, 50, 4))
LIMIT_MS = 20.0  # of a decision for a hundred that wait
REPEATS = 30


def network(load: float, many: int) -> tuple[dict[Direction, LinkView], list[tuple[Direction, ...]]]:
    """A backhaul and cells, whose guarantees are `load` of what everybody's best variant takes; the paths to the cells."""
    cells: list[Direction] = [(f"cell{number}-radio", 1) for number in range(many)]
    backhaul: Direction = ("region-link", 1)
    capacity = int(2 * 100 / many * 7_000_000 / load)  # of which the slice has half
    links = {direction: LinkView(capacity) for direction in cells} | {backhaul: LinkView(capacity * many)}
    links |= {(name, 0): link for (name, _), link in list(links.items())}
    return links, [(backhaul, cell) for cell in cells]


def flow(number: int, path: tuple[Direction, ...], random: np.random.Generator, runs: bool) -> Flow:
    """A download with the front of a model: twelve variants, each 1.3 times as large as the one before."""
    rates = [int(rate) for rate in 300_000 * random.uniform(0.9, 1.1) * 1.3 ** np.arange(12)]
    accuracies = np.sort(random.uniform(0.7, 0.95, 12))
    candidates = tuple(
        Candidate(f"v{place}", rate // 12, float(accuracy), rate)
        for place, (rate, accuracy) in enumerate(zip(rates, accuracies, strict=True))
    )
    wanted = rates[-1]
    request = Request(
        f"{number:04}",
        f"phone{number}",
        "edge",
        "models",
        "insitu.download",
        wanted,
        wanted // 40,
        1_000_000_000,
        download=f"phone{number}-1",
        deadline_ns=1_000_000_000,
        candidates=candidates,
    )
    back = tuple((name, 1 - end) for name, end in reversed(path))
    return Flow(request, path, back, rates[0], "v0") if runs else Flow(request, path, back)


def view(waiting: int, running: int, cells: int, seed: int) -> View:
    random = np.random.default_rng(seed)
    links, paths = network(float(random.uniform(1, 4)) * 100 / (waiting + running), cells)
    flows = [flow(number, paths[number % cells], random, number < running) for number in range(waiting + running)]
    those_that_run = Running()
    for one in flows[:running]:
        those_that_run.put(one)
    return those_that_run.view(200_000_000, links, {"models": SliceView(0.5)}, tuple(flows[running:]))


def milliseconds(name: str, waiting: int, running: int, cells: int) -> list[float]:
    policy, taken = slicing(name), []
    decide(policy, view(waiting, running, cells, seed=0))  # imports, and what NumPy prepares when it is first used
    for seed in range(REPEATS):
        seen = view(waiting, running, cells, seed)
        begin = time.process_time_ns()
        decide(policy, seen)
        taken.append((time.process_time_ns() - begin) / 1e6)
    return taken


def fitted(name: str, medians: list[float]) -> str:
    """The cost model's figures for a policy, from the median of each size, in ms."""
    rows, wanted = [], np.array(medians) * 1e6
    looks_at_all = slicing(name).cost.running_ns is None  # type: ignore[attr-defined]
    for waiting, running, cells in SIZES:
        seen = view(waiting, running, cells, 0)
        crossed = {direction for one in (*seen.waiting, *seen.running) for direction in (*one.path, *one.back)}
        rows.append([1, waiting + running * looks_at_all, len(crossed)])
    figures, _ = nnls(np.array(rows) / wanted[:, None], np.ones(len(SIZES)))
    fixed, each, part = (f"{figure / 1000:,.0f}" for figure in figures)
    return f"{fixed} us for a decision, {each} us for a download, {part} us for a part"


def table() -> Table:
    rows, models = [], []
    for name in POLICIES:
        medians = []
        for waiting, running, cells in SIZES:
            taken = milliseconds(name, waiting, running, cells)
            medians.append(statistics.median(taken))
            figures = (f"{medians[-1]:.2f}", f"{np.percentile(taken, 95):.2f}")
            judged = medians[-1] <= LIMIT_MS if (waiting, running) == (100, 0) else None
            rows.append(Row((name, str(waiting), str(running), str(cells), *figures), judged))
        models.append(f"{name}: {fitted(name, medians)}")
    note = (
        f"Processor time of one decision, checked: ms, median and 95th percentile of {REPEATS} views. Cells behind one backhaul, "
        "whose guarantees are from a quarter of what everybody's best variant takes to all of it; twelve candidates each. "
        f"Limit: {LIMIT_MS:.0f} ms for a hundred that wait. Fitted: {'; '.join(models)}."
    )
    return Table("Decisions", note, ("policy", "waiting", "running", "cells", "median", "p95"), rows, wall=True)


if __name__ == "__main__":
    print(table().markdown())
