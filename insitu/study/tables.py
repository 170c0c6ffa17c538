"""What a person sees of a study at its end, in a terminal."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from insitu.study.amounts import amount, estimated, scale, seed_count
from insitu.study.compare import Compared, Comparison, decision, in_its_unit
from insitu.study.repeat import Repetition, why
from scenarios.figures import figure

_LONG = ("links.", "libraries.", "time_s.")  # groups of figures that are shown in the report alone


def show(table: Table) -> None:
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def repetition(name: str, found: Repetition, of_interest: Sequence[str]) -> Table:
    usable = len(found.outcomes) - len(found.unusable)
    table = Table(
        "figure", "runs", "mean [95 % interval, Student's t]", "deviation", "min … max",
        title=f"{name}: {seed_count(len(found.outcomes))}, {usable} usable", title_justify="left",
        caption="\n".join(f"[red]seed {o.case.seed}: {escape(why(o))}[/] ({o.folder})" for o in found.unusable),
        caption_justify="left",
    )  # fmt: skip
    for which in in_order(found, of_interest):
        what, its = figure(which), found.figures[which]
        factor, unit = scale(what, its.mean)
        ends = " … ".join(amount(factor * end, None, unit) for end in (its.least, its.most))
        deviation = "" if its.deviation is None else amount(factor * its.deviation, None, unit)
        table.add_row(which, str(its.n), estimated(what, its), deviation, ends)
    return table


def in_order(found: Repetition, of_interest: Sequence[str]) -> list[str]:
    """The figures of interest first; of the others those that are not 0 in all runs, without the long groups."""
    first = [name for name in of_interest if name in found.figures]
    rest = (name for name, its in found.figures.items() if (its.least or its.most) and not name.startswith(_LONG))
    return list(dict.fromkeys([*first, *rest]))


def comparison(found: Comparison) -> Table:
    table = Table(
        "figure", found.first, found.second, "difference [interval]", "effect d_z", "better in", "",
        title=f"{found.second} beside {found.first}: {seed_count(len(found.seeds))}", title_justify="left", caption_justify="left",
    )  # fmt: skip
    for compared in found.decided:
        table.add_row(*cells(compared), decision(compared) or "no difference shown", style="bold")
    rest = [compared for compared in found.exploratory if not compared.figure.name.startswith(_LONG)]
    for compared in rest:
        if not compared.same:
            table.add_row(*cells(compared), "exploratory")
    table.caption = "".join(the_same(rest))
    return table


def the_same(compared: Sequence[Compared]) -> list[str]:
    """A line with the figures in which the sides do not differ at all, if there are any."""
    names = ", ".join(one.figure.name for one in compared if one.same)
    return [f"the same on both sides with every seed: {names}"] if names else []


def cells(compared: Compared) -> list[str]:
    """A figure's row, without the decision."""
    value, interval, unit = in_its_unit(compared)
    apart = compared.difference
    return [
        compared.figure.name,
        *(estimated(compared.figure, mean) for mean in compared.means),
        amount(value, interval, unit, "+"),
        "" if apart.effect is None else f"{apart.effect:.2f}",
        f"{compared.better} of {apart.n}",
    ]
