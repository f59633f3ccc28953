"""What settings may be: names, ranges, and what goes with what, as far as no data are needed to tell."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from empirical.data.augmentation import parse_strategy
from empirical.evaluation import named_augmentation
from empirical.gradient_matching.distances import DISTANCES
from empirical.gradient_matching.methods import METHODS
from empirical.gradient_matching.schedule import loop_lengths
from empirical.trajectory_matching import settings as trajectories

if TYPE_CHECKING:
    from empirical.config import Settings

CORESETS = ("random", "herding", "forgetting", "whole")
DISTILLED = (*METHODS, *trajectories.METHODS)
ALL_METHODS = (*DISTILLED, *CORESETS)
AT_LEAST_ONE = (
    *("ipc", "repetitions", "iterations", "batch_real", "asdc_steps", "matching_steps"),
    *("eval_networks", "eval_batch", "whole_epochs", "whole_batch", "forgetting_epochs"),
)
AT_LEAST_ZERO = (
    *("network_epochs", "warm_up_iterations", "warm_up_steps", "eval_epochs", "feature_epochs", "probe_every"),
)


def nearest(what: str, name: str, choices: Iterable[str]) -> ValueError:
    """The error for a name that is none of the choices."""
    known = list(choices)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
    return ValueError(f"unknown {what} {name!r}; the nearest is {near!r}, all are: {', '.join(known)}")


def check(settings: Settings) -> None:
    """Refuses what no data set could make right.

    Raises:
        ValueError: one sentence: what is wrong and what is allowed.

    """
    choices: list[tuple[str, str, Iterable[str]]] = [
        ("method", settings.method, ALL_METHODS),
        ("distance", settings.distance, DISTANCES),
        ("initialisation", settings.initialisation or "real", ("noise", "real", "selected")),
        ("forgetting-keep", settings.forgetting_keep, ("highest", "lowest")),
        ("strategy", settings.strategy, ("auto", "loop", "vmap", "grouped")),
        ("compiled", settings.compiled, ("auto", "on", "off")),
        ("asdc-shape", settings.asdc_shape, ("geometric", "concave")),
        ("sdc-over-classes", settings.sdc_over_classes, ("sum", "mean")),
        ("sdc-parameters", settings.sdc_parameters, ("all", "weights_only", "sum_of_layers")),
        ("sdc-reduction", settings.sdc_reduction, ("batch", "per_sample")),
    ]
    for what, name, known in choices:
        if name not in known:
            raise nearest(what, name, known)
    for least, counts in ((1, AT_LEAST_ONE), (0, AT_LEAST_ZERO)):
        for name in counts:
            if (count := getattr(settings, name)) is not None and count < least:
                raise ValueError(f"--{name.replace('_', '-')} is at least {least}, not {count}")
    for name in ("network_rate", "memory_budget", "learning_rate"):
        if (value := getattr(settings, name)) is not None and not 0 < value < math.inf:
            raise ValueError(f"--{name.replace('_', '-')} is a finite number above 0, not {value}")
    if not 0 <= settings.momentum < 1:
        raise ValueError(f"--momentum is in [0, 1), not {settings.momentum}")
    if settings.sdc is not None and settings.asdc is not None:
        raise ValueError("--sdc and --asdc are two schedules of one coefficient: give one of them")
    correcting = settings.sdc is not None or settings.asdc is not None or settings.hard_threshold is not None
    if correcting and settings.method not in DISTILLED:
        raise ValueError(
            f"--sdc, --asdc and --hard-threshold need one of {', '.join(DISTILLED)}, not {settings.method}"
        )
    if settings.initialisation == "selected" and settings.method != "datm":
        raise ValueError("--initialisation selected needs --method datm: others take noise or real")
    if settings.method in trajectories.METHODS:
        settings.trajectory.check()
        if settings.hard_threshold is not None or settings.sdc_reduction == "per_sample":
            raise ValueError("--hard-threshold and --sdc-reduction per_sample need gradient matching, not trajectories")
        if settings.trajectory.teacher_label and settings.method == "datm":
            raise ValueError("--teacher-label does not go with datm, which learns its labels")
    if settings.hard_threshold is not None and settings.sdc_reduction == "per_sample":
        raise ValueError("--hard-threshold does not go with --sdc-reduction per_sample")
    if settings.method in METHODS:
        contrastive = METHODS[settings.method].contrastive
        loop_lengths(contrastive, settings.ipc, settings.matching_steps, settings.network_epochs)
    if settings.augmentation is not None:
        parse_strategy(settings.augmentation)
    if settings.eval_augmentation not in (None, "condensation"):
        named_augmentation(str(settings.eval_augmentation))
