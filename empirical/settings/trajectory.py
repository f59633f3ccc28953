"""Settings that only trajectory matching needs, as typed: None is as published for the method, data set and images a
class (`empirical.settings.trajectory_presets`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from empirical.settings.roles import COUNT, check_number, numbered, setting
from empirical.trajectory_matching.starts import StartEpochs

_ALL = ("trajectory",)
_FLAT = ("flat experts",)


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

    syn_steps: int | None = setting(None, read_by=_ALL, least=1, most=COUNT)
    expert_epochs: int | None = setting(None, read_by=_ALL, least=1, most=COUNT)
    min_start_epoch: int | None = setting(None, read_by=_ALL, least=0, most=COUNT)
    current_max_start_epoch: int | None = setting(None, read_by=_ALL)
    max_start_epoch: int | None = setting(None, read_by=_ALL, least=1, most=COUNT)
    expansion_end_epoch: int | None = setting(None, read_by=_ALL, least=1, most=COUNT)
    batch_syn: int | None = setting(None, read_by=_ALL, least=0, most=COUNT)
    lr_teacher: float | None = setting(None, read_by=_ALL, above=0.0)
    lr_lr: float | None = setting(None, read_by=_ALL, least=0.0)
    lr_y: float | None = setting(None, read_by=("learned labels",), least=0.0)
    syn_lr_min: float | None = setting(None, read_by=_ALL, above=0.0)
    ema_decay: float | None = setting(None, read_by=_ALL, least=0.0, below=1.0)
    threshold: float | None = setting(None, read_by=_ALL, least=0.0)
    gradient: Literal["exact", "frozen"] | None = setting(None, read_by=_ALL)
    legacy_half_gradient: bool = setting(False, read_by=_ALL)
    teacher_label: bool = setting(False, read_by=_ALL)
    sdc_steps: Literal["all", "first", "last"] = setting("all", read_by=_ALL, needs=("correction", "comparison"))
    zca: bool | None = setting(None, read_by=_ALL)
    eval_it: int | None = setting(None, read_by=_ALL, least=1, most=COUNT)
    experts: Path | None = setting(None, read_by=_ALL, makes=False, compared=True)
    expert_count: int | None = setting(None, read_by=_ALL, least=1, most=COUNT)
    expert_training_epochs: int | None = setting(None, read_by=_ALL, least=1, most=COUNT)
    expert_rate: float | None = setting(None, read_by=_ALL, above=0.0)
    expert_batch: int | None = setting(None, read_by=_ALL, least=1, most=COUNT)
    alpha: float | None = setting(None, read_by=_FLAT, least=0.0)
    rho: float | None = setting(None, read_by=_FLAT, above=0.0)
    make_experts: bool | None = setting(None, read_by=_ALL, makes=False, compared=True)
    chunk: int = setting(0, read_by=_ALL, least=0, most=COUNT)
    compiled_student: bool = setting(False, read_by=_ALL)

    def check(self) -> None:
        """Refuses what cannot be right; None is right.

        Raises:
            ValueError: one sentence.

        """
        for name, value, role in numbered(self):
            if role.bounds is not None:
                check_number(name, value, role.bounds)


@dataclass(frozen=True, kw_only=True)
class ResolvedTrajectory(TrajectorySettings):
    """The same with every number filled in; 0 is "none" where the typed setting says so."""

    syn_steps: int
    expert_epochs: int
    min_start_epoch: int
    current_max_start_epoch: int
    max_start_epoch: int
    expansion_end_epoch: int
    batch_syn: int
    lr_teacher: float
    lr_lr: float
    lr_y: float
    ema_decay: float
    threshold: float
    gradient: Literal["exact", "frozen"]
    zca: bool
    eval_it: int
    expert_count: int
    expert_training_epochs: int
    expert_rate: float
    expert_batch: int
    alpha: float
    rho: float

    @property
    def starts(self) -> StartEpochs:
        """The range of start epochs.

        Raises:
            ValueError: an empty range.

        """
        first = self.current_max_start_epoch or None
        return StartEpochs(self.min_start_epoch, self.max_start_epoch, first, self.expansion_end_epoch)

    @property
    def epochs_needed(self) -> int:
        """Epochs that an expert must have been trained."""
        return self.max_start_epoch - 1 + self.expert_epochs
