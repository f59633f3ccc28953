"""Measurements from recorded runs: folders with `config.json`, `metrics.jsonl`, `summary.json` (`shared.records`).

What a run is and whether it counts says `shared.records.recorded`. Beside that are read, of the summary, the evaluation
network's name and, where a run was made with its comparisons, `results.random` and `results.whole`; of the metrics
(`shared.records.metric_names`) the relative pull and, from the difficulty probe, GraDN and misclassification rate of
the synthetic images on trained networks. A run with evaluation points counts with the best of them on the test set, as
trajectory matching is published, and with the last and the validated one beside it.

The errors of the networks used for matching are not recorded; probe networks of the same architecture stand for them.
Where every network is matched as it was initialised (gradient matching with one update of the images a network, or
with no training between updates) these are the untrained ones. Else networks are met at all stages from untrained
to trained (on the synthetic set, or on real images as experts), and the band reaches down to the probe's trained
networks. The errors are misclassification rates of real images.

A run that diverged (`failure.json`) is a measurement without numbers. Runs with another correction (a schedule of
lambda, a hard threshold) are not cells of the grid and are left out, as are runs that failed or are not finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from shared.comparison.grid import NORMS, BadGrid, Measurement, family_in_grid
from shared.records import metric_names as metric
from shared.records.decoding import CONFIG, damaged
from shared.records.evaluation_points import CHOSEN, LAST, MAXIMUM, evaluation_points
from shared.records.recorded import (
    NOT_FINISHED,
    LeftOut,
    NoRuns,
    NotOneExperiment,
    Recorded,
    outcome_of,
    read_recorded,
    refuse_disagreement,
    refuse_empty,
)
from shared.records.records import Run
from shared.records.roles import GRADIENT, OTHER, TRAJECTORY

_VARIANT = ("width", "depth", "activation", "norm", "pooling")
SCHEDULE = "its correction is not one coefficient: a schedule"
_POINTS = {MAXIMUM: "accuracy", LAST: "accuracy_last", CHOSEN: "accuracy_validated"}
_MEDIATORS = {
    "mediator_gradn": metric.gradn(metric.SYNTHETIC, metric.TRAINED),
    "mediator_misclassified": metric.misclassified(metric.SYNTHETIC, metric.TRAINED),
}


def read_runs(*folders: str | Path) -> tuple[list[Measurement], list[LeftOut]]:
    """All runs below the folders: (measurements, what was left out). A run that is found twice counts once.

    Raises:
        BadGrid: a folder holds no run, or runs of one cell differ in a setting that is not compared.
        BadRecord: a record is damaged.

    """
    found: list[Measurement] = []
    without: list[LeftOut] = []
    counted: list[Recorded] = []
    try:
        refuse_empty(folders)
        recorded, left_out = read_recorded(folders)
        for one in recorded:
            measured, why_not = _measurements(one)
            found += measured
            if measured:
                counted.append(one)
            else:
                without.append(LeftOut(one.run.folder, why_not))
        refuse_disagreement(counted)
    except (NoRuns, NotOneExperiment) as error:
        raise BadGrid(str(error)) from error
    return found, sorted([*without, *left_out], key=lambda run: str(run.folder))


def measurements_of(run: Run) -> tuple[list[Measurement], str]:
    """The rows of one run, and why there are none (empty if there are).

    Raises:
        BadRecord: it is not the record of a distillation.
    """
    outcome = outcome_of(run)
    return ([], outcome.why) if isinstance(outcome, LeftOut) else _measurements(outcome)


def _measurements(recorded: Recorded) -> tuple[list[Measurement], str]:
    if recorded.correction.adaptive:
        return [], SCHEDULE
    try:
        if recorded.diverged:
            return [_row(recorded, _Labels.of(recorded), diverged=recorded.diverged)], ""
        rows = [*_own(recorded), *_beside(recorded)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(recorded.run.folder / CONFIG, f"it is not the record of a distillation ({error!r})") from error
    return rows, "" if rows else NOT_FINISHED


@dataclass(frozen=True)
class _Labels:
    """What a row of a run is filed under."""

    method: str
    coefficient: float
    seed: int

    @classmethod
    def of(cls, recorded: Recorded) -> _Labels:
        """The run's own."""
        return cls(recorded.cell[1].lower(), recorded.correction.start, recorded.seed)


def _own(recorded: Recorded) -> list[Measurement]:
    """Of the set that the run made."""
    if recorded.accuracies is None:
        return []
    # Points along a run of trajectory matching are what it is judged by; along others they are a curve to look at.
    points, _ = evaluation_points(recorded.run.metrics() if recorded.family == TRAJECTORY else [])
    accuracies = {_POINTS[name]: row[metric.accuracies(metric.TEST)] for name, row in points.items()}
    return _measured(
        recorded, _Labels.of(recorded), accuracies or {"accuracy": recorded.accuracies.tolist()}, _per_run(recorded)
    )


def _beside(recorded: Recorded) -> list[Measurement]:
    """Of the random subsets and the whole training set that the run was compared with."""
    found = []
    results = (recorded.run.summary or {}).get("results", {})
    for name in (metric.RANDOM, metric.WHOLE):
        for k, accuracies in enumerate(results.get(name, {}).get("accuracies", [])):
            labels = _Labels(name, 0.0, int(recorded.run.settings["seed"]) + k)
            found += _measured(recorded, labels, {"accuracy": accuracies}, {})
    return found


def _measured(
    recorded: Recorded, labels: _Labels, accuracies: Mapping[str, Sequence[float]], per_run: Mapping[str, float]
) -> list[Measurement]:
    """One row for each evaluation network; `accuracies` by column, one number a network."""
    summary, settings = recorded.run.summary or {}, recorded.run.settings
    network = summary.get("evaluation", {}).get("network", settings.get("network", "network"))
    rows = [dict(zip(accuracies, values, strict=True)) for values in zip(*accuracies.values(), strict=True)]
    return [_row(recorded, labels, f"{network}/{k}", {**row, **per_run}) for k, row in enumerate(rows)]


def _row(
    recorded: Recorded,
    labels: _Labels,
    network: str = "",
    values: Mapping[str, float] = MappingProxyType({}),
    diverged: str = "",
) -> Measurement:
    settings = recorded.run.settings
    own = labels.method == recorded.cell[1].lower()
    return Measurement(
        labels.method, recorded.cell[0], int(recorded.run.config["data"]["classes"]),
        0 if labels.method == metric.WHOLE else int(settings["ipc"]), labels.coefficient, labels.seed, network, values,
        family=family_in_grid(recorded.family) if own else "", diverged=diverged, architecture=_architecture(settings),
    )  # fmt: skip


def _architecture(settings: Mapping[str, Any]) -> str:
    """The network in words, with what was chosen of it; empty if not recorded."""
    given = [f"{name} {settings[name]}" for name in _VARIANT if settings.get(name) is not None]
    return ", ".join([str(settings["network"]), *given]) if settings.get("network") else ""


def _per_run(recorded: Recorded) -> dict[str, float]:
    values: dict[str, float] = {}
    run, family = recorded.run, family_in_grid(recorded.family)
    _, pull = run.series(metric.PULL)
    pull = pull[np.isfinite(pull)]
    if pull.size:
        values["relative_pull_start"], values["relative_pull"] = float(pull[0]), float(pull.mean())
    elif not run.settings.get("sdc") and family != OTHER:
        values["relative_pull_start"] = values["relative_pull"] = 0.0
    _, moved = run.series(metric.IMAGES_MOVED)
    if moved.size and np.isfinite(moved[-1]):
        values[metric.IMAGES_MOVED] = float(moved[-1])
    for name, of in _MEDIATORS.items():
        _, series = run.series(of)
        ends = series[[0, -1]] if series.size else np.array([np.nan])
        # Norms that are 0 say that the samples were fitted beyond the numbers, not how difficult they are.
        if np.isfinite(ends).all() and (name not in NORMS or (ends > 0.0).all()):
            values[f"{name}_start"], values[name] = float(series[0]), float(series[-1])
    kinds = (metric.UNTRAINED,) if matched_untrained(run.settings, family) else (metric.UNTRAINED, metric.TRAINED)
    errors = [run.series(metric.misclassified(metric.REAL, kind))[1] for kind in kinds]
    if all(np.isfinite(e).any() for e in errors):
        means = [float(np.nanmean(e)) for e in errors]
        values["probe_error_low"], values["probe_error_high"] = min(means), max(means)
    return values


def matched_untrained(settings: Mapping[str, Any], family: str) -> bool:
    """Whether a run of that family met every network as it was initialised, and none that had been trained."""
    one_update, no_training = settings.get("matching_steps") == 1, settings.get("network_epochs") == 0
    return family == GRADIENT and (one_update or no_training)
