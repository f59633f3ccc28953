"""Measurements from recorded runs: folders with `config.json`, `metrics.jsonl`, `summary.json` (`shared.records`).

What is read: of the settings `method`, `dataset`, `ipc`, `sdc` (lambda; absent is 0) and `seed`; of the summary
`evaluation` (its network's name and accuracies) and, where a run was made with its comparisons, `results.random` and
`results.whole`; of the metrics `pull` (relative pull) and, from the difficulty probe, `gradn_synthetic_trained`,
`misclassified_synthetic_trained`, and the test errors of the networks used for matching, for which the probe networks
stand: untrained and trained for a little (`misclassified_real_random`, `misclassified_real_trained`).
Runs with another correction (a schedule of lambda, a hard threshold) are not cells of the grid and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shared.grid import RANDOM, WHOLE, BadGrid, Measurement, family_of
from shared.records import Run, select

_ELSEWHERE = ("asdc", "hard_threshold")
_MEDIATORS = {"mediator_gradn": "gradn_synthetic_trained", "mediator_misclassified": "misclassified_synthetic_trained"}


def read_runs(folder: str | Path) -> tuple[list[Measurement], list[str]]:
    """All finished runs below a folder: (measurements, sentences on what was left out).

    Raises:
        BadGrid: there is no run.
    """
    found: list[Measurement] = []
    left_out: list[str] = []
    runs = list(select(folder))
    if not runs:
        raise BadGrid(f"{folder} holds no runs: no config.json in it or below it")
    for run in runs:
        if run.summary is None or not ("evaluation" in run.summary or "results" in run.summary):
            left_out.append(f"{run.folder}: not finished")
        elif any(run.settings.get(name) is not None for name in _ELSEWHERE):
            left_out.append(f"{run.folder}: its correction is not one coefficient")
        else:
            found += _of_run(run)
    return found, left_out


def _of_run(run: Run) -> list[Measurement]:
    settings, summary = run.settings, run.summary or {}
    data = run.config.get("data", {})
    seed = int(run.config.get("seed", settings["seed"]))
    network = summary.get("evaluation", {}).get("network", settings.get("network", "network"))
    common = {"dataset": settings["dataset"], "classes": int(data.get("classes", 0)), "network": network}
    found = []
    if "evaluation" in summary:
        method = settings["method"].lower()
        ipc = 0 if method == WHOLE else int(settings["ipc"])
        coefficient = float(settings.get("sdc") or 0.0)
        values = _per_run(run)
        found += _measured(method, ipc, coefficient, seed, summary["evaluation"]["accuracies"], common, values)
    for name in (RANDOM, WHOLE):
        for k, accuracies in enumerate(summary.get("results", {}).get(name, {}).get("accuracies", [])):
            ipc = 0 if name == WHOLE else int(settings["ipc"])
            found += _measured(name, ipc, 0.0, int(settings["seed"]) + k, accuracies, common, {})
    return found


def _measured(
    method: str,
    ipc: int,
    coefficient: float,
    seed: int,
    accuracies: list[float],
    common: Mapping[str, Any],
    values: Mapping[str, float],
) -> list[Measurement]:
    return [
        Measurement(
            method,
            common["dataset"],
            common["classes"],
            ipc,
            coefficient,
            seed,
            f"{common['network']}/{k}",
            {"accuracy": accuracy, **values},
            family_of(method),
        )
        for k, accuracy in enumerate(accuracies)
    ]


def _per_run(run: Run) -> dict[str, float]:
    values: dict[str, float] = {}
    _, pull = run.series("pull")
    pull = pull[np.isfinite(pull)]
    if pull.size:
        values["relative_pull_start"], values["relative_pull"] = float(pull[0]), float(pull.mean())
    elif not run.settings.get("sdc"):
        values["relative_pull_start"] = values["relative_pull"] = 0.0
    for name, metric in _MEDIATORS.items():
        _, series = run.series(metric)
        if series.size and np.isfinite(series[[0, -1]]).all():
            values[f"{name}_start"], values[name] = float(series[0]), float(series[-1])
    errors = [run.series(f"misclassified_real_{kind}")[1] for kind in ("trained", "random")]
    if all(e.size for e in errors):
        means = [float(np.nanmean(e)) for e in errors]
        values["probe_error_low"], values["probe_error_high"] = min(means), max(means)
    return values
