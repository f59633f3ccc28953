"""How often a comparison says what is not so: grids without the effect, and grids whose effect is another one.

200 grids of each kind (slow; 24 quick ones with the same bounds, rounded up). A check that says `supported` or `not
supported` where nothing is there does so in at most 4 % a side; where something else is there, such as damage at any
coefficient, no check may say `supported`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from planted import COEFFICIENTS, IPC, perfect_probe, planted, theory_says

from shared.comparison.all_checks import CLAIM, compare_grid, map_of
from shared.comparison.grid import Grid
from shared.comparison.order_check import order_check
from shared.comparison.prediction import Prediction
from shared.comparison.sign_check import sign_check
from shared.comparison.verdict import Finding, Verdict

OTHERS = COEFFICIENTS[COEFFICIENTS != 0.0]
LOW, HIGH = IPC[:3], IPC[2:]
"""Numbers of images per class below, and all but one above, the theory's critical alpha."""
A_SIDE = 0.04
MANY = [pytest.param(24, id="quick"), pytest.param(200, id="many", marks=pytest.mark.slow)]
CHECKS = (*CLAIM, "out of sample")

Made = Callable[[Prediction, int], Grid]


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return perfect_probe()


def most(grids: int) -> int:
    """Of 24 grids 4 % are one: three are no proof that it is more."""
    return math.ceil(A_SIDE * grids) + (2 if grids < 100 else 0)


def said(prediction: Prediction, made: Made, grids: int) -> dict[str, Counter[Verdict]]:
    """Check -> how often each word."""
    found: dict[str, Counter[Verdict]] = {check: Counter() for check in CHECKS}
    for seed in range(grids):
        for finding in compare_grid(made(prediction, seed), prediction, resamples=150).findings:
            if finding.check in found:
                found[finding.check][finding.verdict] += 1
    return found


def flat(some: np.ndarray) -> Made:
    return lambda prediction, seed: planted(prediction, seed, response=0.0, ipc=some)


def relabelled(prediction: Prediction, seed: int) -> Grid:
    """The coefficients of every run of every seed handed around."""
    grid, rng = planted(prediction, seed), np.random.default_rng(seed)
    accuracy = grid.accuracy.copy()
    for i, s in np.ndindex(accuracy.shape[0], accuracy.shape[2]):
        accuracy[i, :, s] = accuracy[i, rng.permutation(accuracy.shape[1]), s]
    return grid.with_accuracy(accuracy)


def cells_shuffled(prediction: Prediction, seed: int) -> Grid:
    order = np.random.default_rng(seed).permutation(IPC.size * OTHERS.size)
    return planted(prediction, seed, cells=order)


def same_response(prediction: Prediction, seed: int) -> Grid:
    """That of the fewest images per class, at every number of them."""
    return planted(prediction, seed, response=lambda alpha: np.repeat(
        theory_says(prediction)(alpha[:1]), alpha.size, axis=0))  # fmt: skip


def damage(some: np.ndarray) -> Made:
    """Any correction hurts, whatever its sign: no easy and no hard in it."""
    return lambda prediction, seed: planted(
        prediction, seed, ipc=some, response=lambda alpha: np.tile(-0.3 * np.abs(OTHERS), (alpha.size, 1)))  # fmt: skip


def random_best(some: np.ndarray) -> Made:
    """A strong response whose best coefficient is drawn at random for each number of images per class."""

    def made(prediction: Prediction, seed: int) -> Grid:
        best = np.random.default_rng(1000 + seed).integers(OTHERS.size, size=some.size)
        gain = np.where(np.arange(OTHERS.size) == best[:, None], 0.03, -0.01)
        return planted(prediction, seed, ipc=some, response=lambda alpha: gain)

    return made


SIZES = [IPC[[0, 2, 4]], IPC[[0, 1, 3, 5]], IPC[:5], IPC]


@pytest.mark.parametrize("grids", MANY)
@pytest.mark.parametrize("some", SIZES, ids=lambda some: f"{len(some)} IPC")
def test_nothing_is_found_where_nothing_is(prediction: Prediction, some: np.ndarray, grids: int) -> None:
    for check, words in said(prediction, flat(some), grids).items():
        supported = words[Verdict.SUPPORTED] + words[Verdict.CONSISTENT]
        assert supported <= most(grids), (check, words)
        assert words[Verdict.NOT_SUPPORTED] <= most(grids), (check, words)


@pytest.mark.parametrize("grids", MANY)
@pytest.mark.parametrize(
    "made",
    [relabelled, cells_shuffled, same_response, damage(LOW), damage(HIGH), damage(IPC)],
    ids=["coefficients shuffled", "cells shuffled", "same response", "damage, few", "damage, many", "damage, both"],
)
def test_another_effect_is_not_taken_for_the_trend(prediction: Prediction, made: Made, grids: int) -> None:
    for check, words in said(prediction, made, grids).items():
        assert words[Verdict.SUPPORTED] <= most(grids), (check, words)


@pytest.mark.parametrize("grids", MANY)
@pytest.mark.parametrize("some", SIZES, ids=lambda some: f"{len(some)} IPC")
def test_a_best_coefficient_drawn_at_random_has_no_order(
    prediction: Prediction, some: np.ndarray, grids: int
) -> None:
    words = Counter(order_check([random_best(some)(prediction, k)], 150, k).verdict for k in range(grids))
    assert words[Verdict.SUPPORTED] <= most(grids), words
    assert words[Verdict.NOT_SUPPORTED] <= most(grids), words


@pytest.mark.parametrize("grids", MANY)
@pytest.mark.parametrize("noise", [0.003, 0.006])
def test_an_effect_of_the_detectable_size_is_found_in_three_of_four(
    prediction: Prediction, noise: float, grids: int
) -> None:
    """The size that a flat grid says it could have seen (80 %), planted as a share of the theory's response."""
    def sign(seed: int, response: float) -> Finding:
        grid = planted(prediction, seed, noise, response)
        return sign_check(grid, map_of(grid, prediction), prediction)

    detectable = np.mean([sign(seed, 0.0).detectable for seed in range(10)])
    whole = np.mean([sign(seed, 1.0).value for seed in range(10)])
    found = sum(sign(100 + k, float(detectable / whole)).verdict == Verdict.SUPPORTED for k in range(grids))
    assert found >= 0.75 * grids


@pytest.mark.parametrize("grids", MANY)
def test_a_strong_effect_is_found_by_every_check_of_gains(prediction: Prediction, grids: int) -> None:
    words = said(prediction, planted, grids)
    for check in ("sign", "rank", "out of sample", CLAIM[-1]):
        assert words[check][Verdict.SUPPORTED] >= 0.95 * grids, (check, words[check])


@pytest.mark.parametrize("grids", MANY)
def test_a_best_coefficient_that_falls_is_found(prediction: Prediction, grids: int) -> None:
    """One coefficient lower at each of six numbers of images per class."""
    gain = np.where(np.arange(OTHERS.size) == np.arange(OTHERS.size)[::-1][:, None], 0.03, -0.01)
    words = Counter(
        order_check([planted(prediction, k, response=lambda alpha: gain)], 150, k).verdict for k in range(grids)
    )
    assert words[Verdict.SUPPORTED] >= 0.75 * grids, words


def test_one_side_of_the_crossover_is_no_test_of_the_trend(prediction: Prediction) -> None:
    for some, sign in ((LOW[:2], 1.0), (HIGH[1:], -1.0)):
        findings = {f.check: f for f in compare_grid(planted(prediction, 0, ipc=some), prediction).findings}
        assert findings["sign"].verdict == Verdict.CONSISTENT
        assert "the trend is not tested here" in findings["sign"].sentence
        assert ("help" if sign > 0 else "hurt") in findings["sign"].sentence
    never = replace(prediction, slope=np.abs(prediction.slope) + 1.0)  # easier helps at every size: no crossover
    helped = planted(prediction, 0, response=lambda alpha: np.tile(0.5 * OTHERS, (alpha.size, 1)))
    words = {f.check: f.verdict for f in compare_grid(helped, never).findings}
    assert words["sign"] == Verdict.CONSISTENT
    assert Verdict.SUPPORTED not in {words[check] for check in ("sign", "rank", "out of sample")}


def test_what_one_side_of_zero_denies_is_no_trend(prediction: Prediction) -> None:
    """Harder samples hurt, easier ones do nothing: half a response, which a line through zero would take for one."""
    def half(alpha: np.ndarray) -> np.ndarray:
        return np.where(OTHERS < 0.0, theory_says(prediction)(alpha), 0.0)

    finding = compare_grid(planted(prediction, 0, response=half), prediction).findings[0]
    assert finding.verdict == Verdict.NOT_IDENTIFIABLE
    assert "rests on one side of lambda = 0: easier samples" in finding.sentence
