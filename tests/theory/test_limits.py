"""Limits and facts of the theory, one test a number; `theory.asymptotics` counts by the same numbers."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq, root

from theory import Window, asymptotics, solve

DEGREE = math.pi / 180


def test_1_everything_kept_is_the_classical_curve_at_any_angle():
    for theta in (0.0, 0.2, 1.1):
        s = solve([1.0, 2.0, 10.0], 1.0, "hard", theta)
        assert s.test_error == pytest.approx([0.2657114699383, 0.1884786103161, 0.0491833962961], abs=1e-12)
        assert s.rho == pytest.approx(s.R * math.cos(theta), abs=1e-13)
        assert s.S_prime == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("degrees", "keep", "mean"), [
    (0, "hard", 0.1902885067), (0, "easy", 1.5543918350), (20, "hard", 0.3202938579), (20, "easy", 1.4607129940),
])  # fmt: skip
def test_2_small_alpha(degrees, keep, mean):
    assert asymptotics.mean_teacher_margin(0.3, keep, degrees * DEGREE) == pytest.approx(mean, abs=1e-10)
    alpha = np.array([1e-6, 4e-6])
    s = solve(alpha, 0.3, keep, degrees * DEGREE)
    slope = (0.5 - s.test_error) * math.pi / np.sqrt(alpha)
    # O(alpha) corrections of the slope.
    assert slope == pytest.approx(mean, abs=2e-5)
    assert s.kappa * np.sqrt(alpha) == pytest.approx(1.0, abs=1e-2)


def test_3_large_alpha_of_random_samples():
    delta, constant, margin = asymptotics.large_alpha_constants()
    assert (delta, constant, margin) == pytest.approx((0.6388332158039, 0.5004889317774, 1.0044581322775), abs=1e-12)
    s = solve(1e3)
    assert s.test_error * 1e3 == pytest.approx(constant, rel=1e-5)
    assert s.kappa * 1e3 == pytest.approx(margin, rel=1e-5)
    assert s.R_prime / 1e3 == pytest.approx(0.6359978532459, rel=1e-5)


@pytest.mark.parametrize(("keep", "degrees", "fraction", "prefactor", "alpha"), [
    ("hard", 0, 0.3, 0.1501466795, 1e3), ("easy", 0, 0.3, 0.2569058731, 1e6),
    ("hard", 20, 0.6, 0.3045155401, 1e4), ("easy", 20, 0.6, 2.3982101119, 1e6),
])  # fmt: skip
def test_4_5_large_alpha_prefactors(keep, degrees, fraction, prefactor, alpha):
    assert asymptotics.large_alpha_prefactor(fraction, keep, degrees * DEGREE) == pytest.approx(prefactor, abs=1e-9)
    s = solve(alpha, fraction, keep, degrees * DEGREE)
    assert s.test_error * alpha == pytest.approx(prefactor, rel=3e-4)
    assert s.local_exponent == pytest.approx(1.0, abs=1e-3)


def test_6_a_probe_at_a_right_angle_knows_nothing():
    alpha = [0.3, 2.0, 20.0]
    for keep in ("hard", "easy"):
        s = solve(alpha, 0.2, keep, math.pi / 2)
        assert s.test_error == pytest.approx(solve(alpha).test_error, abs=1e-12)
        assert s.rho == pytest.approx(0.0, abs=1e-12)
    assert abs(solve(2.0, 0.2, "hard", math.pi / 2, "signed").test_error - solve(2.0).test_error) > 0.01


def test_7_a_small_angle_is_a_small_change():
    for keep in ("hard", "easy"):
        base = solve(2.0, 0.3, keep).test_error
        small = [solve(2.0, 0.3, keep, theta).test_error - base for theta in (1e-3, 2e-3)]
        assert small[1] / small[0] == pytest.approx(4.0, rel=1e-2)
        assert solve(2.0, 0.3, keep, 1e-8).test_error == pytest.approx(base, abs=1e-13)
    assert abs(solve(2.0, 0.3, "hard", 0.01 * DEGREE).test_error - solve(2.0, 0.3, "hard").test_error) < 1e-7


def test_8_monotone_in_alpha_and_where_not():
    alpha = np.geomspace(0.01, 1e3, 60)
    for fraction in (0.05, 0.3, 0.8):
        assert np.all(np.diff(solve(alpha, fraction, "easy").test_error) < 0.0)
        for degrees in (0, 10, 40, 80):
            s = solve(alpha, fraction, "hard", degrees * DEGREE)
            assert np.all(np.diff(s.test_error) < 0.0) and np.all(np.diff(s.kappa) < 0.0)
            assert np.all(np.diff(solve(alpha, fraction, "easy", degrees * DEGREE).kappa) < 0.0)
    # Keep easy with an imperfect probe follows the probe first and then has to leave it again: the error rises (a
    # little) over a decade of alpha, although the margin falls. The published equations hold there to 1e-13.
    errors = solve([150.0, 300.0, 600.0], 0.1, "easy", 20 * DEGREE).test_error
    assert np.all(np.diff(errors) > 1e-6)
    by_angle = solve(2.0, 0.3, "hard", np.array([0, 10, 20, 30, 45, 89]) * DEGREE).test_error
    assert by_angle == pytest.approx([0.1123, 0.1827, 0.2768, 0.2855, 0.2594, 0.1885], abs=5e-5)
    assert np.all(np.diff(solve(3.0, [0.01, 0.1, 0.3, 0.6, 0.9], "easy").test_error) > 0.0)


def test_9_hardest_few_of_a_perfect_probe():
    assert asymptotics.hard_small_fraction_slope(3.0) == pytest.approx(0.17640310, abs=5e-9)
    assert asymptotics.hard_small_fraction_slope(10.0) == pytest.approx(0.05004889, abs=5e-9)
    for alpha in (2.5, 3.0, 10.0):
        assert solve(alpha, 1e-4, "hard").test_error / 1e-4 == pytest.approx(
            asymptotics.hard_small_fraction_slope(alpha), rel=1e-3
        )
    assert solve(1.5, 1e-4, "hard").test_error > 0.49
    with pytest.raises(ValueError, match="must be above 2"):
        asymptotics.hard_small_fraction_slope(2.0)


def test_10_the_price_of_discarding_vanishes():
    price = [asymptotics.discarding_price(a) for a in (2.5, 3.0, 4.0, 5.0, 6.0)]
    assert price == pytest.approx([1.2132, 1.0574, 1.00499, 1.000306, 1.0000109], rel=5e-5)


def test_11_hardest_few_of_an_imperfect_probe():
    theta, alpha = 20 * DEGREE, 3.0
    floor = asymptotics.hard_imperfect_floor(theta, solve(alpha).test_error)
    assert solve(alpha, 1e-5, "hard", theta).test_error == pytest.approx(floor, abs=1e-6)
    assert floor > (math.pi / 2 - theta) / math.pi


def test_12_easiest_few_of_a_perfect_probe():
    # E over X ~ Exp(1) of Psi_k(delta - r X), closed by parts; r(1) = 1.3335695.
    def conditions(x, alpha=1.0):
        delta, r = x
        grid, weight = np.polynomial.laguerre.laggauss(120)
        a = delta - r * grid
        first = np.array([asymptotics.psi_1(v) for v in a])
        second = np.array([asymptotics.psi_2(v) for v in a])
        return [
            alpha * weight @ second - 1.0,
            delta * r - r * r * (weight @ (grid * first)) / (weight @ first) - 1.0,
        ]

    r = root(conditions, [1.0, 1.3], tol=1e-12).x[1]
    assert r == pytest.approx(1.3335695, abs=1e-6)
    # error pi r gamma -> 1, slowly in the fraction.
    ratios = []
    for fraction in (1e-8, 1e-14):
        gamma = brentq(lambda g, f=fraction: math.erfc(g / math.sqrt(2)) - f, 0.1, 12.0, xtol=1e-14)
        s = solve(1.0, keep=Window(lower=gamma))
        ratios.append(s.test_error * math.pi * r * gamma)
    assert abs(ratios[1] - 1.0) < abs(ratios[0] - 1.0) < 0.05


def test_13_fixed_pool():
    total = 0.5
    fraction = np.linspace(0.05, 1.0, 20)
    hard = [solve(f * total, f, "hard").test_error for f in fraction]
    easy = [solve(f * total, f, "easy").test_error for f in fraction]
    assert min(hard) == hard[-1]
    assert min(easy) < easy[-1] - 0.01


def test_easy_beats_random_at_every_alpha_for_a_perfect_probe():
    alpha = np.geomspace(0.01, 1e3, 30)
    for fraction, best in [(0.01, 0.253), (0.1, 0.358), (0.5, 0.597), (0.9, 0.895)]:
        ratio = solve(alpha, fraction, "easy").test_error / solve(alpha).test_error
        assert np.all(ratio < 1.0)
        fine = np.geomspace(3.0, 7.0, 60)
        ratio = solve(fine, fraction, "easy").test_error / solve(fine).test_error
        assert ratio.min() == pytest.approx(best, abs=6e-4)


def test_signed_and_unsigned_differ_as_much_as_stated():
    theta = 20 * DEGREE
    assert solve(10.0, 0.1, "hard", theta).test_error == pytest.approx(0.059, abs=5e-4)
    assert solve(10.0, 0.1, "hard", theta, "signed").test_error == pytest.approx(0.457, abs=5e-4)
    assert solve(10.0, 0.1, "hard", 0.0, "signed").test_error == solve(10.0, 0.1, "hard", 0.0).test_error


def test_the_mean_of_a_half_normal_is_the_mean_of_everything():
    assert asymptotics.mean_teacher_margin(1.0, "hard", 0.4) == pytest.approx(math.sqrt(2 / math.pi))
