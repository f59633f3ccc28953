"""Recorded runs as cells of an experiment: (data set, method, images a class), then correction, then seed.

One cell is one comparison: its runs must agree in every setting but the correction, the seed, and what changes no
number (device, folders, display). What a run is says `shared.records.recorded`, the reader of all run folders.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.records.agreement import Cell
from shared.records.recorded import (
    DIVERGED,
    NOT_FINISHED,
    PLAIN,
    Correction,
    Recorded,
    read_recorded,
    refuse_disagreement,
)
from shared.records.roles import CORESET

__all__ = ["PLAIN", "Array", "Cells", "Correction", "Recorded", "Variants", "read_cells"]

Array = NDArray[np.float64]


Variants = dict[Correction, dict[int, Recorded]]
Cells = dict[Cell, Variants]


def read_cells(folders: Sequence[Path]) -> tuple[Cells, list[str]]:
    """All finished runs below the folders, by cell; and sentences on what was left out.

    Raises:
        ValueError: there is no finished run; a record is damaged or not one of a run; two runs of a cell
            differ in a setting, or have the same correction and seed.
    """
    found, without = read_recorded(folders)
    left_out = [str(run) for run in without if run.why != NOT_FINISHED]
    unfinished = len(without) - len(left_out)
    left_out += [f"{r.run.folder}: {DIVERGED} ({r.diverged})" for r in found if r.diverged]
    left_out += [f"{r.run.folder}: no accuracy" for r in found if not r.diverged and r.accuracies is None]
    finished = [r for r in found if r.accuracies is not None]
    refuse_disagreement(finished)
    cells: Cells = {}
    for r in finished:
        seeds = cells.setdefault(r.cell, {}).setdefault(r.correction, {})
        if r.seed in seeds:
            raise ValueError(
                f"{seeds[r.seed].run.folder} and {r.run.folder} are the same experiment (seed {r.seed}, "
                f"{r.correction}); name folders that hold one of them"
            )
        seeds[r.seed] = r
    if not cells:
        why = "; ".join([f"{unfinished} unfinished", *left_out])
        raise ValueError(f"no finished run under {', '.join(map(str, folders))} ({why})")
    if unfinished:
        left_out.append(f"{unfinished} unfinished runs")
    ordered = {cell: dict(sorted(cells[cell].items(), key=lambda item: strength(item[0]))) for cell in sorted(cells)}
    return ordered, left_out


def strength(correction: Correction) -> tuple[bool, bool, float, float]:
    """To sort by: coefficients in increasing order, then pulls, schedules last."""
    return correction.adaptive, correction.pull, correction.start, correction.end or 0.0


def distilled(cells: Cells) -> Cells:
    """The cells whose method distils, rather than chooses real images."""
    return {cell: variants for cell, variants in cells.items() if family_of(variants) != CORESET}


def family_of(variants: Variants) -> str:
    """What the method of a cell matches (`shared.records.roles`)."""
    return next(r.family for seeds in variants.values() for r in seeds.values())


def mean_and_error(values: Sequence[float] | Array) -> tuple[float, float]:
    """Mean, and its standard error; NaN for a single value."""
    found = np.asarray(values, float)
    if found.size < 2:
        return float(found.mean()), math.nan
    return float(found.mean()), float(found.std(ddof=1) / math.sqrt(found.size))


def accuracy(seeds: Mapping[int, Recorded]) -> tuple[float, float, int]:
    """(mean accuracy in percent, its standard error over distillation seeds, seeds); NaN error for a single seed."""
    return (*mean_and_error([r.percent.mean() for r in seeds.values()]), len(seeds))


def spread_out(variants: Variants, most: int = 3) -> list[Correction]:
    """What a picture has room for: the plain method and at most `most` corrections, spread over the coefficients."""
    others = [c for c in variants if c != PLAIN]
    places = sorted({round(p) for p in np.linspace(0, len(others) - 1, min(most, len(others)))}) if others else []
    return [c for c in (PLAIN,) if c in variants] + [others[p] for p in places]
