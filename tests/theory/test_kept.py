"""Rules that say what is kept: quantiles, equivalences between forms of the same rule, refusals."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr

from theory import Density, Samples, Tilt, Weight, Window, solve
from theory.saddle_point.kept import MARGINS, margin_quantile, pool_density


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("theta", [0.0, 0.02, 0.6, math.pi / 2])
@pytest.mark.parametrize("probability", [1e-3, 0.2, 0.999])
def test_quantiles_invert_the_pool(probability, theta, margin):
    def density(m):
        return float(pool_density(np.array([m]), theta, margin)[0])

    low = 0.0 if margin == "unsigned" or theta == 0.0 else -12.0
    t = margin_quantile(probability, theta, margin)
    breaks = [b for b in (-theta, 0.0, theta) if low < b < t]
    assert quad(density, low, t, points=breaks, limit=200)[0] == pytest.approx(probability, abs=1e-9)
    assert margin_quantile(1.0 - probability, theta, margin, upper=True) == pytest.approx(t, abs=1e-9)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("theta", [0.0, 0.05, 0.7])
def test_one_rule_in_its_different_forms(theta, margin):
    alpha, fraction = [0.5, 4.0], 0.3
    edge = margin_quantile(fraction, theta, margin)
    hard = solve(alpha, fraction, "hard", theta, margin)

    # A perfect probe has no negative margins.
    lowest = 0.0 if theta == 0.0 else -np.inf

    def step(m):
        return (m < edge).astype(float)

    forms = [
        Window(upper=edge),
        Window(0.0, fraction, quantiles=True),
        Weight(step, breaks=(edge,)),
        Density(lambda m: step(m) * (m > lowest) * pool_density(m, theta, margin), breaks=(edge,)),
    ]
    for form in forms:
        s = solve(alpha, keep=form, theta=theta, margin=margin)
        assert s.test_error == pytest.approx(hard.test_error, abs=1e-10)
        assert s.rho == pytest.approx(hard.rho, abs=1e-10)
    # An undeclared jump is found by halving, to a lower accuracy.
    rough = solve(alpha, keep=Weight(step), theta=theta, margin=margin)
    assert rough.test_error == pytest.approx(hard.test_error, abs=1e-7)


@pytest.mark.parametrize("margin", MARGINS)
def test_samples_converge_to_their_density(margin):
    theta = 0.4
    # Quantile-spaced samples of the pool: the empirical average of a smooth function converges as 1/n.
    values = np.array([margin_quantile((k + 0.5) / 400, theta, margin) for k in range(400)])
    s = solve([0.5, 2.0], keep=Samples(values), theta=theta, margin=margin)
    assert s.test_error == pytest.approx(solve([0.5, 2.0]).test_error, abs=3e-4)
    weighted = solve(2.0, keep=Samples(values, np.exp(-2.0 / (1.0 + np.exp(values)))), theta=theta, margin=margin)
    assert weighted.test_error == pytest.approx(
        solve(2.0, keep=Tilt(2.0), theta=theta, margin=margin).test_error, abs=3e-4
    )


def test_a_density_off_the_pool():
    # Half-normal twice as wide as the pool's: easier, and no weight of the pool could be constant.
    def wide(m):
        return np.exp(-(m**2) / 8.0)

    draws = 2.0 * np.array([margin_quantile((k + 0.5) / 4000, 0.0, "unsigned") for k in range(4000)])
    assert solve(1.0, keep=Density(wide)).test_error == pytest.approx(
        solve(1.0, keep=Samples(draws)).test_error, abs=1e-4
    )


def test_a_tilt_by_nothing_is_random_and_signs_order_the_difficulty():
    assert solve(0.5, keep=Tilt(0.0), theta=0.3).test_error == pytest.approx(solve(0.5).test_error, abs=1e-13)
    errors = [solve(0.5, keep=Tilt(tau)).test_error for tau in (-400.0, -5.0, 0.0, 5.0, 400.0)]
    assert np.all(np.diff(errors) < 0.0)


def test_tilt_is_its_formula():
    m = np.linspace(-5, 5, 11)
    h = ndtr(0) * 2 / (1 + np.exp(2.0 * m))
    assert Tilt(3.0, 2.0).weight(m) == pytest.approx(np.exp(-3.0 * h))
    assert Tilt(3.0, 2.0, gradient_weighted=True).weight(m) == pytest.approx(h * np.exp(-3.0 * h))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Window(1.0, 0.5), "is empty"),
        (lambda: Window(0.1, 1.2, quantiles=True), r"must lie in \[0, 1\]"),
        (lambda: solve(1.0, keep=Window(-2.0, -1.0)), "margins are positive"),
        (lambda: solve(1.0, keep=Window(lower=12.0)), "too few"),
        (lambda: Tilt(1.0, beta=0.0), "beta > 0"),
        (lambda: solve(1.0, keep=Weight(lambda m: m - 1.0)), "negative"),
        (lambda: solve(1.0, keep=Weight(lambda m: 0.0 * m)), "keeps nothing"),
        (lambda: solve(1.0, keep=Weight(lambda m: m / 0.0 if m.size else m)), "finite"),
        (
            lambda: solve(1.0, keep=Weight(lambda m: np.random.default_rng(0).random(m.size) * (1 + m))),
            "too rough",
        ),
        (
            lambda: solve(1.0, keep=Density(lambda m: np.exp(-m * m)), margin="signed"),
            "a perfect probe never sees",
        ),
        (lambda: solve(1.0, keep=Samples([])), "at least one margin"),
        (lambda: solve(1.0, keep=Samples([1.0, -1.0])), "must be >= 0"),
        (lambda: solve(1.0, keep=Samples([1.0, 2.0], [1.0])), "one weight a margin"),
        (lambda: solve(1.0, keep=Samples([1.0, math.nan])), "finite"),
        (lambda: solve(1.0, keep=Samples([1.0, -9.0]), theta=0.01, margin="signed"), "does not occur"),
    ],
)
def test_refusals(make, sentence):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=sentence):
        make()
