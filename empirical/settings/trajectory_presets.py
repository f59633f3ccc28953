"""What the published tables say of trajectory matching (`trajectory_presets.toml`), and how it fills settings in.

Where no cell is published the table's own `otherwise` row stands in, and beta starts at
lr_expert M steps_per_epoch / N, the distance that an expert moves in learning time.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from empirical.settings.trajectory import ResolvedTrajectory, TrajectorySettings
from empirical.trajectory_matching.student_rate import on_small_data

USUAL = "mtt"
"""The method whose own rows stand in for a method that is in no table."""
_DEFAULTS: Mapping[str, Any] = {
    "min_start_epoch": 0,
    "current_max_start_epoch": 0,
    "expansion_end_epoch": 1,
    "batch_syn": 0,
    "lr_y": 0.0,
    "ema_decay": 0.0,
    "threshold": 0.0,
    "zca": False,
    "rho": 0.01,
    "alpha": 0.3,
    "expert_rate": 0.01,
    "expert_batch": 256,
}


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads((Path(__file__).parent / "trajectory_presets.toml").read_text(encoding="utf-8"))


def row(method: str, dataset: str, ipc: int, preset: str) -> dict[str, Any]:
    """The settings of one cell: the method's own, overlaid by the cell's (or `otherwise`'s) values.

    The small preset has one row a method, for all data sets.
    """
    tables = _tables()
    of_methods = tables["small" if preset == "laptop" else "methods"]
    common = dict(of_methods.get(method, of_methods[USUAL]))
    if preset == "laptop":
        return common
    cells = tables.get(dataset, {}).get(method, {})
    return {**common, **cells.get(str(ipc), tables["otherwise"])}


def published_lambda(method: str, dataset: str, ipc: int) -> float | None:
    """Lambda of Tables 5 to 8 of arXiv 2408.12483; None where no cell is published."""
    value = _tables().get(dataset, {}).get(method, {}).get(str(ipc), {}).get("sdc")
    return None if value is None else float(value)


def run_values(method: str, dataset: str, ipc: int, preset: str) -> dict[str, Any]:
    """Values of the row that belong to settings which all methods share (iterations, learning rate, ...)."""
    own = {f.name for f in fields(TrajectorySettings)}
    return {k: v for k, v in row(method, dataset, ipc, preset).items() if k not in own and k != "sdc"}


def filled(
    typed: TrajectorySettings,
    values: Mapping[str, Any],
    gradient: Literal["exact", "frozen"],
    images: int,
    small: bool = False,
) -> ResolvedTrajectory:
    """All that is None taken from a cell's row.

    Args:
        typed: settings as typed.
        values: the row.
        gradient: the method's own.
        images: size of the real training set.
        small: the row is that of the small preset, whose student must not outrun experts of few images.

    Raises:
        ValueError: what results is not consistent.

    """
    usual = {**_DEFAULTS, "gradient": gradient, **values}
    if small:
        typed_values = {name: getattr(typed, name, None) for name in usual}
        used = {name: usual[name] if value is None else value for name, value in typed_values.items()}
        usual |= on_small_data(usual, used, images)
    found = {f.name: getattr(typed, f.name) for f in fields(TrajectorySettings)}
    found = {name: usual.get(name) if value is None else value for name, value in found.items()}
    if found["lr_teacher"] is None:
        per_epoch = -(-images // found["expert_batch"])
        found["lr_teacher"] = found["expert_rate"] * found["expert_epochs"] * per_epoch / found["syn_steps"]
    resolved = ResolvedTrajectory(**found)
    resolved.check()
    resolved.starts  # noqa: B018  (raises if the range is empty)
    if resolved.epochs_needed > resolved.expert_training_epochs:
        raise ValueError(
            f"start epochs below {resolved.max_start_epoch} with targets {resolved.expert_epochs} later need experts "
            f"of {resolved.epochs_needed} epochs, --expert-training-epochs is {resolved.expert_training_epochs}"
        )
    return resolved
