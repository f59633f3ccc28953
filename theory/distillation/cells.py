"""The 54 cells of learnt sets on which the theories of synthesis are judged, and by how much each theory misses.

Three kinds of matching: cosine distance with trained probes over six alphas and five lambdas; squared distance, and
random probes, at two lambdas.  A cell is five distillations; where some are not separable it is the mean of the others.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.terminal.atomic import write_atomically
from shared.terminal.progress import Report
from theory.distillation.learning import Distillation
from theory.distillation.study import study

ALPHAS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
COEFFICIENTS = (-0.03, 0.0, 0.03, 0.1, 0.3)
KINDS = (("cosine", 1.0, COEFFICIENTS), ("squared", 1.0, (0.0, 0.1)), ("cosine", 0.0, (0.0, 0.1)))
SEEDS = 5
CELL = ("distance", "probe_alpha", "alpha", "coefficient")
THEORIES = ("theory_probe", "theory_teacher", "theory_a", "theory_b", "theory_c", "theory_d")
SHOWN = (*THEORIES, "teacher_margin", "teacher_margin_sd", "noise_length", "s1")


@dataclass(frozen=True)
class Miss:
    """Relative miss, theory / measured - 1, over cells: its mean, and median and largest of its size."""

    bias: float
    median: float
    worst: float


def settings(seeds: int = SEEDS) -> list[Distillation]:
    """All distillations, cell by cell."""
    return [
        Distillation(alpha, coefficient, seed, distance=distance, probe_alpha=probe_alpha)
        for distance, probe_alpha, coefficients in KINDS
        for alpha in ALPHAS
        for coefficient in coefficients
        for seed in range(seeds)
    ]


def cell_means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a cell: means over its separable sets, the error's standard error, and how many sets there are."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in CELL), []).append(row)
    cells = []
    for key, members in groups.items():
        kept = [row for row in members if math.isfinite(row["test_error"])]
        errors = np.array([row["test_error"] for row in kept])
        cell: dict[str, Any] = dict(zip(CELL, key, strict=True)) | {"sets": len(members), "separable": len(kept)}
        cell["test_error"] = float(errors.mean()) if kept else math.nan
        cell["test_error_se"] = float(errors.std(ddof=1) / math.sqrt(errors.size)) if errors.size > 1 else math.nan
        for name in SHOWN:
            values = np.array([row[name] for row in kept if math.isfinite(row[name])])
            cell[name] = float(values.mean()) if values.size else math.nan
        cells.append(cell)
    return cells


def misses(cells: Sequence[Mapping[str, Any]]) -> dict[str, Miss]:
    """By how much each theory misses the cells' mean errors."""
    found = {}
    for name in THEORIES:
        off = np.array([float(cell[name]) / float(cell["test_error"]) - 1.0 for cell in cells])
        off = off[np.isfinite(off)]
        size = np.abs(off)
        found[name] = Miss(float(off.mean()), float(np.median(size)), float(size.max()))
    return found


def run(folder: Path, report: Report = lambda done, total: None) -> list[dict[str, Any]]:
    """Distil what is missing in the folder (resumed), write ``cells.csv`` there and return the cells."""
    cells = cell_means(study(settings(), folder, report))
    write_atomically(folder / "cells.csv", as_csv(cells))
    return cells


def as_csv(cells: Sequence[Mapping[str, Any]]) -> bytes:
    """The cells as CSV, six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(cells[0])
    for cell in cells:
        writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in cell.values()])
    return text.getvalue().encode()


def read(path: Path) -> list[dict[str, Any]]:
    """Cells of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: value if name == "distance" else float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]
