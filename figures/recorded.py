"""Recorded runs as cells of an experiment: (data set, method, images a class), then correction, then seed.

One cell is one comparison: its runs must agree in every setting but the correction, the seed, and what changes no
number (device, folders, display).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empirical.experiment import coresets, whole
from empirical.experiment.families import methods
from shared.agreement import Cell, cell_of, disagreement, short
from shared.records import BadRecord, Run, failure_of, select

Array = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Correction:
    """The coefficient lambda of SDC, 0 for the plain method; with `end` the schedule of ASDC."""

    start: float = 0.0
    end: float | None = None

    @property
    def adaptive(self) -> bool:
        """Whether lambda changes along the run."""
        return self.end is not None

    def __str__(self) -> str:
        if self.adaptive:
            return f"ASDC, λ {self.start:g} to {self.end:g}"
        return f"SDC, λ = {self.start:g}" if self.start else "plain"


PLAIN = Correction()


@dataclass(frozen=True, eq=False)
class Recorded:
    """A finished run; `accuracies` in percent, one an evaluation network."""

    run: Run
    cell: Cell
    correction: Correction
    seed: int
    accuracies: Array


Variants = dict[Correction, dict[int, Recorded]]
Cells = dict[Cell, Variants]


def read_cells(folders: Sequence[Path]) -> tuple[Cells, list[str]]:
    """All finished runs below the folders, by cell; and sentences on what was left out.

    Raises:
        ValueError: a folder is absent or holds no run; a record is damaged or not one of a run; two runs of a cell
            differ in a setting, or have the same correction and seed.
    """
    cells: Cells = {}
    left_out: list[str] = []
    unfinished = 0
    for run in _unique(folders):
        failure = failure_of(run.folder)
        if failure is not None:
            left_out.append(f"{run.folder}: {failure.kind} ({failure.reason})")
            continue
        if run.summary is None:
            unfinished += 1
            continue
        recorded = _recorded(run)
        if recorded is None:
            left_out.append(f"{run.folder}: a hard threshold, or no accuracy")
            continue
        variants = cells.setdefault(recorded.cell, {})
        for others in variants.values():
            _check_agreement(next(iter(others.values())), recorded)
        seeds = variants.setdefault(recorded.correction, {})
        if recorded.seed in seeds:
            raise ValueError(
                f"{seeds[recorded.seed].run.folder} and {run.folder} are the same experiment (seed {recorded.seed}, "
                f"{recorded.correction}); name folders that hold one of them"
            )
        seeds[recorded.seed] = recorded
    if not cells:
        why = "; ".join([f"{unfinished} unfinished", *left_out])
        raise ValueError(f"no finished run under {', '.join(map(str, folders))} ({why})")
    if unfinished:
        left_out.append(f"{unfinished} unfinished runs")
    return {cell: dict(sorted(cells[cell].items(), key=_by_strength)) for cell in sorted(cells)}, left_out


def _by_strength(item: tuple[Correction, Any]) -> tuple[bool, float, float]:
    """Coefficients in increasing order, schedules last."""
    correction = item[0]
    return correction.adaptive, correction.start, correction.end or 0.0


def _unique(folders: Sequence[Path]) -> Iterable[Run]:
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; FOLDER is one that holds recorded runs, at any depth")
        try:
            runs = list(select(folder))
        except BadRecord:
            raise
        except (AttributeError, KeyError, TypeError, OSError) as error:
            raise ValueError(f"{folder} holds a config.json that is not the record of a run ({error!r})") from error
        if not runs:
            raise ValueError(f"{folder} holds no runs: no config.json in it or below it")
        for run in runs:
            if run.folder.resolve() not in seen:
                seen.add(run.folder.resolve())
                yield run


def _recorded(run: Run) -> Recorded | None:
    try:
        settings, summary = run.settings, run.summary or {}
        if settings.get("hard_threshold") is not None or "evaluation" not in summary:
            return None
        schedule = settings.get("asdc")
        correction = Correction(*map(float, schedule)) if schedule else Correction(float(settings.get("sdc") or 0.0))
        accuracies = 100.0 * np.array(summary["evaluation"]["accuracies"], float)
        seed = int(run.config.get("seed", settings.get("seed", 0)))
        return Recorded(run, cell_of(settings), correction, seed, accuracies)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{run.folder} is not the record of a distillation ({error!r})") from error


def _check_agreement(first: Recorded, second: Recorded) -> None:
    """ValueError if two runs of a cell differ in a setting that both recorded and that changes their numbers."""
    differ = disagreement(first.run.settings, second.run.settings)
    if differ:
        name, one, two = differ
        dataset, method, ipc = first.cell
        raise ValueError(
            f"{method} on {dataset} at IPC {ipc} was run with {name} = {short(one)} ({first.run.folder}) and "
            f"{short(two)} ({second.run.folder}): name folders that hold one of them"
        )


_CHOSEN = {method.name for method in methods(*coresets.FAMILY.tags & {"coreset"}, *whole.WHOLE.tags)}


def distilled(cells: Cells) -> Cells:
    """The cells whose method distils."""
    return {cell: variants for cell, variants in cells.items() if cell[1] not in _CHOSEN}


def mean_and_error(values: Sequence[float] | Array) -> tuple[float, float]:
    """Mean, and its standard error; NaN for a single value."""
    found = np.asarray(values, float)
    if found.size < 2:
        return float(found.mean()), math.nan
    return float(found.mean()), float(found.std(ddof=1) / math.sqrt(found.size))


def accuracy(seeds: Mapping[int, Recorded]) -> tuple[float, float, int]:
    """(mean accuracy in percent, its standard error over distillation seeds, seeds); NaN error for a single seed."""
    return (*mean_and_error([r.accuracies.mean() for r in seeds.values()]), len(seeds))


def shown(variants: Variants, most: int = 3) -> list[Correction]:
    """What a picture has room for: the plain method and at most `most` corrections, spread over the coefficients."""
    others = [c for c in variants if c != PLAIN]
    places = sorted({round(p) for p in np.linspace(0, len(others) - 1, min(most, len(others)))}) if others else []
    return [c for c in (PLAIN,) if c in variants] + [others[p] for p in places]


def representative(variants: Variants) -> Correction | None:
    """The positive constant coefficient with most seeds that the plain method has too; of those the most accurate."""
    plain = variants.get(PLAIN, {})
    paired = [c for c in variants if c.start > 0 and not c.adaptive and plain.keys() & variants[c].keys()]
    return max(paired, key=lambda c: (len(plain.keys() & variants[c].keys()), accuracy(variants[c])[0]), default=None)
