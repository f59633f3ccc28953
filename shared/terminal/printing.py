"""What commands print: text as it is, never read as markup, and tables that keep their numbers in any width.

A name that a user typed may hold `[x]`, `:smile:` or anything else; nothing of it is interpreted, highlighted or cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

NAME_WIDTHS = (32, 24, 16, 12, 8)
"""Columns that a name may take where not everything fits: the largest that does."""


class Plain(Console):
    """Prints to standard output what it is given; a line that does not fit is the terminal's to wrap."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)

    def print(self, *objects: Any, **how: Any) -> None:
        """As rich's, without wrapping or cropping unless asked for."""
        super().print(*objects, **{"soft_wrap": True, **how})


@dataclass
class Sheet:
    """A table of names and numbers.

    Where it does not fit, names are folded and headings broken at their blanks; if that is not enough, the numbers come
    in several tables, each with the names in front. No number is folded or cut. Into a file or a pipe it is written as
    wide as it is, unless the environment's COLUMNS says how wide it may be.

    Attributes:
        columns: headings.
        title: above, or none.
        names: how many columns, from the left, name the row.
        lines: whether to draw lines.
        caption: below, or none.
        rows: of cells, all of them text.
        sections: after how many rows a line is drawn.

    """

    columns: Sequence[str]
    title: str = ""
    names: int = 1
    lines: bool = True
    caption: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)
    sections: list[int] = field(default_factory=list)

    def add_row(self, *cells: str) -> None:
        """One more row."""
        self.rows.append(cells)

    def add_section(self) -> None:
        """A line below the last row."""
        self.sections.append(len(self.rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        room = options.max_width
        numbers = list(range(self.names, len(self.columns)))
        unbound = not console.is_terminal and "COLUMNS" not in os.environ
        tables = [self._table(numbers)]
        if not unbound and _width(console, tables[0]) > room:
            tables = self._fitted(console, numbers, room)
            tables[0].title = Text(self.title) if self.title else None
        for table in tables:
            needed = _width(console, table) if numbers or unbound else room
            yield from console.render(table, options.update(max_width=max(room, needed)))
        if self.caption:
            yield from console.render(Text(self.caption, style="italic"), options.update(no_wrap=False))

    def _fitted(self, console: Console, numbers: Sequence[int], room: int) -> list[Table]:
        """One table if folding the names makes room for it, else several with the numbers that fit into each."""
        if not numbers:
            return [self._table((), room)]
        for most in NAME_WIDTHS:
            if _width(console, table := self._table(numbers, most)) <= room:
                return [table]
        bands: list[list[int]] = [[]]
        for number in numbers:
            if bands[-1] and _width(console, self._table([*bands[-1], number], NAME_WIDTHS[-1])) > room:
                bands.append([])
            bands[-1].append(number)
        return [self._table(band, NAME_WIDTHS[-1]) for band in bands]

    def _table(self, numbers: Sequence[int], most: int | None = None) -> Table:
        """The names and some of the numbers; with `most`, names fold into so many columns and headings at blanks."""
        table = Table(box=box.HEAVY_HEAD if self.lines else None, title_justify="left")
        if most is None and self.title:
            table.title = Text(self.title)
        shown = [*range(self.names), *numbers]
        for place in shown:
            heading = self.columns[place] if most is None else self.columns[place].replace(" ", "\n")
            if place >= self.names:
                table.add_column(Text(heading), justify="right", no_wrap=True)
                continue
            cells = [row[place] for row in self.rows]
            widest = max(map(cell_len, [*cells, *heading.splitlines()]), default=0)
            number = max((cell_len(cell) for cell in cells if _is_number(cell)), default=0)
            width = widest if most is None else min(widest, max(most, number))
            table.add_column(Text(heading), overflow="fold", width=width if numbers else None)
        for count, row in enumerate(self.rows):
            if count in self.sections:
                table.add_section()
            table.add_row(*(Text(row[place]) for place in shown))
        return table


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _width(console: Console, table: Table) -> int:
    """Of a table with all the room that it wants."""
    return Measurement.get(console, console.options.update(max_width=100_000), table).maximum
