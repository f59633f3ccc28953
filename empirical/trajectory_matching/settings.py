"""Settings of trajectory matching, and what the published tables say: `presets.toml` beside this file.

A setting that is None is as published for its method, data set and images a class (`filled`); where no cell is
published, as in the table's own `otherwise` row, and beta starts at lr_expert M steps_per_epoch / N, the distance that
an expert moves in learning time.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from empirical.trajectory_matching.experts import Kind
from empirical.trajectory_matching.starts import StartEpochs


@dataclass(frozen=True)
class MethodSettings:
    """What tells the published methods apart.

    Attributes:
        experts: how they are trained.
        propagate: the exact gradient; false is TESLA's.
        labels: hard, or learned logits.

    """

    experts: Kind
    propagate: bool
    labels: Literal["hard", "learned"]


METHODS: dict[str, MethodSettings] = {
    "mtt": MethodSettings("sgd", propagate=True, labels="hard"),
    "ftd": MethodSettings("flat", propagate=True, labels="hard"),
    "tesla": MethodSettings("sgd", propagate=False, labels="hard"),
    "datm": MethodSettings("flat", propagate=True, labels="learned"),
}


@dataclass(frozen=True)
class TrajectorySettings:
    """What only trajectory matching needs.

    Attributes:
        syn_steps: inner steps of the student, N.
        expert_epochs: epochs from start to target snapshot, M.
        min_start_epoch: smallest start epoch.
        current_max_start_epoch: end (exclusive) of the start epochs at iteration 0, if it grows (DATM).
        max_start_epoch: end (exclusive) of the start epochs.
        expansion_end_epoch: iterations over which it grows.
        batch_syn: synthetic images an inner step; 0: all of them.
        lr_teacher: what the student's learning rate beta starts at.
        lr_lr: learning rate of beta.
        lr_y: learning rate of learned labels (momentum 0.9).
        syn_lr_min: beta does not fall below this.
        ema_decay: of a running average of the images, which is then what is evaluated and stored; 0: none.
        threshold: matching loss above which an iteration changes nothing; 0: never.
        gradient: exact, or frozen (TESLA's approximation).
        legacy_half_gradient: halve the image gradient as TESLA's published program does.
        teacher_label: labels are the target snapshot's probabilities on the images (TESLA's option).
        sdc_steps: inner steps that the correction counts: all (their mean), first or last.
        zca: whiten the images in place of mean and deviation.
        eval_it: updates between two evaluations.
        experts: folder of the experts; named after data, network and recipe if not given.
        expert_count: experts used.
        expert_training_epochs: epochs of an expert.
        expert_rate: its learning rate.
        expert_batch: its batch.
        alpha: weight of GSAM's orthogonal part (flat experts).
        rho: radius of GSAM.
        make_experts: make missing experts; only if that is a matter of minutes, if not given.
        chunk: synthetic images whose graph is held at once, to bound memory; 0: a whole batch.
        compiled_student: compile both derivatives of the student's loss.

    """

    syn_steps: int | None = None
    expert_epochs: int | None = None
    min_start_epoch: int | None = None
    current_max_start_epoch: int | None = None
    max_start_epoch: int | None = None
    expansion_end_epoch: int | None = None
    batch_syn: int | None = None
    lr_teacher: float | None = None
    lr_lr: float | None = None
    lr_y: float | None = None
    syn_lr_min: float | None = None
    ema_decay: float | None = None
    threshold: float | None = None
    gradient: Literal["exact", "frozen"] | None = None
    legacy_half_gradient: bool = False
    teacher_label: bool = False
    sdc_steps: Literal["all", "first", "last"] = "all"
    zca: bool | None = None
    eval_it: int | None = None
    experts: Path | None = None
    expert_count: int | None = None
    expert_training_epochs: int | None = None
    expert_rate: float | None = None
    expert_batch: int | None = None
    alpha: float | None = None
    rho: float | None = None
    make_experts: bool | None = None
    chunk: int = 0
    compiled_student: bool = False

    def check(self) -> None:
        """Refuses what cannot be right; None is right.

        Raises:
            ValueError: one sentence.

        """
        for name in ("syn_steps", "expert_epochs", "max_start_epoch", "eval_it", "expert_count", "expert_batch",
                     "expert_training_epochs", "expansion_end_epoch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is at least 1, not {value}")
        for name in ("lr_teacher", "expert_rate", "rho", "syn_lr_min"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is a finite number above 0, not {value}")
        for name in ("lr_lr", "lr_y", "alpha", "threshold", "batch_syn", "chunk", "min_start_epoch"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is a finite number of at least 0, not {value}")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(f"--ema-decay is in [0, 1), not {self.ema_decay}")

    @property
    def starts(self) -> StartEpochs:
        """Of settings that are filled.

        Raises:
            ValueError: an empty range.

        """
        high = self.max_start_epoch or 1
        first = self.current_max_start_epoch
        return StartEpochs(self.min_start_epoch or 0, high, first or None, self.expansion_end_epoch or 1)

    @property
    def epochs_needed(self) -> int:
        """Epochs that an expert must have been trained."""
        return (self.max_start_epoch or 1) - 1 + (self.expert_epochs or 1)


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))


def row(method: str, dataset: str, ipc: int, preset: str) -> dict[str, Any]:
    """The settings of one cell: the method's own, overlaid by the cell's (or `otherwise`'s) values.

    The small preset has one row a method, for all data sets.
    """
    tables = _tables()
    common = dict(tables["small" if preset == "laptop" else "methods"][method])
    if preset == "laptop":
        return common
    cells = tables.get(dataset, {}).get(method, {})
    return {**common, **cells.get(str(ipc), tables["otherwise"])}


def published_lambda(method: str, dataset: str, ipc: int) -> float | None:
    """Lambda of Tables 5 to 8; None where no cell is published."""
    value = _tables().get(dataset, {}).get(method, {}).get(str(ipc), {}).get("sdc")
    return None if value is None else float(value)


def run_values(method: str, dataset: str, ipc: int, preset: str) -> dict[str, Any]:
    """Values of the row that belong to settings which all methods share (iterations, learning rate, ...)."""
    own = {f.name for f in fields(TrajectorySettings)}
    return {k: v for k, v in row(method, dataset, ipc, preset).items() if k not in own and k != "sdc"}


def filled(
    settings: TrajectorySettings, method: str, dataset: str, ipc: int, preset: str, images: int
) -> TrajectorySettings:
    """All that is None taken from the cell's row; `images` is the size of the real training set.

    Raises:
        ValueError: what results is not consistent.

    """
    values = row(method, dataset, ipc, preset)
    defaults: dict[str, Any] = {
        "min_start_epoch": 0,
        "current_max_start_epoch": 0,
        "expansion_end_epoch": 1,
        "batch_syn": 0,
        "lr_y": 0.0,
        "ema_decay": 0.0,
        "threshold": 0.0,
        "zca": False,
        "gradient": "exact" if METHODS[method].propagate else "frozen",
        "rho": 0.01,
        "alpha": 0.3,
        "expert_rate": 0.01,
        "expert_batch": 256,
    }
    given: dict[str, Any] = {}
    for f in fields(TrajectorySettings):
        if getattr(settings, f.name) is None:
            value = values.get(f.name, defaults.get(f.name))
            given[f.name] = value
    found = replace(settings, **given)
    if found.lr_teacher is None:
        per_epoch = -(-images // (found.expert_batch or 256))
        beta = (found.expert_rate or 0.01) * (found.expert_epochs or 1) * per_epoch / (found.syn_steps or 1)
        found = replace(found, lr_teacher=beta)
    found.check()
    found.starts  # noqa: B018  (raises if the range is empty)
    if found.epochs_needed > (found.expert_training_epochs or 0):
        raise ValueError(
            f"start epochs below {found.max_start_epoch} with targets {found.expert_epochs} later need experts of "
            f"{found.epochs_needed} epochs, --expert-training-epochs is {found.expert_training_epochs}"
        )
    return found
