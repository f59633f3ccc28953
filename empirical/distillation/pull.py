"""A correction by its pull: which lambda makes it pull so hard, measured at the start and then held.

    pull = |image gradient of lambda |g|| / |image gradient of the matching loss|

Lambda alone says little: at the published values the correction is 1e-5 of the matching gradient for one method and
1e-3 for another. The pull is linear in lambda, so what is measured is the pull of lambda = 1 over the first steps, with
the images held at their start, and lambda is the wanted pull divided by its mean. Steps of the run itself begin
afterwards, as they would without the measurement: it has a generator of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Generator, Tensor

from empirical.correction import SampleDifficultyCorrection
from empirical.distillation.method import Matched, Method
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records import metric_names as metric
from shared.records.records import plain, write_json

FILE = "pull.json"
STEPS = 5
"""First steps that the pull is the mean of."""
REACH = 0.01
"""The least pull, and the inverse of the largest, that a difference of image gradients is measured at."""
STRENGTHS = ("sdc_pull", "asdc_pull", "asdc_steps", "asdc_shape")
"""Settings on which the pull of lambda = 1 does not depend."""


def hold_pull(
    method: Method, start: SyntheticSet, generator: Generator, folder: Path, identity: Mapping[str, Any]
) -> None:
    """Gives the method's correction, whose coefficient is a pull, the coefficient that pulls so hard.

    What was measured is kept in the folder's `pull.json`; a run that is resumed, or one that differs in the strength
    alone and was handed the file (`lend`), takes it from there.

    Args:
        method: with its `correction`, which is replaced.
        start: the synthetic set before the first update; not changed.
        generator: of the measurement.
        folder: of the run.
        identity: of the run.

    Raises:
        ValueError: the method has no `correction`, or the correction's gradient vanishes or is not finite.

    """
    correction = getattr(method, "correction", None)
    if not isinstance(correction, SampleDifficultyCorrection):
        raise ValueError(
            "a correction by its pull is measured on the method's attribute `correction`, which this method lacks: "
            "give --sdc instead"
        )
    wanted = {name: value for name, value in plain(dict(identity)).items() if name not in STRENGTHS}
    found = _stored(folder / FILE, wanted)
    if found is None:
        found = measure(method, start, generator)
        write_json(folder / FILE, {"pulls_of_lambda_1": found, "identity": wanted})
    unit = math.fsum(found) / len(found)
    if not (math.isfinite(unit) and unit > 0):
        raise ValueError(
            f"the pull of lambda = 1 at the start is {unit:g}, so no lambda makes it a given one: give --sdc instead"
        )
    method.correction = correction.scaled(1.0 / unit)  # type: ignore[attr-defined]


def lend(lender: Path, borrower: Path) -> None:
    """Hands what was measured for a run to one that differs in the strength of the correction alone."""
    if (lender / FILE).is_file():
        write_json(borrower / FILE, json.loads((lender / FILE).read_text(encoding="utf-8")))


def _stored(file: Path, wanted: Mapping[str, Any]) -> list[float] | None:
    """The pulls in a file that is whole and of the same run."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return [float(x) for x in content["pulls_of_lambda_1"]] if content["identity"] == wanted else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure(method: Any, start: SyntheticSet, generator: Generator, steps: int = STEPS) -> list[float]:
    """The pull of lambda = 1 at each of the first steps, with the images at their start; the method is as before after.

    A method that records the pull itself is asked once a step. From others it is the difference of the image
    gradients with and without the correction, whose coefficient is first made large enough for the difference to have
    digits (the pull is linear in it).

    Args:
        method: with `correction`.
        start: the synthetic set.
        generator: moves on as in so many steps.
        steps: how many at most.

    """
    before, correction = _copied(method), method.correction
    unit = SampleDifficultyCorrection(
        1.0,
        power=correction.power,
        over_classes=correction.over_classes,
        parameters=correction.parameters,
        reduction=correction.reduction,
    )
    try:
        return [_unit_pull(method, unit, start, generator, step) for step in range(min(steps, method.steps))]
    finally:
        method.correction = correction
        method.load_state(before)


def _copied(method: Method) -> dict[str, Tensor]:
    """Its state as it is now: what `state` returns may move on with the method."""
    return {name: tensor.clone() for name, tensor in method.state().items()}


def _unit_pull(
    method: Any, unit: SampleDifficultyCorrection, start: SyntheticSet, generator: Generator, step: int
) -> float:
    state, draws = _copied(method), generator.get_state()

    def at(coefficient: float) -> Matched:
        method.load_state(state)
        generator.set_state(draws)
        method.correction = unit.scaled(coefficient)
        matched: Matched = method.step(start, generator, step)
        return matched

    corrected = at(1.0)
    if metric.PULL in corrected.metrics:
        return float(corrected.metrics[metric.PULL])
    alone, coefficient = at(0.0).gradients["images"], 1.0
    pull = float((corrected.gradients["images"] - alone).norm() / alone.norm())
    if math.isfinite(pull) and pull > 0 and not REACH < pull < 1 / REACH:
        coefficient = 1.0 / pull
        pull = float((at(coefficient).gradients["images"] - alone).norm() / alone.norm())
    return pull / coefficient


def described(correction: SampleDifficultyCorrection, by_pull: bool) -> dict[str, Any]:
    """A correction for a run's record; one by its pull says so instead of naming its pull a coefficient."""
    settings: dict[str, Any] = correction.settings()
    if by_pull:
        settings["pull"] = settings.pop("coefficient")
    return settings


def shown(pulls: Sequence[float], pull: float) -> str:
    """What was measured, in a sentence."""
    unit = math.fsum(pulls) / len(pulls)
    return f"lambda {pull / unit:.4g} pulls {pull:g} of the matching gradient at the start (mean of {len(pulls)} steps)"
