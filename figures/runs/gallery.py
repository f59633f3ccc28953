"""Distilled images without and with the correction, of the same seed, and what the correction changed.

Which coefficient is shown does not depend on how accurate it is: the strongest that every number of images a class has
beside the plain method, so that the eye sees the most that the correction did. What it gained is the paired gain over
all seeds, with its interval, and not the accuracy of the pictures that are shown. Where a page has no room for every
image it says so: each run's own ``synthetic.png`` has them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from empirical.synthetic.synthetic_set import FILE, SyntheticSet, load
from figures.names import PANEL, shown, stem, stems
from figures.runs.coefficients import constant, gain
from figures.runs.recorded import PLAIN, Cells, Correction, Recorded, Variants, distilled
from figures.style import PAGE, look, save

ABREAST = 20
"""Most images side by side in one picture: more classes go on below."""
DEEP = 20
"""Most images above each other; so many of each class are shown that they fit, and the figure says how many."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Line:
    """What is shown of one number of images a class: runs of one seed, the plain one first, and each one's gain."""

    ipc: int
    runs: list[Recorded]
    gains: list[tuple[float, float, int] | None]


def gallery_figures(cells: Cells, folder: Path) -> list[Path]:
    """A figure a data set and method; a row a number of images a class: plain, SDC, ASDC, and what they changed.

    Raises:
        BadSyntheticSet: a run's synthetic set cannot be read.
    """
    pages: dict[tuple[str, str], dict[int, Variants]] = {}
    for (dataset, method, ipc), variants in distilled(cells).items():
        if PLAIN in (there := _with_sets(variants)):
            pages.setdefault((dataset, method), {})[ipc] = there
    paths: list[Path] = []
    named = stems(dataset for dataset, _ in pages)
    for (dataset, method), by_ipc in pages.items():
        shared = strongest(by_ipc)
        lines = [line for ipc, variants in by_ipc.items() if (line := _line(ipc, variants, shared[ipc])) is not None]
        if lines:
            title = f"{shown(method, PANEL)} on {shown(dataset)}"
            paths += _figure(title, lines, folder, f"gallery-{named[dataset]}-{stem(method)}")
    return paths


def strongest(by_ipc: Mapping[int, Variants]) -> dict[int, Correction | None]:
    """For each IPC the largest positive coefficient that all of them have in pairs with the plain method.

    Where they have none in common, each shows the strongest of its own; None where it has none.
    """
    paired = {
        ipc: {c for c in constant(variants) if c.start > 0 and variants[PLAIN].keys() & variants[c].keys()}
        for ipc, variants in by_ipc.items()
    }
    there = [found for found in paired.values() if found]
    common = set.intersection(*there) if there else set()
    return {ipc: max(common & found or found, default=None) for ipc, found in paired.items()}


def _with_sets(variants: Variants) -> Variants:
    """The runs whose synthetic set is there."""
    kept = {c: {s: r for s, r in seeds.items() if (r.run.folder / FILE).is_file()} for c, seeds in variants.items()}
    return {correction: seeds for correction, seeds in kept.items() if seeds}


def _line(ipc: int, variants: Variants, constant: Correction | None) -> Line | None:
    """Plain, the constant coefficient, a schedule; of the first seed that all have. None: nothing to compare."""
    schedules = [c for c in variants if c.adaptive]
    chosen = [PLAIN, *([constant] if constant else []), *schedules[:1]]
    while len(chosen) > 1:
        seeds = set.intersection(*(set(variants[c]) for c in chosen))
        if seeds:
            runs = [variants[c][min(seeds)] for c in chosen]
            return Line(ipc, runs, [None if c == PLAIN else gain(variants, c) for c in chosen])
        chosen.pop()
    return None


def _figure(title: str, lines: list[Line], folder: Path, name: str) -> list[Path]:
    columns = max(2 * len(line.runs) - 1 for line in lines)
    pictures = [_pictures(line) for line in lines]
    heights = [row[0].shape[0] / row[0].shape[1] for row, _, _ in pictures]
    width = PAGE / columns
    rows: list[dict[str, Any]] = []
    with look():
        size = (PAGE, sum(width * h + 0.34 for h in heights) + 0.25)
        figure, grid = plt.subplots(len(lines), columns, figsize=size, squeeze=False, height_ratios=heights)
        for axes in grid.flat:
            axes.set_axis_off()
        for line, (row, changes, images), axes_of in zip(lines, pictures, grid, strict=True):
            for k, (axes, picture, words) in enumerate(zip(axes_of, row, _headings(line, changes), strict=False)):
                axes.set_axis_on()
                axes.imshow(picture, interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                axes.set_title(words, fontsize=5.5, pad=2)
                if k == 0:
                    part = "" if images == line.ipc else f"\n(first {images} of\neach class)"
                    axes.set_ylabel(f"IPC {line.ipc}{part}", fontsize=6.5, rotation=0, ha="right", va="center")
            rows += _rows(line, changes)
        _entitle(figure, title, lines)
        return save(figure, folder, name, rows)


def _entitle(figure: Figure, title: str, lines: list[Line]) -> None:
    """What is seen, over all; what the grey and the gain mean, below it."""
    seeds = sorted({line.runs[0].seed for line in lines})
    words = f"{title}: distilled images of seed {', '.join(map(str, seeds))}, one column a class"
    note = "change: corrected minus plain; grey is none, black and white its stated range; gain: paired, 95 % interval"
    figure.suptitle(f"{words}\n{note}", fontsize=6.5)


def _headings(line: Line, changes: list[float]) -> list[str]:
    """Above the pictures of a line, in their order."""
    found = []
    for run, gained, change in zip(line.runs, line.gains, [math.nan, *changes], strict=True):
        if run.correction == PLAIN:
            found.append("plain")
            continue
        found.append(f"{run.correction}\n{_gained(gained)}")
        found.append(f"change, ± {100 * change:.2g} % of white" if change else "no change that a pixel shows")
    return found


def _gained(gained: tuple[float, float, int] | None) -> str:
    if gained is None:
        return "no pair"
    mean, half, pairs = gained
    if pairs == 1:
        return f"gain {mean:+.1f} points (one pair, no interval)"
    return f"gain {mean:+.1f} ± {half:.1f} points, n = {pairs}"


def _rows(line: Line, changes: list[float]) -> list[dict[str, Any]]:
    rows = []
    for run, gained, change in zip(line.runs, line.gains, [0.0, *changes], strict=True):
        _, method, ipc = run.cell
        mean, half, pairs = gained or (math.nan, math.nan, 0)
        rows.append(
            {
                "method": method, "ipc": ipc, "correction": str(run.correction), "seed": run.seed, "paired_gain": mean,
                "half_width_95": half, "pairs": pairs, "largest_change": change, "folder": str(run.run.folder),
            }
        )  # fmt: skip
    return rows


def _pictures(line: Line) -> tuple[list[Pixels], list[float], int]:
    """(pictures of a line in their order, largest change of each correction in shares of white, images a class)."""
    sets = [load(run.run.folder) for run in line.runs]
    # Learnt labels may change their mind along the run: every picture has the classes of the first.
    places = arranged(sets[0])
    plain = sets[0].to_pixels().cpu().numpy()
    row, changes = [tiled(plain, places)], []
    for other in sets[1:]:
        pixels = other.to_pixels().cpu().numpy()
        difference = pixels.astype(np.int16) - plain
        largest = int(np.abs(difference).max())
        grey = np.rint(127.5 + 127.5 * difference / max(1, largest)).astype(np.uint8)
        row += [tiled(pixels, places), tiled(grey, places)]
        changes.append(largest / 255)
    return row, changes, max(len(members) for members in places)


def arranged(synthetic: SyntheticSet) -> list[NDArray[np.int64]]:
    """For each class the places of the images that are shown: all classes, and as many of each as have room."""
    labels = synthetic.hard_labels.cpu().numpy()
    blocks = -(-synthetic.classes // ABREAST)
    images = max(1, DEEP // blocks)
    return [np.flatnonzero(labels == c)[:images] for c in range(synthetic.classes)]


def tiled(pixels: Pixels, places: list[NDArray[np.int64]], abreast: int = ABREAST) -> Pixels:
    """One picture [height, width, 3]: a column a class, white between; after `abreast` classes it goes on below.

    Args:
        pixels: [n, channels, height, width]; one channel fills all three.
        places: of the images of each class.
        abreast: most columns.
    """
    height, width = pixels.shape[2:]
    deep = max(1, *(len(members) for members in places))
    columns = min(abreast, len(places))
    blocks = -(-len(places) // columns)
    gap = max(1, width // 16)
    apart = gap if blocks > 1 and deep > 1 else 0  # more, between blocks of classes
    tall = deep * (height + gap) + apart
    canvas = np.full((blocks * tall - gap - apart, columns * (width + gap) - gap, 3), 255, np.uint8)
    for c, members in enumerate(places):
        block, column = divmod(c, columns)
        for k, index in enumerate(members):
            top, left = block * tall + k * (height + gap), column * (width + gap)
            canvas[top : top + height, left : left + width] = np.moveaxis(pixels[index], 0, -1)
    return canvas
