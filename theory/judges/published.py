"""The saddle-point equations as published (Sorscher et al. 2022, arXiv 2206.14486), kept as the second opinion.

`theory.saddle_point.order_parameters` solves a general form of the same conditions; readers of the paper look for
these. They hold for the unsigned margin only (p(z) even, kept inputs isotropic in the null space of the probe), for
`"hard"` and `"easy"`, with alpha the KEPT samples per dimension.

Perfect probe, two unknowns (R, kappa), gamma the edge of the kept margins and q^2 = 1 - R^2; keep hard::

    R = 2 alpha / (f sqrt(2 pi) q) int_{-inf}^kappa Dt exp(-R^2 t^2 / 2 q^2)
                                       [1 - exp(-gamma (gamma - 2 R t) / 2 q^2)] (kappa - t)
    1 - R^2 = (2 alpha / f) int_{-inf}^kappa Dt [H(-R t / q) - H((gamma - R t) / q)] (kappa - t)^2

(keep easy: the second term of each bracket alone). Imperfect probe, three unknowns (R, rho, kappa), with averages < >
over the kept density p(z) of z = J.x on the whole line, H(x) = Phi(-x) and G the density of N(rho z, 1 - rho^2)::

    (R - rho cos) / sin^2 = (alpha / pi Lambda) < int_{-inf}^kappa dt exp(-Delta / 2 Lambda^2) (kappa - t) >
    1 - (rho^2 + R^2 - 2 rho R cos) / sin^2 = 2 alpha < int_{-inf}^kappa dt G(t) H(g) (kappa - t)^2 >
    (rho - R cos) / sin^2 = 2 alpha < int_{-inf}^kappa dt (kappa - t) / (1 - rho^2)
                              { G(t) H(g) (z - rho t) + (rho R - cos) exp(-Delta / 2 Lambda^2) / (2 pi Lambda) } >

    Lambda^2 = sin^2 - R^2 - rho^2 + 2 rho R cos,      g = Gamma / (Lambda sqrt(1 - rho^2))
    Gamma = z (rho R - cos) - t (R - rho cos)
    Delta = z^2 (rho^2 + cos^2 - 2 rho R cos) + 2 t z (R cos - rho) + t^2 sin^2

The published unknowns lose digits as 1 - R -> 0 and the imperfect form is singular at theta = 0; the agreement that the
tests demand (1e-9) is for 1 - R > 1e-6 and theta > 0.01.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root
from scipy.special import ndtr

from theory.asymptotics import mean_teacher_margin
from theory.saddle_point.gaussian import CUT, LAYER, NODES, WEIGHTS
from theory.saddle_point.kept import margin_quantile
from theory.saddle_point.order_parameters import check_alpha, check_fraction, check_theta
from theory.vocabulary import KEEP_NAMES, nearest

Array = NDArray[np.float64]


def _panels(layers: list[tuple[Any, Any]], lo: Any, hi: Any) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on [lo, hi] with edges around layers (centre, width); broadcasts over rows.

    Entries may be scalars or arrays [rows]; returns two arrays [rows, nodes].
    """
    lo, hi = np.atleast_1d(lo), np.atleast_1d(hi)
    lo, hi = np.broadcast_arrays(lo, hi)
    columns = [lo[:, None], hi[:, None], lo[:, None] + (hi - lo)[:, None] * np.linspace(0.1, 0.9, 9)]
    columns += [np.atleast_1d(centre)[:, None] + LAYER * np.atleast_1d(width)[:, None] for centre, width in layers]
    edges = np.concatenate([np.broadcast_to(c, (lo.size, c.shape[1])) for c in columns], axis=1)
    edges = np.sort(np.clip(edges, lo[:, None], hi[:, None]), axis=1)
    half, middle = 0.5 * np.diff(edges), 0.5 * (edges[:, 1:] + edges[:, :-1])
    nodes = middle[..., None] + half[..., None] * NODES
    return nodes.reshape(lo.size, -1), (half[..., None] * WEIGHTS).reshape(lo.size, -1)


def _gauss(x: Array) -> Array:
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def perfect_residuals(R: float, kappa: float, alpha: float, fraction: float, keep: str) -> Array:
    """Left minus right side of the two perfect-probe equations [2]."""
    q = math.sqrt(1.0 - R * R)
    gamma = margin_quantile(fraction, 0.0, "unsigned", upper=keep == "easy")
    layers: list[tuple[Any, Any]] = [(0.0, q / R), (0.0, q)]
    if math.isfinite(gamma):
        layers += [(gamma / R, q / R), (gamma * R, q)]
    t, w = _panels(layers, -CUT, min(kappa, CUT))
    # phi(t) exp(-R^2 t^2 / 2 q^2) = exp(-t^2 / 2 q^2) / sqrt(2 pi); the bracket is multiplied in before exponentiation.
    whole = np.exp(-0.5 * (t / q) ** 2) / math.sqrt(2.0 * math.pi)
    beyond = np.exp(-0.5 * ((t - gamma * R) / q) ** 2 - 0.5 * gamma**2) / math.sqrt(2.0 * math.pi)
    below, above = ndtr(R * t / q), ndtr((R * t - gamma) / q)
    # (keep easy at f = 1 has gamma = 0: everything is beyond.)
    first = whole - beyond if keep == "hard" else beyond
    second = below - above if keep == "hard" else above
    return np.array(
        [
            R - 2.0 * alpha / (fraction * math.sqrt(2.0 * math.pi) * q) * np.sum(w * first * (kappa - t)),
            1.0 - R * R - 2.0 * alpha / fraction * np.sum(w * _gauss(t) * second * (kappa - t) ** 2),
        ]
    )


def imperfect_residuals(
    R: float, rho: float, kappa: float, alpha: float, fraction: float, keep: str, theta: float
) -> Array:
    """Left minus right side of the three imperfect-probe equations [3]; theta in radians, > 0."""
    sin, cos = math.sin(theta), math.cos(theta)
    gamma = margin_quantile(fraction, theta, "unsigned", upper=keep == "easy")
    Lambda2 = sin**2 - R**2 - rho**2 + 2.0 * rho * R * cos
    Lambda = math.sqrt(Lambda2)
    spread = math.sqrt(1.0 - rho * rho)
    slope = R - rho * cos
    z_layers: list[tuple[Any, Any]] = [(0.0, sin / max(cos, 1e-12))]
    if rho != 0.0:
        z_layers += [(kappa / rho, spread / abs(rho))]
    windows = [(-min(gamma, CUT), min(gamma, CUT))] if keep == "hard" else [(-CUT, -gamma), (gamma, CUT)]
    sums = np.zeros(3)
    for lo, hi in windows:
        zs, z_weights = _panels(z_layers, lo, hi)
        z, weight = zs[0], (z_weights * _gauss(zs))[0] / fraction
        centre = z * (rho - R * cos) / sin**2  # of exp(-Delta / 2 Lambda^2) in t
        width = Lambda / sin
        low = np.minimum(rho * z - CUT * spread, centre - CUT * width)
        layers = [(rho * z, spread), (centre, width)]
        if slope != 0.0:
            layers += [(z * (rho * R - cos) / slope, spread * Lambda / abs(slope))]
        t, w = _panels(layers, np.minimum(low, kappa), kappa)
        z = z[:, None]
        G = _gauss((t - rho * z) / spread) / spread
        H = ndtr(-(z * (rho * R - cos) - t * slope) / (spread * Lambda))
        Delta = z**2 * (rho**2 + cos**2 - 2.0 * rho * R * cos) + 2.0 * t * z * (R * cos - rho) + t**2 * sin**2
        edge = np.exp(-0.5 * Delta / Lambda2)
        lack = w * (kappa - t)
        sums[0] += weight @ np.sum(lack * edge, axis=1)
        sums[1] += weight @ np.sum(lack * (kappa - t) * G * H, axis=1)
        inner = G * H * (z - rho * t) / spread**2 + edge / (2.0 * math.pi * Lambda) * (rho * R - cos) / spread**2
        sums[2] += weight @ np.sum(lack * inner, axis=1)
    return np.array(
        [
            (R - rho * cos) / sin**2 - alpha / (math.pi * Lambda) * sums[0],
            1.0 - (rho**2 + R**2 - 2.0 * rho * R * cos) / sin**2 - 2.0 * alpha * sums[1],
            (rho - R * cos) / sin**2 - 2.0 * alpha * sums[2],
        ]
    )


def solve_published(
    alpha: float,
    fraction: float,
    keep: str,
    theta: float = 0.0,
    start: tuple[float, float, float] | None = None,
) -> tuple[float, float, float]:
    """(R, rho, kappa) from the published equations, by a generic root finder.

    Slow (seconds to half a minute for theta > 0) and independent of `theory.solve`: it shares neither equations nor
    quadrature nor solver. Without `start` = (R, rho, kappa) near the root it continues from small alpha, which is a
    must: started cold, a generic root finder returns wrong roots of these equations without complaint.

    Raises:
        ValueError: a value out of range, or keep is not "hard" or "easy".
        ArithmeticError: the root finder lost the root.
    """
    if keep not in ("hard", "easy"):
        raise ValueError(f"the published form knows keep 'hard' and 'easy', not {keep!r}{nearest(keep, KEEP_NAMES)}")
    check_alpha(alpha), check_fraction(fraction), check_theta(theta)

    def residuals(x: Array, at: float) -> Array:
        # Unknowns that keep R, rho inside the unit ball and kappa positive.
        R, rho, kappa = _to_order_parameters(x, theta)
        if theta == 0.0:
            return perfect_residuals(R, kappa, at, fraction, keep)
        return imperfect_residuals(R, rho, kappa, at, fraction, keep, theta)

    at = alpha if start else min(alpha, 1e-3)
    x = _unnormalised(start, theta) if start else _small_alpha_start(at, fraction, keep, theta)
    previous, previous_at = x, at
    while True:
        found = root(residuals, x, args=(at,), tol=1e-13)
        if np.max(np.abs(residuals(found.x, at))) > 1e-9:
            raise ArithmeticError(f"the published equations lost their root at alpha {at:g}: {found.message}")
        if at >= alpha:
            R, rho, kappa = _to_order_parameters(found.x, theta)
            return R, rho, kappa
        following = min(alpha, at * 1.6)
        # Secant in log(alpha).
        growth = (found.x - previous) / math.log(at / previous_at) if at > previous_at else np.zeros_like(x)
        previous, previous_at = found.x, at
        x = found.x + growth * math.log(following / at)
        at = following


def _to_order_parameters(x: Array, theta: float) -> tuple[float, float, float]:
    """(log kappa', log R'[, S']) to (R, rho, kappa)."""
    R, S = math.exp(x[1]), (x[2] if theta > 0.0 else 0.0)
    q = 1.0 / math.sqrt(1.0 + R * R + S * S)
    return q * R, q * (R * math.cos(theta) + S * math.sin(theta)), q * math.exp(x[0])


def _unnormalised(start: tuple[float, float, float], theta: float) -> Array:
    """(R, rho, kappa) to (log kappa', log R'[, S'])."""
    R, rho, kappa = start
    S = (rho - R * math.cos(theta)) / math.sin(theta) if theta > 0.0 else 0.0
    q = math.sqrt(1.0 - R * R - S * S)
    x = [math.log(kappa / q), math.log(R / q)]
    return np.array(x if theta == 0.0 else [*x, S / q])


def _small_alpha_start(alpha: float, fraction: float, keep: str, theta: float) -> Array:
    """Small-alpha expansion kappa' = alpha^-1/2, R' = alpha^1/2 u_bar; S' is O(alpha^1/2) and starts at 0."""
    root_alpha = math.sqrt(alpha)
    start = [-math.log(root_alpha), math.log(root_alpha * mean_teacher_margin(fraction, keep, theta))]
    return np.array(start if theta == 0.0 else [*start, 0.0])
