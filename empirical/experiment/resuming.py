"""What a run's folder says of an earlier call: what was typed, whether it is the same run, what is finished."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from empirical.data.datasets import Dataset
from empirical.distillation.loop import refuse_difference
from empirical.evaluation.protocol import Evaluation
from empirical.experiment.experiment import Experiment
from empirical.experiment.families import family_of
from empirical.settings.identity import JUDGED, identity
from empirical.settings.settings import Resolved, Settings
from empirical.settings.trajectory import TrajectorySettings
from shared.records.records import SUMMARY, plain, read, write_json

TYPED = "settings.json"
"""What was typed, with the preset's values: what `--resume` starts from; and what it resolved to."""


def _content(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: name another folder with --out, or start again without --resume")
    return found


def stored(folder: Path) -> dict[str, Any]:
    """The typed settings of the run in a folder, as constructor arguments.

    Raises:
        ValueError: there is no run, or its file is damaged.

    """
    file = folder / TYPED
    if not file.is_file():
        raise ValueError(f"nothing to resume in {folder}: it holds no run")
    typed = _content(file).get("settings", {})
    known = {f.name for f in fields(Settings)}
    values = {name: value for name, value in typed.items() if name in known}
    if isinstance(own := values.get("trajectory"), dict):
        nested: dict[str, Any] = {**own, "experts": Path(own["experts"]) if own["experts"] else None}
        values["trajectory"] = TrajectorySettings(**nested)
    values["asdc"] = tuple(values["asdc"]) if values.get("asdc") else None
    for name in ("data_root", "out"):
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

    Raises:
        OtherRun: the folder's run has other settings or other data.

    """
    if not (folder / TYPED).is_file():
        return
    there = _content(folder / TYPED)
    if (theirs := there.get("identity")) is not None:
        before, now = _flat(there.get("settings") or {}), _flat(plain(typed))
        changed = {name for name in before.keys() & now.keys() if before[name] != now[name]}
        refuse_difference(folder, theirs, run_identity(resolved, dataset), changed)


def finished(experiment: Experiment) -> dict[str, Evaluation] | None:
    """The evaluations of a set that a resumed run had finished before; None: still to be made, or judged otherwise."""
    if not experiment.settings.resume or not (experiment.folder / SUMMARY).exists():
        return None
    earlier = read(experiment.folder)
    if any(earlier.settings.get(name) != plain(getattr(experiment.settings, name)) for name in JUDGED):
        return None
    found = (earlier.summary or {}).get("evaluations", {})
    return {name: Evaluation(e["network"], tuple(e["accuracies"])) for name, e in found.items()} or None
