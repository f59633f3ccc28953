"""Gaussian building blocks of the saddle-point equations, compiled.

With `xi ~ N(0, 1)` and `Psi_k(a) = E[(a - xi)_+^k]`::

    Psi_0 = Phi(a),   Psi_1 = a Phi(a) + phi(a),   Psi_2 = (1 + a^2) Phi(a) + a phi(a),   Psi_k' = k Psi_{k-1}

Quadrature is composite Gauss-Legendre. Everything that the equations integrate is a Gaussian times a function with a
few known layers (position, width), so panels are laid around these layers instead of being found adaptively.
"""

from __future__ import annotations

import math

import numpy as np

from theory._compiled import compiled

SQRT_HALF = math.sqrt(0.5)
PHI_0 = 1.0 / math.sqrt(2.0 * math.pi)

# Gaussian weights are cut here: exp(-13^2 / 2) = 2e-37. Rare probe mistakes can be amplified by alpha R'^2 / f ~ 1e17,
# so the customary 8 or 9 standard deviations would not do.
CUT = 13.0
# Psi_k(a) is dropped below this: Psi_2(-10) = 1e-25, and alpha E[Psi_2] = 1 at the solution.
FIELD_CUT = -10.0

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(14)
NODES = _NODES
WEIGHTS = _WEIGHTS

# Panel edges around a layer, in units of its width: dense where an error function bends, sparse in its tails.
LAYER = np.array([-9.0, -6.5, -4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5, 6.5, 9.0])
# The same for double integrals, whose cost is the square: 14 nodes on 2.75 widths still leave less than 1e-14.
WIDE_LAYER = np.array([-8.5, -5.5, -2.75, 0.0, 2.75, 5.5, 8.5])


@compiled
def phi(x: float) -> float:
    """Standard normal density."""
    return PHI_0 * math.exp(-0.5 * x * x)


@compiled
def Phi(x: float) -> float:
    """Standard normal distribution function, with full relative precision in the lower tail."""
    return 0.5 * math.erfc(-x * SQRT_HALF)


@compiled
def interval_moments(lo: float, hi: float) -> tuple[float, float, float]:
    """Moments `E[s^k; lo < s < hi]`, k = 0, 1, 2, of a standard normal s; zero when the interval is empty."""
    if hi <= lo:
        return 0.0, 0.0, 0.0
    # Difference of tails taken on the side where both are small.
    mass = Phi(-lo) - Phi(-hi) if lo > 0.0 else Phi(hi) - Phi(lo)
    density_lo = phi(lo) if lo > -40.0 else 0.0
    density_hi = phi(hi) if hi < 40.0 else 0.0
    second = mass
    if lo > -40.0:
        second += lo * density_lo
    if hi < 40.0:
        second -= hi * density_hi
    return mass, density_lo - density_hi, second


@compiled
def psi(a: float) -> tuple[float, float, float, float]:
    """`(Psi_2, Psi_1, Phi, phi)` at a, to nearly full relative precision.

    Below -4 the closed forms cancel. There `J_k = Psi_k / k!` is the minimal solution of `k J_k = a J_(k-1) +
    J_(k-2)`, `J_(-1) = phi`, so running that recurrence downwards (Miller) is stable: all its terms are positive.
    """
    density = phi(a)
    if a > -4.0:
        distribution = Phi(a)
        first = a * distribution + density
        return a * first + distribution, first, distribution, density
    upper, lower = 0.0, 1.0  # J_(k) and J_(k-1), up to a common factor
    for k in range(10 + int(300.0 / (a * a)) if a > -30.0 else 10, 2, -1):
        upper, lower = lower, k * upper - a * lower
    # Now upper ~ J_2 and lower ~ J_1.
    zeroth = 2.0 * upper - a * lower
    scale = density / (lower - a * zeroth)
    return 2.0 * upper * scale, lower * scale, zeroth * scale, density


@compiled
def add_layer(breaks: np.ndarray, count: int, centre: float, width: float, multiples: np.ndarray) -> int:
    """Append the panel edges of a layer, `multiples` of its width, to `breaks[:count]`; returns the new count."""
    if not math.isfinite(centre) or abs(centre) > 1e6:
        return count
    # A layer wider than the Gaussian is no layer, and one narrower than rounding is a point.
    width = min(max(width, 1e-15), 1.0)
    for multiple in multiples:
        breaks[count] = centre + multiple * width
        count += 1
    return count


@compiled
def _sort(values: np.ndarray, count: int) -> None:
    """Sort `values[:count]`: a few layers, each in order (numpy's sort would take seconds to compile)."""
    for k in range(1, count):
        value = values[k]
        place = k
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


@compiled
def lay_panels(breaks: np.ndarray, count: int, lo: float, hi: float, longest: float, edges: np.ndarray) -> int:
    """Sorted panel edges on [lo, hi] from `breaks[:count]`, which are sorted, none longer than `longest`.

    Writes `edges[: n + 1]` and returns the number of panels n (0 when hi <= lo).
    """
    if not hi > lo:
        return 0
    _sort(breaks, count)
    edges[0] = lo
    n = 0
    for k in range(count + 1):
        stop = hi if k == count else breaks[k]
        if stop <= edges[n]:
            continue
        stop = min(stop, hi)
        gap = stop - edges[n]
        # Edges of two layers that coincide up to rounding are one edge.
        if k < count and gap < 1e-15 * (1.0 + abs(stop)):
            continue
        room = edges.size - 2 - n
        # What is not finite has no ceiling: a margin that runs away gets the panels there are, and no more.
        pieces = math.ceil(gap / longest) if gap / longest < room else room
        start = edges[n]
        for piece in range(1, pieces + 1):
            edges[n + piece] = start + gap * piece / pieces
        n += pieces
        edges[n] = stop
        if stop >= hi:
            break
    return n
