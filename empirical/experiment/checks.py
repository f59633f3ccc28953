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
    _check_correction(settings)
    correcting = bool({"correction", "schedule"} & settings.tags) or settings.hard_threshold is not None
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


CORRECTIONS = ("sdc", "asdc", "sdc_pull", "asdc_pull")
"""Settings that each give the correction its strength."""


def _check_correction(settings: Settings) -> None:
    """At most one strength, of finite numbers; one that grows along the run.

    Raises:
        ValueError: naming the flag.

    """
    given = [name for name in CORRECTIONS if getattr(settings, name) is not None]
    if len(given) > 1:
        first, second = map(flag, given[:2])
        raise ValueError(f"{first} and {second} are two schedules of one coefficient: give one of them")
    for name in given:
        value = getattr(settings, name)
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if not isinstance(number, str) and not math.isfinite(number):
                raise ValueError(f"{flag(name)} is {'two finite numbers' if len(numbers) > 1 else 'a finite number'}, "
                                 f"not {' '.join(map(str, numbers))}")
        if len(numbers) == 2:
            start, end = numbers
            what = "lambda" if name == "asdc" else "the pull"
            if start == 0 or end == 0 or (start < 0) != (end < 0):
                raise ValueError(f"{flag(name)} runs between two numbers of one sign, neither 0, not {start:g} {end:g}")
            if abs(end) < abs(start):
                raise ValueError(
                    f"{flag(name)} lets {what} grow along the run: END is not below START, as in {start:g} {end:g}"
                )
