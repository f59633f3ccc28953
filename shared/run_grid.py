"""Measurements from recorded runs: folders with `config.json`, `metrics.jsonl`, `summary.json` (`shared.records`).

What is read: of the settings `method`, `dataset`, `ipc`, `sdc` (lambda; absent is 0) and `seed`; of the summary
`evaluation` (its network's name and accuracies) and, where a run was made with its comparisons, `results.random` and
`results.whole`; of the metrics `pull` (relative pull) and, from the difficulty probe, `gradn_synthetic_trained` and
`misclassified_synthetic_trained`. A run with evaluation points (`test_accuracies`, `validation_accuracies`) counts
with the best of them on the test set, as trajectory matching is published, and with the last and the validated one
beside it.

The errors of the networks used for matching are not recorded; probe networks of the same architecture stand for them.
Where every network is matched as it was initialised (gradient matching with one update of the images a network, or
with no training between updates) these are the untrained ones (`misclassified_real_random`). Else networks are met
at all stages from untrained to trained (on the synthetic set, or on real images as experts), and the band reaches
down to the probe's trained networks (`misclassified_real_trained`).

A run that diverged (`failure.json`) is a measurement without numbers. Runs with another correction (a schedule of
lambda, a hard threshold) are not cells of the grid and are left out, as are runs that failed or are not finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from shared import metric_names as metric
from shared.agreement import Cell, cell_of, disagreement, short
from shared.evaluation_points import CHOSEN, LAST, MAXIMUM, evaluation_points
from shared.grid import RANDOM, WHOLE, BadGrid, Measurement, family_of
from shared.records import CONFIG, FAILURE, BadRecord, Run, failure_of, select

_VARIANT = ("width", "depth", "activation", "norm", "pooling")
_ELSEWHERE = ("asdc", "hard_threshold")
_POINTS = {MAXIMUM: "accuracy", LAST: "accuracy_last", CHOSEN: "accuracy_validated"}
_MEDIATORS = {
    "mediator_gradn": metric.gradn(metric.SYNTHETIC, metric.TRAINED),
    "mediator_misclassified": metric.misclassified(metric.SYNTHETIC, metric.TRAINED),
}


@dataclass(frozen=True)
class LeftOut:
    """A run without measurements: its folder, and why."""

    folder: Path
    why: str

    def __str__(self) -> str:
        return f"{self.folder}: {self.why}"


NOT_FINISHED = "not finished"


def read_runs(*folders: str | Path) -> tuple[list[Measurement], list[LeftOut]]:
    """All runs below the folders: (measurements, what was left out). A run that is found twice counts once.

    Raises:
        BadGrid: a folder holds no run, or runs of one cell differ in a setting that is not compared.
        BadRecord: a record is damaged.
    """
    found: list[Measurement] = []
    left_out: list[LeftOut] = []
    first: dict[Cell, list[Run]] = {}
    for run in _runs(folders):
        measured, why_not = measurements_of(run)
        found += measured
        if why_not:
            left_out.append(LeftOut(run.folder, why_not))
        if measured:
            _check_agreement(run, first)
    # A run may fail before it has written down what it was to be.
    failed = sorted({path.parent for folder in folders for path in Path(folder).rglob(FAILURE)})
    left_out += [LeftOut(f, _unfinished(f)) for f in failed if not (f / CONFIG).exists()]
    return found, left_out


def _runs(folders: Iterable[str | Path]) -> Iterator[Run]:
    seen: set[Path] = set()
    for folder in folders:
        if not any(Path(folder).rglob(CONFIG)):
            raise BadGrid(f"{folder} holds no runs: no config.json in it or below it")
        for run in select(folder):
            if run.folder.resolve() not in seen:
                seen.add(run.folder.resolve())
                yield run


def _check_agreement(run: Run, first: dict[Cell, list[Run]]) -> None:
    """Against the first run of its cell with a correction and the first without."""
    try:
        cell = cell_of(run.settings)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"{run.folder} is not the record of a distillation ({error!r})") from error
    known = first.setdefault(cell, [])
    for other in known:
        differ = disagreement(other.settings, run.settings)
        if differ:
            name, one, two = differ
            dataset, method, ipc = cell
            raise BadGrid(
                f"{method} on {dataset} at IPC {ipc} was run with {name} = {short(one)} ({other.folder}) and "
                f"{short(two)} ({run.folder}): name folders that hold one of them"
            )
    if not any((other.settings.get("sdc") is None) == (run.settings.get("sdc") is None) for other in known):
        known.append(run)


def measurements_of(run: Run) -> tuple[list[Measurement], str]:
    """The rows of one run, and why there are none (empty if there are)."""
    if any(run.settings.get(name) is not None for name in _ELSEWHERE):
        return [], "its correction is not one coefficient"
    failure = failure_of(run.folder)
    if failure is not None and failure.kind == "diverged":
        return [_row(run, *_identity(run), diverged=failure.reason)], ""
    if failure is not None or run.summary is None or not ("evaluation" in run.summary or "results" in run.summary):
        return [], _unfinished(run.folder)
    return [*_own(run), *_beside(run)], ""


def _unfinished(folder: Path) -> str:
    failure = failure_of(folder)
    return f"{failure.kind} ({failure.reason})" if failure else NOT_FINISHED


def _own(run: Run) -> list[Measurement]:
    """Of the set that the run made."""
    evaluation = (run.summary or {}).get("evaluation")
    if evaluation is None:
        return []
    points, _ = evaluation_points(run.metrics())
    accuracies = {_POINTS[name]: row[metric.accuracies(metric.TEST)] for name, row in points.items()}
    return _measured(run, *_identity(run), accuracies or {"accuracy": evaluation["accuracies"]}, _per_run(run))


def _identity(run: Run) -> tuple[str, float, int]:
    """(method, lambda, seed)."""
    settings = run.settings
    return settings["method"].lower(), float(settings.get("sdc") or 0.0), int(run.config.get("seed", settings["seed"]))


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
    network = (run.summary or {}).get("evaluation", {}).get("network", run.settings.get("network", "network"))
    rows = [dict(zip(accuracies, values, strict=True)) for values in zip(*accuracies.values(), strict=True)]
    return [
        _row(run, method, coefficient, seed, f"{network}/{k}", {**row, **per_run}) for k, row in enumerate(rows)
    ]


def _row(
    run: Run,
    method: str,
    coefficient: float,
    seed: int,
    network: str = "",
    values: Mapping[str, float] = MappingProxyType({}),
    diverged: str = "",
) -> Measurement:
    classes = int(run.config.get("data", {}).get("classes", 0))
    ipc = 0 if method == WHOLE else int(run.settings["ipc"])
    dataset = str(run.settings["dataset"])
    return Measurement(
        method, dataset, classes, ipc, coefficient, seed, network, values,
        diverged=diverged, architecture=_architecture(run.settings),
    )  # fmt: skip


def _architecture(settings: Mapping[str, Any]) -> str:
    """The network in words, with what was chosen of it; empty if not recorded."""
    given = [f"{name} {settings[name]}" for name in _VARIANT if settings.get(name) is not None]
    return ", ".join([str(settings["network"]), *given]) if settings.get("network") else ""


def _per_run(run: Run) -> dict[str, float]:
    values: dict[str, float] = {}
    _, pull = run.series(metric.PULL)
    pull = pull[np.isfinite(pull)]
    if pull.size:
        values["relative_pull_start"], values["relative_pull"] = float(pull[0]), float(pull.mean())
    elif not run.settings.get("sdc") and family_of(run.settings["method"]) != "other":
        values["relative_pull_start"] = values["relative_pull"] = 0.0
    for name, of in _MEDIATORS.items():
        _, series = run.series(of)
        if series.size and np.isfinite(series[[0, -1]]).all():
            values[f"{name}_start"], values[name] = float(series[0]), float(series[-1])
    kinds = (metric.UNTRAINED,) if matched_untrained(run.settings) else (metric.UNTRAINED, metric.TRAINED)
    errors = [run.series(metric.misclassified(metric.REAL, kind))[1] for kind in kinds]
    if all(np.isfinite(e).any() for e in errors):
        means = [float(np.nanmean(e)) for e in errors]
        values["probe_error_low"], values["probe_error_high"] = min(means), max(means)
    return values


def matched_untrained(settings: Mapping[str, Any]) -> bool:
    """Whether a run met every network as it was initialised, and none that had been trained."""
    one_update, no_training = settings.get("matching_steps") == 1, settings.get("network_epochs") == 0
    return family_of(str(settings["method"])) == "gradient" and (one_update or no_training)
