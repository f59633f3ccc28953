"""Limits of the theory in closed form or in one scalar equation; each is a test of the solver, and some are drawn.

Numbers in brackets count the limits and facts; `tests/theory/test_limits.py` has a test by the number of each. Unsigned
margin throughout.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from theory.saddle_point.gaussian import PHI_0
from theory.saddle_point.kept import margin_quantile
from theory.saddle_point.order_parameters import check_fraction, check_theta


def _phi(x: float) -> float:
    return PHI_0 * math.exp(-0.5 * x * x)


def psi_1(a: float) -> float:
    """Psi_1(a) = a Phi(a) + phi(a), for moderate a."""
    return a * float(ndtr(a)) + _phi(a)


def psi_2(a: float) -> float:
    """Psi_2(a) = (1 + a^2) Phi(a) + a phi(a), for moderate a."""
    return a * psi_1(a) + float(ndtr(a))


def psi_2_integral(a: float) -> float:
    """C3(a) = int_{-inf}^a Psi_2."""
    return ((a**3 + 3.0 * a) * float(ndtr(a)) + (a * a + 2.0) * _phi(a)) / 3.0


def mean_teacher_margin(fraction: float, keep: str, theta: float = 0.0) -> float:
    """u_bar = E_kept |T.x|, which fixes small alpha: error = 1/2 - u_bar sqrt(alpha) / pi (2)."""
    check_fraction(fraction), check_theta(theta)
    if fraction == 1.0:
        return 2.0 * PHI_0
    gamma = margin_quantile(fraction, theta, "unsigned", upper=keep == "easy")
    if theta == 0.0:
        inside = 2.0 * PHI_0 - 2.0 * _phi(gamma)
    else:
        sin, cos = math.sin(theta), math.cos(theta)
        inside = 2.0 * PHI_0 * float(2.0 * ndtr(gamma / sin) - 1.0)
        inside -= 2.0 * _phi(gamma) * cos * float(2.0 * ndtr(gamma * cos / sin) - 1.0)
    return (inside if keep == "hard" else 2.0 * PHI_0 - inside) / fraction


def large_alpha_constants() -> tuple[float, float, float]:
    """(delta, C, kappa alpha) of the classical limit f = 1 (3): error * alpha -> C = 0.5005, kappa * alpha -> 1.0045.

    delta solves delta Psi_2(delta) = C3(delta).
    """
    delta = brentq(lambda d: d * psi_2(d) - psi_2_integral(d), 0.1, 3.0, xtol=1e-15)
    slope = 2.0 * PHI_0 * psi_2_integral(delta)
    return delta, 1.0 / (math.pi * slope), delta / slope


def large_alpha_prefactor(fraction: float, keep: str, theta: float = 0.0) -> float:
    """The limit of error * alpha as alpha -> infinity at fixed fraction (4, 5): always a power law with exponent -1.

    hard C f / (2 Phi(gamma / sin) - 1), easy C f / (2 H(gamma / sin)) for theta > 0; at theta = 0 hard C f and easy
    C f exp(gamma^2 / 2). For easy and small theta the limit is reached only at enormous alpha.
    """
    check_fraction(fraction), check_theta(theta)
    constant = large_alpha_constants()[1]
    if fraction == 1.0 or keep == "random":
        return constant
    gamma = margin_quantile(fraction, theta, "unsigned", upper=keep == "easy")
    if theta == 0.0:
        return constant * fraction * (1.0 if keep == "hard" else math.exp(gamma**2 / 2.0))
    edge = gamma / math.sin(theta)
    if keep == "hard":
        return constant * fraction / float(2.0 * ndtr(edge) - 1.0)
    return constant * fraction * math.exp(-math.log(2.0) - float(log_ndtr(-edge)))


def hard_small_fraction_slope(alpha: float) -> float:
    """The limit of error / f as f -> 0 at fixed alpha > 2, keep hard, perfect probe (9).

    sqrt(pi / 2) / (pi g), where (alpha / g) [C3(k) - C3(k - g)] = 1 and (alpha / g) [Psi_1(k) - Psi_1(k - g)] = 1.
    Below alpha = 2 (the capacity of random labels) the error tends to 1/2 instead; ValueError there.
    """
    if not alpha > 2.0:
        raise ValueError(
            f"alpha is {alpha:g}, must be above 2: below it the error tends to 1/2 as the fraction vanishes"
        )

    def kappa_of(g: float) -> float:
        # The first condition is increasing in kappa'.
        def excess(k: float) -> float:
            return alpha / g * (psi_2_integral(k) - psi_2_integral(k - g)) - 1.0

        return float(brentq(excess, -30.0, 30.0, xtol=1e-15))

    def mismatch(g: float) -> float:
        k = kappa_of(g)
        return alpha / g * (psi_1(k) - psi_1(k - g)) - 1.0

    guesses = np.geomspace(1e-3, 2.0 * alpha + 10.0, 200)
    values = [mismatch(g) for g in guesses]
    for lo, hi, left, right in zip(guesses[:-1], guesses[1:], values[:-1], values[1:], strict=True):
        if left * right <= 0.0:
            g = brentq(mismatch, lo, hi, xtol=1e-14)
            return math.sqrt(math.pi / 2.0) / (math.pi * g)
    raise ArithmeticError(f"no solution found at alpha {alpha:g}")


def discarding_price(alpha: float) -> float:
    """error(alpha hardest per dimension of a huge pool) / error(the whole pool), perfect probe (10).

    1.2132 at alpha = 2.5, 1.005 at 4, 1.0000109 at 6: the price vanishes faster than exponentially.
    """
    return hard_small_fraction_slope(alpha) * alpha / large_alpha_constants()[1]


def hard_imperfect_floor(theta: float, random_error: float) -> float:
    """Error as f -> 0 at fixed alpha, keep hard, theta > 0 (11): only the part of T orthogonal to J is learnt.

    cos(pi error) = sin(theta) cos(pi random_error), `random_error` the error of random samples at the same alpha.
    """
    check_theta(theta)
    return math.acos(math.sin(theta) * math.cos(math.pi * random_error)) / math.pi
