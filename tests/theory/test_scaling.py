"""Crossovers, best fractions, tilts: tables of reference values."""

import math

import numpy as np
import pytest

from theory import scaling, solve

DEGREE = math.pi / 180
# theta, fraction, hard = random, easy = random (nan: never), hard = easy.
CROSSOVERS = [
    (0, 0.1, 1.87369, math.nan, 2.01112),
    (0, 0.3, 1.65409, math.nan, 2.16193),
    (0, 0.5, 1.45328, math.nan, 2.52406),
    (0, 0.7, 1.24496, math.nan, 4.29885),
    (0, 0.9, 0.97100, math.nan, 17.88694),
    (5, 0.3, 1.72105, 15.54186, 2.23267),
    (10, 0.1, 4.66142, 8.18944, 5.00844),
    (10, 0.3, 1.97079, 7.66248, 2.48138),
    (10, 0.5, 1.54553, 6.97684, 2.29922),
    (20, 0.1, 10.94063, 3.79624, 8.26909),
    (20, 0.3, 3.00272, 3.41281, 3.11153),
    (20, 0.5, 1.88343, 2.80099, 2.15644),
    (40, 0.1, 42.86806, 1.19804, 8.62906),
    (40, 0.3, 6.54996, 1.18018, 3.30088),
    (40, 0.5, 3.13314, 1.26672, 2.24683),
]


@pytest.mark.parametrize(("degrees", "fraction", "hard_random", "easy_random", "hard_easy"), CROSSOVERS)
def test_crossover_table(degrees, fraction, hard_random, easy_random, hard_easy):
    pairs = [("hard", "random"), ("easy", "random"), ("hard", "easy")]
    found = [scaling.crossover(fraction, degrees * DEGREE, *pair, alpha_range=(0.1, 100.0)) for pair in pairs]
    assert found == pytest.approx([hard_random, easy_random, hard_easy], abs=6e-6, nan_ok=True)


def test_no_crossover_where_all_strategies_are_one():
    assert scaling.crossovers(0.3, math.pi / 2).size == 0
    assert scaling.crossovers(1.0).size == 0


@pytest.mark.parametrize(("alpha", "fraction", "error"), [
    (1.0, 0.9501, 0.264132), (1.4, 0.7668, 0.218707), (1.6, 0.6065, 0.192732), (1.8, 0.3830, 0.158276),
    (1.9, 0.2342, 0.131401), (1.99, 0.0433, 0.072593),
])  # fmt: skip
def test_best_fraction_of_an_unlimited_pool_perfect_probe(alpha, fraction, error):
    best = scaling.best_fraction(alpha)
    assert (best.fraction, best.test_error) == pytest.approx((fraction, error), abs=6e-5)
    assert not best.at_edge


@pytest.mark.parametrize(("alpha", "fraction", "error"), [
    (2.0, 0.662, 0.167059), (5.0, 0.356, 0.050112), (10.0, 0.256, 0.021123), (100.0, 0.108, 0.001774),
])  # fmt: skip
def test_best_fraction_of_an_unlimited_pool_imperfect_probe(alpha, fraction, error):
    best = scaling.best_fraction(alpha, theta=20 * DEGREE)
    assert best.fraction == pytest.approx(fraction, abs=6e-4)
    assert best.test_error == pytest.approx(error, abs=6e-7)


def test_there_is_no_best_fraction_above_two():
    assert scaling.best_fraction(3.0).at_edge
    assert scaling.best_fraction(0.5).fraction > 0.987


@pytest.mark.parametrize(("total", "fraction"), [(0.01, 0.54), (1.0, 0.606), (2.0, 0.684), (3.0, 0.745), (5.0, 0.822),
                                                 (10.0, 0.903), (100.0, 0.99)])  # fmt: skip
def test_best_fraction_of_a_given_pool(total, fraction):
    best = scaling.best_fraction_of_pool(total)
    assert best.fraction == pytest.approx(fraction, abs=2e-3)
    assert best.test_error < solve(total).test_error
    hard = scaling.best_fraction_of_pool(total, "hard")
    assert hard.fraction == 1.0 and hard.at_edge


def test_best_fraction_of_a_given_pool_imperfect_probe():
    best = scaling.best_fraction_of_pool(0.5, theta=20 * DEGREE)
    assert (best.fraction, best.test_error) == pytest.approx((0.576, 0.32400), abs=5e-4)
    assert scaling.best_fraction_of_pool(0.86, theta=20 * DEGREE).at_edge
    assert not scaling.best_fraction_of_pool(0.84, theta=20 * DEGREE).at_edge


def test_front_is_below_every_curve_and_the_pool_bounds_it():
    alphas = np.array([0.5, 1.5, 4.0])
    fractions, errors = scaling.pareto_front(alphas, theta=0.2, alpha_total=8.0)
    assert np.all(fractions >= alphas / 8.0 - 1e-15)
    for f in (0.55, 0.8, 1.0):
        assert np.all(errors <= solve(alphas, f, "hard", 0.2).test_error + 1e-12)
    with pytest.raises(ValueError, match="cannot come from a pool"):
        scaling.best_fraction(9.0, alpha_total=8.0)


def test_excess_over_the_pool_falls_faster_than_exponentially():
    alphas = np.array([2.5, 3.0, 4.0, 5.0, 6.0])
    excess = scaling.excess_over_pool(alphas, 1e3)
    assert excess == pytest.approx([0.2132, 0.0574, 0.00499, 0.000306, 0.0000109], rel=2e-2)
    rate = -np.diff(np.log(excess)) / np.diff(alphas)
    assert np.all(np.diff(rate[1:]) > 0.0)


def test_tilt_gain_is_a_difference_of_errors():
    from theory import Tilt

    gain = scaling.tilt_gain([0.5, 3.0], [2.0], theta=0.3)
    plain, tilted = (solve([0.5, 3.0], keep=Tilt(t), theta=0.3, margin="signed").test_error for t in (0.0, 2.0))
    assert gain[0] == pytest.approx(plain - tilted, abs=1e-13)
    assert scaling.tilt_slope(0.5) > 0.0 > scaling.tilt_slope(3.0)


@pytest.mark.parametrize(("angle", "margin", "alpha"), [(0.0, "signed", 1.80576), (0.0, "unsigned", 1.80576)])
def test_tilt_critical_alpha_perfect_probe(angle, margin, alpha):
    assert scaling.tilt_critical_alpha(angle * math.pi, margin) == pytest.approx(alpha, abs=6e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("angle", "margin", "alpha"), [
    (0.11, "unsigned", 1.64379), (0.2, "unsigned", 1.49755), (0.3, "unsigned", 1.38727),
    (0.11, "signed", 1.78375), (0.2, "signed", 1.74391), (0.3, "signed", 1.69787),
])  # fmt: skip
def test_tilt_critical_alpha_imperfect_probe(angle, margin, alpha):
    assert scaling.tilt_critical_alpha(angle * math.pi, margin) == pytest.approx(alpha, abs=6e-6)


def test_no_critical_alpha_where_the_probe_knows_nothing():
    assert math.isnan(scaling.tilt_critical_alpha(math.pi / 2, "unsigned"))
