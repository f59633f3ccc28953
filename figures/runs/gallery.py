"""Distilled images without and with the correction, side by side, of the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from empirical.synthetic.synthetic_set import FILE, SyntheticSet, load
from figures.names import PANEL, shown, stems
from figures.runs.recorded import PLAIN, Cells, Correction, Recorded, Variants, distilled, representative
from figures.style import PAGE, look, save

CLASSES = 10
"""Most classes shown, the first ones."""
IMAGES = 3
"""Most images a class shown, the first ones."""


def gallery_figures(cells: Cells, folder: Path) -> list[Path]:
    """A figure a data set; a row for each method and IPC: plain, SDC and, where there is one, ASDC.

    Raises:
        BadSyntheticSet: a run's synthetic set cannot be read.
    """
    pages: dict[str, list[tuple[str, list[Recorded]]]] = {}
    for (dataset, method, ipc), variants in distilled(cells).items():
        if len(side_by_side := beside(variants)) > 1:
            pages.setdefault(dataset, []).append((f"{shown(method, PANEL)}\nIPC {ipc}", side_by_side))
    paths: list[Path] = []
    named = stems(pages)
    for dataset, lines in pages.items():
        paths += _figure(dataset, lines, folder, f"gallery-{named[dataset]}")
    return paths


def beside(variants: Variants) -> list[Recorded]:
    """The runs to show together: plain, the representative coefficient, a schedule; of the first seed all have.

    Only runs whose synthetic set is there; fewer than two where nothing can be compared.
    """
    kept = {
        correction: {seed: r for seed, r in seeds.items() if (r.run.folder / FILE).is_file()}
        for correction, seeds in variants.items()
    }
    kept = {correction: seeds for correction, seeds in kept.items() if seeds}
    schedules = [c for c in kept if c.adaptive]
    candidates: list[Correction | None] = [representative(kept), *schedules[:1]]
    chosen = [PLAIN] if PLAIN in kept else []
    chosen += [c for c in candidates if c is not None]
    while len(chosen) > 1:
        common = set.intersection(*(set(kept[c]) for c in chosen))
        if common:
            return [kept[c][min(common)] for c in chosen]
        chosen.pop()
    return []


def _figure(dataset: str, lines: list[tuple[str, list[Recorded]]], folder: Path, name: str) -> list[Path]:
    columns = max(len(runs) for _, runs in lines)
    pictures = [[tiled(load(r.run.folder)) for r in runs] for _, runs in lines]
    # Every picture of the page has the same width; a line is as high as its pictures need.
    heights = [max(p.shape[0] / p.shape[1] for p in row) for row in pictures]
    width = PAGE / columns
    rows: list[dict[str, Any]] = []
    with look():
        size = (PAGE, sum(width * h + 0.22 for h in heights) + 0.2)
        figure, grid = plt.subplots(len(lines), columns, figsize=size, squeeze=False, height_ratios=heights)
        for axes in grid.flat:
            axes.set_axis_off()
        for i, ((label, runs), row) in enumerate(zip(lines, pictures, strict=True)):
            for k, (recorded, picture) in enumerate(zip(runs, row, strict=True)):
                axes = grid[i, k]
                axes.set_axis_on()
                axes.imshow(picture, interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                mean = float(recorded.percent.mean())
                axes.set_title(f"{recorded.correction} ({mean:.1f} %)", fontsize=6, pad=2)
                if k == 0:
                    axes.set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center")
                _, method, ipc = recorded.cell
                rows.append(
                    {
                        "method": method, "ipc": ipc, "correction": str(recorded.correction), "seed": recorded.seed,
                        "accuracy": mean, "folder": str(recorded.run.folder),
                    }
                )  # fmt: skip
        words = "distilled images, one column a class (test accuracy in brackets)"
        figure.suptitle(f"{shown(dataset)}: {words}", fontsize=7)
        return save(figure, folder, name, rows)


def tiled(synthetic: SyntheticSet, classes: int = CLASSES, images: int = IMAGES) -> NDArray[np.uint8]:
    """One picture [height, width, 3]: a column a class, white lines between; as the set's recipe makes pixels.

    Raises:
        ValueError: the recipe does not say how the images become pixels.
    """
    pixels = synthetic.to_pixels().cpu().numpy()
    labels = synthetic.hard_labels.cpu().numpy()
    height, width = pixels.shape[2:]
    members = [np.flatnonzero(labels == c)[:images] for c in range(min(classes, synthetic.classes))]
    deep = max(1, *(len(m) for m in members))
    gap = max(1, width // 16)
    shape = (deep * (height + gap) - gap, len(members) * (width + gap) - gap, 3)
    canvas = np.full(shape, 255, np.uint8)
    for c, indices in enumerate(members):
        for k, index in enumerate(indices):
            top, left = k * (height + gap), c * (width + gap)
            canvas[top : top + height, left : left + width] = np.moveaxis(pixels[index], 0, -1)  # grey fills all three
    return canvas
