"""What a run's folder says of an earlier call: what was typed, whether it is the same run, what is finished."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from empirical import synthetic
from empirical.data.datasets import Dataset
from empirical.distillation.loop import refuse_difference
from empirical.evaluation.protocol import Evaluation
from empirical.experiment.experiment import Experiment
from empirical.experiment.families import family_of
from empirical.settings.identity import JUDGED, identity
from empirical.settings.settings import Distilled, Resolved, Settings
from empirical.settings.trajectory import TrajectorySettings
from shared.records import metric_names as metric
from shared.records.decoding import METRICS, SUMMARY
from shared.records.records import plain, read, recorded_rows, write_json

TYPED = "settings.json"
"""What was typed, with the preset's values: what `--resume` starts from; and what it resolved to."""


def _content(file: Path) -> dict[str, dict[str, Any]]:
    """Of `settings.json`: `settings` as typed and `identity`, both whole.

    Raises:
        ValueError: the file is damaged, or says less than `write_typed` writes.

    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    parts = [found.get(name) for name in ("settings", "identity")] if isinstance(found, dict) else []
    if not all(isinstance(part, dict) and "method" in part and "seed" in part for part in parts) or not parts:
        raise ValueError(
            f"{file} is damaged: it does not say which run this is; name another folder with --out, or start again "
            "without --resume"
        )
    return found


def stored(folder: Path) -> dict[str, Any]:
    """The typed settings of the run in a folder, as constructor arguments.

    Raises:
        ValueError: there is no run, or its file is damaged.

    """
    file = folder / TYPED
    if not file.is_file():
        raise ValueError(f"nothing to resume in {folder}: it holds no run")
    typed = _content(file)["settings"]
    known = {f.name for f in fields(Settings)}
    values = {name: value for name, value in typed.items() if name in known}
    if isinstance(own := values.get("trajectory"), dict):
        nested: dict[str, Any] = {**own, "experts": Path(own["experts"]) if own["experts"] else None}
        values["trajectory"] = TrajectorySettings(**nested)
    for name in ("asdc", "asdc_pull"):
        values[name] = tuple(values[name]) if values.get(name) else None
    for name in ("data_root", "out", "scores"):
        values[name] = Path(values[name]) if values.get(name) else None
    return values


def run_identity(settings: Resolved, dataset: Dataset) -> dict[str, Any]:
    """Of resolved settings. The evaluation points of trajectory matching belong to the run itself."""
    judged = {name: getattr(settings, name) for name in JUDGED if family_of(settings).judged_along}
    return plain({**identity(settings), **judged, "data": dataset.fingerprint})


def write_typed(folder: Path, typed: Settings, resolved: Resolved, dataset: Dataset) -> None:
    """Leaves what `stored` and `refuse_other` read."""
    write_json(folder / TYPED, {"settings": typed, "identity": run_identity(resolved, dataset)})


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings beside the others, named as in the identity."""
    nested = settings.get("trajectory") or {}
    return {**settings, **{f"trajectory {name}": value for name, value in nested.items()}}


def refuse_other(folder: Path, resolved: Resolved, dataset: Dataset, typed: Settings) -> None:
    """Keeps a finished or unfinished run from being gone on with under other settings.

    Several repetitions have a folder each and one has none, so that one run cannot become several; more of several can.

    Raises:
        OtherRun: the folder's run has other settings or other data.
        ValueError: its file is damaged.

    """
    if not (folder / TYPED).is_file():
        return
    there = _content(folder / TYPED)
    before, now = _flat(there["settings"]), _flat(plain(typed))
    changed = {name for name in before.keys() & now.keys() if before[name] != now[name]}
    refuse_difference(folder, there["identity"], run_identity(resolved, dataset), changed)
    theirs, ours = there["settings"].get("repetitions", 1), resolved.repetitions
    if (theirs == 1) != (ours == 1):
        refuse_difference(folder, {"repetitions": theirs}, {"repetitions": ours})


def finished(experiment: Experiment) -> dict[str, Evaluation] | None:
    """The evaluations of a set that a resumed run had finished before; None: still to be made, or judged otherwise.

    A summary alone proves nothing: the set that it is of must be there, and the record of every step.

    Raises:
        BadSyntheticSet, BadRecord: what is there is damaged.
        ValueError: the record lacks steps.

    """
    folder = experiment.folder
    if not experiment.settings.resume or not (folder / SUMMARY).exists() or not (folder / synthetic.FILE).exists():
        return None
    synthetic.load(folder)
    earlier = read(experiment.folder)
    _refuse_lost_steps(experiment)
    if any(earlier.settings.get(name) != plain(getattr(experiment.settings, name)) for name in JUDGED):
        return None
    found = (earlier.summary or {}).get("evaluations", {})
    return {name: Evaluation(e["network"], tuple(e["accuracies"])) for name, e in found.items()} or None


def _refuse_lost_steps(experiment: Experiment) -> None:
    """What is drawn and compared comes from the record: a finished run whose record has gaps is not passed over.

    Raises:
        ValueError: naming the first step that is missing.

    """
    settings, folder = experiment.settings, experiment.folder
    if not isinstance(settings, Distilled):
        return
    updates: int = getattr(settings, "updates", settings.iterations)
    recorded = {row["step"] for row in recorded_rows(folder) if metric.LOSS in row}
    if missing := sorted(set(range(updates)) - recorded):
        raise ValueError(
            f"{folder / METRICS} lacks step {missing[0]}, and {len(missing) - 1} more of the {updates} of a finished "
            "run: put back a copy of it, or make the run again in another folder"
        )
