"""One look for all figures, and how they are written: PDF and PNG, with the numbers behind them as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from shared.terminal.atomic import write_atomically
from shared.terminal.command import refuse_folder

COLUMN = 3.4  # inches, one column of a two-column page
PAGE = 6.9  # inches, the whole page

# Okabe and Ito's palette: told apart by colour-blind readers and in grey.
BLUE, ORANGE, GREEN, PURPLE, RED, SKY, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#000000",
)
CYCLE = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")



def look_of(index: int) -> tuple[str, str]:
    """(colour, marker) of a line by its number: 36 pairs, the first six of which differ in both."""
    return CYCLE[index % len(CYCLE)], MARKERS[(index + index // len(CYCLE)) % len(MARKERS)]


_SETTINGS: dict[Any, Any] = {
    "font.size": 8.0,
    "axes.labelsize": 8.0,
    "axes.titlesize": 8.0,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "lines.linewidth": 1.1,
    "lines.markersize": 2.8,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "savefig.dpi": 300,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.03,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


ABREAST = 4
"""Most panels side by side."""


def wrapped(panels: int) -> tuple[int, int]:
    """(rows, columns) for a number of panels, as even as can be."""
    rows = -(-panels // ABREAST)
    return rows, -(-panels // rows)


@contextmanager
def look() -> Iterator[None]:
    """The house's style for the block."""
    with mpl.rc_context(_SETTINGS):
        yield


def make_writable(folder: Path) -> None:
    """Make the folder that a command writes to; ValueError if it cannot be made or written to."""
    refuse_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)


def save(figure: Figure, folder: Path, name: str, rows: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Write NAME.pdf, NAME.png and NAME.csv (``rows``: a dictionary a line); close the figure.

    The columns are all keys, in the order in which they first come; what a row lacks stays empty. Nothing is written
    unless all three can be made, and each file is whole or not there.
    """
    contents: dict[str, bytes] = {}
    try:
        for suffix in ("pdf", "png"):
            buffer = io.BytesIO()
            # No creation date: the same numbers give the same file.
            figure.savefig(buffer, format=suffix, metadata={"CreationDate": None} if suffix == "pdf" else None)
            contents[suffix] = buffer.getvalue()
    finally:
        plt.close(figure)
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in listed for key in row)))
    writer.writeheader()
    writer.writerows(listed)
    contents["csv"] = text.getvalue().encode()
    return [write_atomically(folder / f"{name}.{suffix}", content) for suffix, content in contents.items()]
