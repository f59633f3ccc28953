"""The solution against equations the solver does not use: published form, boundary form, closed inner integrals."""

import math

import mpmath as mp
import numpy as np
import pytest
from mpmath_oracle import boundary_residuals
from scipy.integrate import quad
from scipy.special import ndtr, owens_t

from theory import solve
from theory.judges.published import imperfect_residuals, perfect_residuals, solve_published
from theory.saddle_point.gaussian import PHI_0, interval_moments, psi
from theory.saddle_point.kept import Ranked


@pytest.mark.parametrize("a", [-30.0, -9.0, -4.01, -3.99, -2.0, 0.0, 1.5, 20.0])
def test_psi_is_the_gaussian_moment(a):
    with mp.workdps(40):
        zeroth = mp.erfc(-mp.mpf(a) / mp.sqrt(2)) / 2
        density = mp.exp(-(mp.mpf(a) ** 2) / 2) / mp.sqrt(2 * mp.pi)
        first = a * zeroth + density
        exact = [float(x) for x in (a * first + zeroth, first, zeroth, density)]
    assert psi(a) == pytest.approx(exact, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize(("lo", "hi"), [(-1.0, 2.0), (3.0, 3.5), (-np.inf, -4.0), (5.0, np.inf), (2.0, 1.0)])
def test_interval_moments(lo, hi):
    def density(s, k):
        return s**k * PHI_0 * math.exp(-s * s / 2)

    exact = [quad(density, lo, hi, args=(k,), epsabs=1e-15, epsrel=1e-12)[0] if hi > lo else 0.0 for k in range(3)]
    assert interval_moments(lo, hi) == pytest.approx(exact, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("alpha", [0.01, 0.7, 2.0, 15.0])
@pytest.mark.parametrize("fraction", [0.05, 0.4, 1.0])
@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_published_equations_hold_at_the_solution(alpha, fraction, keep):
    s = solve(alpha, fraction, keep)
    assert np.abs(perfect_residuals(s.R, s.kappa, alpha, fraction, keep)).max() < 1e-11
    for theta in (0.05, 0.5, 1.3):
        s = solve(alpha, fraction, keep, theta)
        residuals = imperfect_residuals(s.R, s.rho, s.kappa, alpha, fraction, keep, theta)
        assert np.abs(residuals).max() < 1e-9
        # The check has teeth: a millionth off in one order parameter shows.
        off = imperfect_residuals(s.R, s.rho, s.kappa * (1 + 1e-6), alpha, fraction, keep, theta)
        assert np.abs(off).max() > 1e-8


@pytest.mark.parametrize(("alpha", "fraction", "keep"), [(0.5, 0.3, "hard"), (30.0, 0.2, "easy"), (3.0, 1.0, "hard")])
def test_the_published_route_finds_the_same_root(alpha, fraction, keep):
    s = solve(alpha, fraction, keep)
    assert solve_published(alpha, fraction, keep) == pytest.approx((s.R, s.rho, s.kappa), abs=1e-11)


def test_the_published_imperfect_route_finds_the_same_root_from_nearby():
    s = solve(2.0, 0.3, "hard", 0.35)
    found = solve_published(2.0, 0.3, "hard", 0.35, start=(1.01 * s.R, 0.99 * s.rho, 1.02 * s.kappa))
    assert found == pytest.approx((s.R, s.rho, s.kappa), abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alpha", "fraction", "keep", "degrees"),
    [(2.0, 0.3, "easy", 20), (50.0, 0.1, "hard", 40), (20.0, 0.6, "easy", 60), (5.0, 0.02, "easy", 10)],
)
def test_the_published_imperfect_route_from_small_alpha(alpha, fraction, keep, degrees):
    s = solve(alpha, fraction, keep, math.radians(degrees))
    found = solve_published(alpha, fraction, keep, math.radians(degrees))
    assert found == pytest.approx((s.R, s.rho, s.kappa), abs=1e-9)


def test_published_form_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="knows keep 'hard' and 'easy'"):
        solve_published(1.0, 0.5, "random")


def closed_inner(order, b, v, tau):
    """K_k(b, v; tau) = int_{-inf}^v dn phi(n) Psi_k(b - tau n) by the bivariate normal."""
    D = math.sqrt(1 + tau * tau)
    r, a, s = tau / D, b / D, 1 / D
    phi_a, phi_v = (PHI_0 * math.exp(-x * x / 2) for x in (a, v))
    # P(X < a, Y < v) with correlation r, by Owen's T.
    apart = 0.0 if a * v > 0 or (a * v == 0 and a + v >= 0) else 0.5
    L0 = 0.5 * (ndtr(a) + ndtr(v)) - apart
    L0 -= owens_t(a, (v / a - r) / s) + owens_t(v, (a / v - r) / s)
    L1 = a * L0 + phi_a * ndtr((v - r * a) / s) + r * phi_v * ndtr((a - r * v) / s)
    u = (a - r * v) / s
    L2 = a * L1 + L0 + r * s * phi_v * (u * ndtr(u) + PHI_0 * math.exp(-u * u / 2))
    return D**order * (L0, L1, L2)[order]


@pytest.mark.parametrize("margin", ["unsigned", "signed"])
@pytest.mark.parametrize(("alpha", "fraction", "keep", "theta"), [
    (2.0, 0.3, "hard", 0.35), (2.0, 0.3, "easy", 0.35), (0.1, 0.6, "hard", 1.2), (8.0, 0.1, "easy", 0.7),
])  # fmt: skip
def test_boundary_form_with_closed_inner_integrals(alpha, fraction, keep, theta, margin):
    """The equations after integration by parts: one-dimensional, with Owen's T, in the probe's coordinates."""
    s = solve(alpha, fraction, keep, theta, margin)
    sin, cos = math.sin(theta), math.cos(theta)
    k, R, S = s.kappa_prime, s.R_prime, s.S_prime
    rho, tau = R * cos + S * sin, S * cos - R * sin
    N = B0 = E = 0.0
    for lo, hi in Ranked(fraction, keep == "hard").resolve(theta, margin).table:
        cut = (max(lo, -12.0), min(hi, 12.0))
        N += quad(
            lambda m: PHI_0 * math.exp(-m * m / 2) * closed_inner(2, k - rho * m, m / math.tan(theta), tau),
            *cut,
            epsabs=1e-13,
            epsrel=1e-12,
            limit=500,
            points=[0.0] if cut[0] < 0 < cut[1] else None,
        )[0]
        B0 += PHI_0 * (closed_inner(1, k, cut[1] / sin, S) - closed_inner(1, k, cut[0] / sin, S))
        for sign, edge in ((1, lo), (-1, hi)):
            if math.isfinite(edge):
                inner = closed_inner(1, k - rho * edge, edge / math.tan(theta), tau)
                E += sign * PHI_0 * math.exp(-edge * edge / 2) * inner
    assert 2 * alpha / fraction * N == pytest.approx(1.0, abs=1e-10)
    assert 2 * alpha / fraction * (B0 + cos * E) == pytest.approx(R, rel=1e-10)
    assert 2 * alpha / fraction * sin * E == pytest.approx(S, abs=1e-10 * math.hypot(1, R))


@pytest.mark.parametrize("keep", ["hard", "easy"])
@pytest.mark.parametrize(("alpha", "fraction"), [(1e-3, 1e-3), (2.0, 0.3), (1.99, 1e-3), (1e3, 1e-3), (1e3, 0.9)])
def test_twenty_digits_at_the_corners_perfect_probe(alpha, fraction, keep):
    s = solve(alpha, fraction, keep)
    with mp.workdps(20):
        residuals = boundary_residuals(s, Ranked(fraction, keep == "hard").resolve(0.0, "unsigned").table)
    assert np.abs(residuals).max() < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alpha", "fraction", "keep", "degrees", "margin"),
    [
        (1e3, 1e-3, "hard", 10, "unsigned"),
        (100.0, 0.01, "easy", 5, "unsigned"),
        (1e3, 1e-3, "hard", 30, "signed"),
    ],
)
def test_twenty_digits_at_the_corners_imperfect_probe(alpha, fraction, keep, degrees, margin):
    theta = math.radians(degrees)
    s = solve(alpha, fraction, keep, theta, margin)
    with mp.workdps(16):
        residuals = boundary_residuals(s, Ranked(fraction, keep == "hard").resolve(theta, margin).table)
    assert np.abs(residuals).max() < 1e-10
