"""Tables of measurements, and Markdown of them. All benchmarks give theirs as a `Table`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Row(NamedTuple):
    """Cells in the order of the table's columns, and whether the limit holds (None where there is none)."""

    cells: tuple[str, ...]
    holds: bool | None = None


@dataclass(frozen=True)
class Table:
    """`note` says what was done, and the limit; `wall` marks a table of wall times, which no two runs give alike."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    wall: bool = False

    @property
    def misses(self) -> int:
        return sum(row.holds is False for row in self.rows)

    def markdown(self) -> str:
        """Title, note and table; a last column says `yes` or `NO` where rows have a limit."""
        judged = any(row.holds is not None for row in self.rows)
        head = (*self.columns, "within") if judged else self.columns
        words = {True: "yes", False: "**NO**", None: ""}
        lines = [(*row.cells, words[row.holds]) if judged else row.cells for row in self.rows]
        rule = tuple("---" if place == 0 else "--:" for place in range(len(head)))
        return "\n".join(
            [f"## {self.title}", "", self.note, "", *("| " + " | ".join(c) + " |" for c in (head, rule, *lines)), ""]
        )
