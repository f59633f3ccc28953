"""The student's learning rate on data so small that an expert makes only a few steps an epoch.

The laptop preset's rate beta, its own learning rate and no lower bound suit an expert that moves at least as far as the
student in one of its steps. On 24 or 822 training images an expert makes 1 to 6 steps an epoch: the student overshoots
its target by far at beta, the gradient in beta is as large, and the first update takes beta below 0. There beta starts
at a quarter of the expert's pace, moves by the square of that (its gradient goes with 1 / beta^2), and is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CAUTION = 0.25
"""Of the expert's pace, where the student starts."""
LOWEST = 0.1
"""Of where it starts, the bound below."""


def pace(settings: Mapping[str, Any], images: int) -> float:
    """The rate at which N steps of a student are an expert's M epochs of learning time on so many images."""
    steps = -(-images // settings["expert_batch"])
    return float(settings["expert_rate"] * settings["expert_epochs"] * steps / settings["syn_steps"])


def on_small_data(row: Mapping[str, Any], given: Mapping[str, Any], images: int) -> dict[str, float]:
    """What replaces the row's defaults; nothing where an expert of the row keeps up with the row's student.

    Args:
        row: the defaults, with `lr_teacher` and `lr_lr`.
        given: the run's own values of what the pace depends on.
        images: of the real training set.

    """
    if pace(row, images) >= row["lr_teacher"]:
        return {}
    beta = CAUTION * pace(given, images)
    return {"lr_teacher": beta, "lr_lr": row["lr_lr"] * (beta / row["lr_teacher"]) ** 2, "syn_lr_min": LOWEST * beta}
