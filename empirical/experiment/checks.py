"""What settings may be: names, ranges, and what goes with what, as far as no data are needed to tell."""

from __future__ import annotations

import math

from empirical.data.augmentation import parse_strategy
from empirical.evaluation.protocol import named_augmentation
from empirical.experiment.families import method_named, names
from empirical.runtime.registry import unknown
from empirical.settings.roles import check_number, flag, numbered
from empirical.settings.settings import Settings


def check(settings: Settings) -> None:
    """Refuses what no data set could make right.

    Raises:
        ValueError: one sentence: what is wrong and what is allowed.

    """
    method = method_named(settings.method)
    for name, value, role in numbered(settings):
        if role.choices and value is not None and value not in role.choices:
            raise unknown(flag(name)[2:], str(value), role.choices)
    for name, value, role in numbered(settings):
        if role.bounds is not None and value is not None:
            check_number(name, value, role.bounds)
    if settings.sdc is not None and settings.asdc is not None:
        raise ValueError("--sdc and --asdc are two schedules of one coefficient: give one of them")
    start, end = settings.asdc or (0.0, 0.0)
    if start * end > 0 and abs(end) < abs(start):
        raise ValueError(f"--asdc lets lambda grow along the run: END is not below START, as in {start:g} {end:g}")
    if isinstance(settings.sdc, float) and not math.isfinite(settings.sdc):
        raise ValueError(f"--sdc is a finite number, not {settings.sdc}")
    correcting = settings.sdc is not None or settings.asdc is not None or settings.hard_threshold is not None
    if correcting and "distilled" not in method.tags:
        raise ValueError(
            f"--sdc, --asdc and --hard-threshold need one of {', '.join(names('distilled'))}, not {settings.method}"
        )
    if settings.hard_threshold is not None and settings.sdc_reduction == "per_sample":
        raise ValueError("--hard-threshold does not go with --sdc-reduction per_sample")
    if settings.initialisation == "selected" and "distilled" in method.tags and "learned labels" not in method.tags:
        takers = ", ".join(names("learned labels"))
        raise ValueError(f"--initialisation selected needs --method {takers}: others take noise or real")
    method.family.check(method, settings)
    if settings.augmentation is not None:
        parse_strategy(settings.augmentation)
    if settings.eval_augmentation not in (None, "condensation"):
        named_augmentation(str(settings.eval_augmentation))
