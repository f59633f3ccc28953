"""Averages of a smooth weight, or of samples of the margin, with an imperfect probe: double integrals, compiled.

The outer integral is over the margin m, the inner one over the orthogonal coordinate n < m cot(theta).
"""

from __future__ import annotations

import math

import numpy as np

from theory._compiled import compiled
from theory.saddle_point.forms import (
    D0,
    P0,
    P1,
    P2,
    SD0,
    SP0,
    SP1,
    SSP0,
    UD0,
    UP0,
    UP1,
    USP0,
    UUP0,
    Drawn,
    Inner,
    Kept,
    Panels,
    Quadrature,
    Scratch,
    Student,
)
from theory.saddle_point.gaussian import CUT, FIELD_CUT, WIDE_LAYER, add_layer, lay_panels, phi, psi

# Double integrals: a panel's greatest length where what is integrated bends like a Gaussian of width one, the decay
# over a panel that its nodes follow, how many standard deviations hold everything, and what is nothing beside a sum.
LONGEST, STEEPEST, REACH, NOTHING = 4.0, 13.0, 8.75, 1e-17
LINEAR = 8.5  # Psi_1(a) = a from here on
NARROW = 0.8  # layers below this width have panels of their own


@compiled
def add_point(total: np.ndarray, a: float, mass: float, U: float, S: float) -> None:
    """Add one point mass at (U, S) with field threshold a."""
    second, first, zeroth, density = psi(a)
    total[P2] += mass * second
    total[P1] += mass * first
    total[P0] += mass * zeroth
    total[D0] += mass * density
    total[UP1] += mass * U * first
    total[SP1] += mass * S * first
    total[UP0] += mass * U * zeroth
    total[SP0] += mass * S * zeroth
    total[UUP0] += mass * U * U * zeroth
    total[USP0] += mass * U * S * zeroth
    total[SSP0] += mass * S * S * zeroth
    total[UD0] += mass * U * density
    total[SD0] += mass * S * density


@compiled
def _add_moments(total: np.ndarray, mass: float, m: float, angle: tuple[float, float], inner: Inner) -> None:
    """Add the samples of margin m, U = m cos - n sin and S = m sin + n cos, by their averages over n.

    `inner`: E[Psi_2], E[Psi_1], E[Phi], E[phi], E[n Psi_1], E[n Phi], E[n^2 Phi], E[n phi].
    """
    s2, s1, s0, d0, n1, n0, nn0, nd = inner
    sin, cos = angle
    u, v = m * cos, m * sin
    total[P2] += mass * s2
    total[P1] += mass * s1
    total[P0] += mass * s0
    total[D0] += mass * d0
    total[UP1] += mass * (u * s1 - sin * n1)
    total[SP1] += mass * (v * s1 + cos * n1)
    total[UP0] += mass * (u * s0 - sin * n0)
    total[SP0] += mass * (v * s0 + cos * n0)
    total[UUP0] += mass * (u * u * s0 - 2.0 * u * sin * n0 + sin * sin * nn0)
    total[USP0] += mass * (u * v * s0 + (u * cos - v * sin) * n0 - sin * cos * nn0)
    total[SSP0] += mass * (v * v * s0 + 2.0 * v * cos * n0 + cos * cos * nn0)
    total[UD0] += mass * (u * d0 - sin * nd)
    total[SD0] += mass * (v * d0 + cos * nd)


@compiled
def _add_whole_line(
    total: np.ndarray, mass: float, b: float, tau: float, m: float, angle: tuple[float, float]
) -> None:
    """Add the samples of margin m where no n is cut off: the field's variance is 1 + tau^2; Stein's lemma."""
    square = 1.0 + tau * tau
    root = math.sqrt(square)
    second, first, zeroth, density = psi(b / root)
    density /= root
    bend = tau * b / square * density  # E[n phi(b - tau n)]
    _add_moments(
        total,
        mass,
        m,
        angle,
        (square * second, root * first, zeroth, density, -tau * zeroth, -tau * density, zeroth - tau * bend, bend),
    )


@compiled
def _add_margin(
    total: np.ndarray,
    mass: float,
    m: float,
    student: Student,
    angle: tuple[float, float],
    rule: Quadrature,
    room: Scratch,
) -> None:
    """Add the samples of label-signed margin m: an integral over the orthogonal coordinate n < m cot(theta).

    `angle`: sin and cos of theta. Both phi(n) and Psi_k(b - tau n) are log-concave, so the integrand has one peak, and
    falls from it at least as fast as a Gaussian: a range of `REACH` standard deviations around it holds all of it.
    """
    kappa, R, S = student
    sin, cos = angle
    breaks, edges = room
    if sin == 0.0:
        if m > 0.0:
            add_point(total, kappa - R * m, mass, m, 0.0)
        return
    tau = S * cos - R * sin
    b = kappa - (R * cos + S * sin) * m
    cut = m * cos / sin
    # Where n^2 and a_-^2 are least together; Psi_k's powers move the peak by less than two.
    peak = b * tau / (1.0 + tau * tau) if b < 0.0 else 0.0
    if cut > peak + REACH:
        _add_whole_line(total, mass, b, tau, m, angle)
        return
    beyond = max(peak - cut, 0.0)
    lo, hi = max(peak - math.sqrt(beyond * beyond + REACH * REACH), -CUT - REACH), min(cut, peak + REACH)
    # A steep cut leaves a tail that falls like exp(-beyond * n).
    longest = min(LONGEST, STEEPEST / max(beyond, 1e-9))
    count = 0
    if tau != 0.0:
        # a = b - tau n > FIELD_CUT bounds n on one side.
        bound = (b - FIELD_CUT) / tau
        if tau > 0.0:
            hi = min(hi, bound)
        else:
            lo = max(lo, bound)
        # A wide layer is resolved by shorter panels, a narrow one by panels of its own.
        if abs(tau) > 2.0:
            count = add_layer(breaks, 0, b / tau, 1.0 / abs(tau), WIDE_LAYER)
        else:
            longest = min(longest, LONGEST / math.sqrt(1.0 + tau * tau))
    panels = lay_panels(breaks, count, lo, hi, longest, edges)
    s2, s1, s0, d0, n1, n0, nn0, nd = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for panel in range(panels):
        half = 0.5 * (edges[panel + 1] - edges[panel])
        middle = 0.5 * (edges[panel + 1] + edges[panel])
        for k in range(rule.nodes.size):
            n = middle + half * rule.nodes[k]
            weight = half * rule.weights[k] * phi(n)
            a = b - tau * n
            if a > LINEAR:
                second, first, zeroth, density = a * a + 1.0, a, 1.0, 0.0
            else:
                second, first, zeroth, density = psi(a)
            first *= weight
            zeroth *= weight
            density *= weight
            s2 += weight * second
            s1 += first
            s0 += zeroth
            d0 += density
            n1 += n * first
            n0 += n * zeroth
            nn0 += n * n * zeroth
            nd += n * density
    _add_moments(total, mass, m, angle, (s2, s1, s0, d0, n1, n0, nn0, nd))


@compiled
def _chebyshev(coefficients: np.ndarray, x: float) -> float:
    """Chebyshev series at x in [-1, 1] (Clenshaw)."""
    b1, b2 = 0.0, 0.0
    for k in range(coefficients.size - 1, 0, -1):
        b1, b2 = 2.0 * x * b1 - b2 + coefficients[k], b1
    return x * b1 - b2 + coefficients[0]


@compiled
def _layer_or_length(
    breaks: np.ndarray, count: int, longest: float, centre: float, width: float
) -> tuple[int, float]:
    """Edges of a layer that is narrow; a wide one bounds the length of all panels."""
    if width < NARROW:
        return add_layer(breaks, count, centre, width, WIDE_LAYER), longest
    return count, min(longest, LONGEST * width)


@compiled
def add_weighted(total: np.ndarray, student: Student, kept: Kept, panels: Panels) -> None:
    """Smooth weight: panel k covers [ends[k], ends[k + 1]] with Chebyshev coefficients table[k].

    Spans are taken in order of what they can hold, and one that can add nothing to what is there is left out.
    """
    kappa, R, S = student
    ends, table = panels.ends, panels.coefficients
    sin, cos, scale = kept.sin, kept.cos, 2.0 / kept.fraction
    rho = R * cos + S * sin
    tau = S * cos - R * sin
    breaks = np.empty(64)
    edges = np.empty(160)
    inner = Scratch(np.empty(16), np.empty(96))
    count, longest = 0, LONGEST
    if rho > 0.0:
        width = math.sqrt(1.0 + tau * tau) / rho
        count, longest = _layer_or_length(breaks, count, longest, kappa / rho, width)
    if sin > 0.0:
        count, longest = _layer_or_length(breaks, count, longest, 0.0, sin / max(cos, 1e-12))
        # Where the cut U > 0 meets the layer of the field, which it crosses at S' = kappa' / S.
        if abs(S) > sin / NARROW:
            count = add_layer(breaks, count, kappa * sin / S, sin / abs(S), WIDE_LAYER)
    largest = 1.0 + (kappa + 2.0 * CUT * math.hypot(R, S)) ** 2  # of Psi_2
    for place in range(panels.order.size):
        span = panels.order[place]
        most = scale * panels.bounds[span]
        if most < NOTHING * total[P0] and most * largest < NOTHING * total[P2]:
            continue
        piece = panels.spans[span]
        lo, hi = max(ends[piece], -CUT), min(ends[panels.spans[span + 1]], CUT)
        if sin == 0.0:
            lo = max(lo, 0.0)
            hi = min(hi, (kappa - FIELD_CUT) / R)
        pieces = lay_panels(breaks, count, lo, hi, longest, edges)
        for panel in range(pieces):
            half = 0.5 * (edges[panel + 1] - edges[panel])
            middle = 0.5 * (edges[panel + 1] + edges[panel])
            for k in range(panels.rule.nodes.size):
                m = middle + half * panels.rule.nodes[k]
                while m > ends[piece + 1]:
                    piece += 1
                x = 2.0 * (m - ends[piece]) / (ends[piece + 1] - ends[piece]) - 1.0
                mass = scale * half * panels.rule.weights[k] * phi(m) * _chebyshev(table[piece], x)
                if mass != 0.0:
                    _add_margin(total, mass, m, student, (sin, cos), panels.rule, inner)


@compiled
def add_drawn(total: np.ndarray, student: Student, angle: tuple[float, float], rule: Quadrature, drawn: Drawn) -> None:
    """Add drawn margins, each with its mass."""
    room = Scratch(np.empty(16), np.empty(96))
    for k in range(drawn.margins.size):
        _add_margin(total, drawn.masses[k], drawn.margins[k], student, angle, rule, room)
