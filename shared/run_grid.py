"""Measurements from recorded runs: folders with `config.json`, `metrics.jsonl`, `summary.json` (`shared.records`).

What is read: of the settings `method`, `dataset`, `ipc`, `sdc` (lambda; absent is 0) and `seed`; of the summary
`evaluation` (its network's name and accuracies) and, where a run was made with its comparisons, `results.random` and
`results.whole`; of the metrics `pull` (relative pull) and, from the difficulty probe, `gradn_synthetic_trained`,
`misclassified_synthetic_trained`, and the test errors of the networks used for matching, for which the probe networks
stand: untrained and trained for a little (`misclassified_real_random`, `misclassified_real_trained`). A run with
evaluation points (`test_accuracies`, `validation_accuracies`) counts with the best of them on the test set, as
trajectory matching is published, and with the last and the validated one beside it.
Runs with another correction (a schedule of lambda, a hard threshold) are not cells of the grid and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shared.evaluation_points import CHOSEN, LAST, MAXIMUM, evaluation_points
from shared.grid import RANDOM, WHOLE, BadGrid, Measurement, family_of
from shared.records import Run, select

_ELSEWHERE = ("asdc", "hard_threshold")
_POINTS = {MAXIMUM: "accuracy", LAST: "accuracy_last", CHOSEN: "accuracy_validated"}
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
        measured, why_not = measurements_of(run)
        found += measured
        if why_not:
            left_out.append(why_not)
    return found, left_out


def measurements_of(run: Run) -> tuple[list[Measurement], str]:
    """The rows of one run, and why there are none (empty if there are)."""
    if run.summary is None or not ("evaluation" in run.summary or "results" in run.summary):
        return [], f"{run.folder}: not finished"
    if any(run.settings.get(name) is not None for name in _ELSEWHERE):
        return [], f"{run.folder}: its correction is not one coefficient"
    return [*_own(run), *_beside(run)], ""


def _own(run: Run) -> list[Measurement]:
    """Of the set that the run made."""
    evaluation = (run.summary or {}).get("evaluation")
    if evaluation is None:
        return []
    points, _ = evaluation_points(run.metrics())
    accuracies = {_POINTS[name]: row["test_accuracies"] for name, row in points.items()}
    return _measured(
        run,
        run.settings["method"].lower(),
        float(run.settings.get("sdc") or 0.0),
        int(run.config.get("seed", run.settings["seed"])),
        accuracies or {"accuracy": evaluation["accuracies"]},
        _per_run(run),
    )


def _beside(run: Run) -> list[Measurement]:
    """Of the random subsets and the whole training set that the run was compared with."""
    found = []
    for name in (RANDOM, WHOLE):
        for k, accuracies in enumerate((run.summary or {}).get("results", {}).get(name, {}).get("accuracies", [])):
            found += _measured(run, name, 0.0, int(run.settings["seed"]) + k, {"accuracy": accuracies}, {})
    return found


def _measured(
    run: Run,
    method: str,
    coefficient: float,
    seed: int,
    accuracies: Mapping[str, Sequence[float]],
    per_run: Mapping[str, float],
) -> list[Measurement]:
    """One row for each evaluation network; `accuracies` by column, one number a network."""
    settings, summary = run.settings, run.summary or {}
    network = summary.get("evaluation", {}).get("network", settings.get("network", "network"))
    classes = int(run.config.get("data", {}).get("classes", 0))
    ipc = 0 if method == WHOLE else int(settings["ipc"])
    columns = zip(*accuracies.values(), strict=True)
    return [
        Measurement(
            method,
            settings["dataset"],
            classes,
            ipc,
            coefficient,
            seed,
            f"{network}/{k}",
            {**dict(zip(accuracies, values, strict=True)), **per_run},
        )
        for k, values in enumerate(columns)
    ]


def _per_run(run: Run) -> dict[str, float]:
    values: dict[str, float] = {}
    _, pull = run.series("pull")
    pull = pull[np.isfinite(pull)]
    if pull.size:
        values["relative_pull_start"], values["relative_pull"] = float(pull[0]), float(pull.mean())
    elif not run.settings.get("sdc") and family_of(run.settings["method"]) != "other":
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
