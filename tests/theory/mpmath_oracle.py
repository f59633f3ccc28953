"""The general equations in boundary form (after integration by parts), in arbitrary precision.

An oracle for `theory.solve`: other equations (integrated by parts over the windows), other coordinates (m, n instead of
the student's own), other quadrature, thirty digits. Slow.
"""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np


def _phi(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _Phi(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _psi(k, a):
    if k == 0:
        return _Phi(a)
    first = a * _Phi(a) + _phi(a)
    return first if k == 1 else a * first + _Phi(a)


def _quad(function, lo, hi, centre, width):
    """Adaptive quadrature with breaks around a layer."""
    lo, hi = max(lo, mp.mpf(-14)), min(hi, mp.mpf(14))
    if not lo < hi:
        return mp.mpf(0)
    inside = [centre + k * width for k in (-9, -6, -4, -2, -1, 0, 1, 2, 4, 6, 9)]
    breaks = sorted({lo, hi, *(b for b in [*inside, *range(-12, 13, 2)] if lo < b < hi)})
    return mp.quad(function, breaks)


def boundary_residuals(solution, windows):
    """Relative residuals of (N), (R), (S) at a `theory.Solution` for `windows` of the label-signed margin."""
    alpha, f = mp.mpf(solution.alpha), mp.mpf(solution.fraction)
    theta = mp.mpf(solution.theta)
    sin, cos = mp.sin(theta), mp.cos(theta)
    k, R, S = mp.mpf(solution.kappa_prime), mp.mpf(solution.R_prime), mp.mpf(solution.S_prime)
    rho, tau = R * cos + S * sin, S * cos - R * sin
    E, B0, N = mp.mpf(0), mp.mpf(0), mp.mpf(0)

    def inner(order, m):
        """int_{-inf}^{m cot} dn phi(n) Psi_order(k - rho m - tau n)."""
        b = k - rho * m
        if theta == 0:
            return _psi(order, b) if m >= 0 else mp.mpf(0)
        return _quad(lambda n: _phi(n) * _psi(order, b - tau * n), mp.mpf(-14), m * cos / sin, b / tau, 1 / abs(tau))

    for window in windows:
        lo, hi = (mp.mpf(x) if math.isfinite(x) else mp.mpf(math.copysign(14, x)) for x in window)
        if theta == 0:
            lo = max(lo, mp.mpf(0))
            B0 += _phi(0) * _psi(1, k) if lo == 0 else 0
            lower_edge = lo > 0
        else:
            centre = k / S if S != 0 else mp.mpf(0)
            width = 1 / abs(S) if S != 0 else mp.mpf(1)
            B0 += _phi(0) * _quad(lambda s: _phi(s) * _psi(1, k - S * s), lo / sin, hi / sin, centre, width)
            lower_edge = lo > -14
        if lower_edge:
            E += _phi(lo) * inner(1, lo)
        if hi < 14:
            E -= _phi(hi) * inner(1, hi)
        N += _quad(lambda m: _phi(m) * inner(2, m), lo, hi, k / rho, mp.sqrt(1 + tau * tau) / abs(rho))
    c = mp.sqrt(1 + R * R + S * S)
    return np.array(
        [
            float(2 * alpha / f * N - 1),
            float(1 - 2 * alpha / f * (B0 + cos * E) / R),
            float((S - 2 * alpha / f * sin * E) / c),
        ]
    )
