"""The compact CSV of a sweep: one row for each evaluation network of each finished cell.

Columns are those that `shared.grid` reads. `relative_pull` is recorded for coefficients other than 0 and is 0 for
the plain method; the mediator is measured on the probe networks that were trained for a little, and the probe's
error is that of the matching networks' stand-ins, untrained and trained for a little, on real images.
Cells without a result have no row.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from empirical.gradient_matching.methods import METHODS
from empirical.sweep.cells import Cell
from empirical.sweep.ledger import folder_of, state_of
from shared.atomic import write_atomically
from shared.records import Run, read

PER_RUN = (
    "relative_pull_start",
    "relative_pull",
    "mediator_gradn_start",
    "mediator_gradn",
    "mediator_misclassified_start",
    "mediator_misclassified",
    "probe_error_low",
    "probe_error_high",
)
COLUMNS = ("method", "dataset", "classes", "ipc", "lambda", "seed", "network", "accuracy", "family", *PER_RUN)
_MEDIATORS = {"mediator_gradn": "gradn_synthetic_trained", "mediator_misclassified": "misclassified_synthetic_trained"}


def write_grid(path: Path, root: Path, cells: Sequence[Cell]) -> int:
    """Writes the rows of all finished cells, atomically and in a fixed order; returns how many cells those are."""
    done = [cell for cell in cells if state_of(folder_of(root, cell)).name == "done"]
    rows = [row for cell in done for row in _rows(cell, read(folder_of(root, cell)))]
    rows.sort(key=lambda r: tuple(r[c] for c in ("dataset", "method", "ipc", "lambda", "seed", "network")))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
    return len(done)


def _rows(cell: Cell, run: Run) -> Iterable[dict[str, Any]]:
    settings, evaluation = cell.settings, (run.summary or {})["evaluation"]
    common = {
        "method": settings.method,
        "dataset": settings.dataset,
        "classes": run.config["data"]["classes"],
        "ipc": 0 if settings.method == "whole" else settings.ipc,
        "lambda": cell.coefficient,
        "seed": settings.seed,
        "family": "gradient" if settings.method in METHODS else "",
        **per_run(run, plain=not cell.coefficient),
    }
    for number, accuracy in enumerate(evaluation["accuracies"]):
        yield {**common, "network": f"{evaluation['network']}/{number}", "accuracy": accuracy}


def per_run(run: Run, plain: bool) -> dict[str, float]:
    """The columns `PER_RUN` of a run, as far as it recorded them."""
    found: dict[str, float] = {}
    _, pull = run.series("pull")
    pull = pull[np.isfinite(pull)]
    if pull.size:
        found["relative_pull_start"], found["relative_pull"] = float(pull[0]), float(pull.mean())
    elif plain and run.series("distance")[1].size:
        found["relative_pull_start"] = found["relative_pull"] = 0.0
    for column, metric in _MEDIATORS.items():
        _, series = run.series(metric)
        if series.size and np.isfinite(series[[0, -1]]).all():
            found[f"{column}_start"], found[column] = float(series[0]), float(series[-1])
    errors = [run.series(f"misclassified_real_{kind}")[1] for kind in ("trained", "random")]
    if all(series.size for series in errors):
        means = [float(np.nanmean(series)) for series in errors]
        found["probe_error_low"], found["probe_error_high"] = min(means), max(means)
    return found
