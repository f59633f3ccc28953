"""Averages over the kept samples, and the saddle-point equations with their Jacobian, compiled.

A kept sample has `U = |T.x|`, `S = y n.x` (n the unit vector of the probe orthogonal to the teacher) and the
label-signed probe margin `m = U cos(theta) + S sin(theta)`. With a selection weight W(m),

    E_kept[F] = (2 / f) int_0^inf dU phi(U) int dS phi(S) W(m) F(U, S),       a = kappa' - R' U - S' S.

Three forms of W, three routes to the thirteen averages that the equations and their Jacobian need:

* **windows** in m. The field depends on (U, S) only through `p = (R' U + S' S) / r`; for fixed p both `U > 0`
  and `lo < m < hi` are intervals of the orthogonal coordinate s. So each average is one integral over p with a
  positive integrand and closed moments of s: no bivariate normal, no cancellation.
* **a smooth weight**, tabulated as Chebyshev panels: nodes in m, inner integral over the orthogonal coordinate n.
* **samples** of the margin: the same with the samples as nodes.

theta = 0 (m = U, no S) is a single integral or sum for each.

Equations (a restatement of the stationarity conditions; scaled so that each is relative):

    (N)  log(alpha E[Psi_2])                                     = 0
    (R)  1 - alpha { E[U Psi_1] / R' + E[Phi] }                  = 0
    (S)  [ S' - alpha { E[S Psi_1] + S' E[Phi] } ] / sqrt(1 + R'^2 + S'^2) = 0
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from theory._compiled import compiled
from theory.saddle_point.gaussian import (
    CUT,
    FIELD_CUT,
    LAYER,
    NODES,
    WEIGHTS,
    WIDE_LAYER,
    add_layer,
    interval_moments,
    lay_panels,
    phi,
    psi,
)

# Positions of the averages in the accumulator.
P2, P1, P0, D0, UP1, SP1, UP0, SP0, UUP0, USP0, SSP0, UD0, SD0 = range(13)
COUNT = 13


# Double integrals: a panel's greatest length where what is integrated bends like a Gaussian of width one, the decay
# over a panel that its nodes follow, how many standard deviations hold everything, and what is nothing beside a sum.
LONGEST, STEEPEST, REACH, NOTHING = 4.0, 13.0, 8.75, 1e-17
LINEAR = 8.5  # Psi_1(a) = a from here on
NARROW = 0.8  # layers below this width have panels of their own


class Quadrature(NamedTuple):
    """Gauss-Legendre on [-1, 1]: nodes and weights [n]."""

    nodes: np.ndarray
    weights: np.ndarray


FINE = Quadrature(NODES, WEIGHTS)
ROUGH = Quadrature(*np.polynomial.legendre.leggauss(9))  # for Newton's first steps: some 1e-7


class Panels(NamedTuple):
    """A smooth weight W: ends [panels + 1] and Chebyshev coefficients [panels, order].

    Integrals are done by spans of neighbouring panels: `spans` [spans + 1] are indices into `ends`, `bounds` [spans]
    are above E_pool[W; span] / 2, and `order` [spans] sorts them, largest first; `rule` is the quadrature.
    """

    ends: np.ndarray
    coefficients: np.ndarray
    spans: np.ndarray
    bounds: np.ndarray
    order: np.ndarray
    rule: Quadrature


class Drawn(NamedTuple):
    """Samples of the margin [samples] and their masses [samples], which sum to one after the conditional integral."""

    margins: np.ndarray
    masses: np.ndarray


Inner = tuple[float, float, float, float, float, float, float, float]


class Kept(NamedTuple):
    """What is kept, as a probe at an angle to the teacher sees it: everything the averages need besides the student.

    `windows` [windows, 2] of m, `panels` or `drawn`: the others are empty. For windows, the usual case, they are None:
    another type, for which the kernels compile in two thirds of the time.

    `fraction` = E_pool[W], 1 for samples; `sin` and `cos` of the angle, exactly 0 and 1 for a perfect probe.
    """

    windows: np.ndarray
    panels: Panels | None
    drawn: Drawn | None
    fraction: float
    sin: float
    cos: float


class Student(NamedTuple):
    """A student by its unnormalised order parameters kappa', R', S'."""

    kappa: float
    R: float
    S: float


class Linearised(NamedTuple):
    """The equations at a point y = (log kappa', log R', S').

    `G` [3]: residuals; `J` [3, 3]: their Jacobian in y; `dG` [3]: their derivative in log(alpha).
    """

    G: np.ndarray
    J: np.ndarray
    dG: np.ndarray


class Scratch(NamedTuple):
    """Room in which the inner integrals lay their panels."""

    breaks: np.ndarray
    edges: np.ndarray


@compiled
def _add(total: np.ndarray, a: float, mass: float, U: float, S: float) -> None:
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
def _add_line(
    total: np.ndarray,
    a: float,
    weight: float,
    p: float,
    direction: tuple[float, float],
    moments: tuple[float, float, float],
) -> None:
    """Add a line of fixed p: U = p cos - s sin, S = p sin + s cos, with the moments of s on its interval.

    `direction`: cos and sin of the angle from the teacher to the student, in the plane of U and S.
    """
    cos, sin = direction
    m0, m1, m2 = moments
    second, first, zeroth, density = psi(a)
    u = p * cos * m0 - sin * m1
    v = p * sin * m0 + cos * m1
    uu = p * p * cos * cos * m0 - 2.0 * p * cos * sin * m1 + sin * sin * m2
    uv = p * p * cos * sin * m0 + p * (cos * cos - sin * sin) * m1 - sin * cos * m2
    vv = p * p * sin * sin * m0 + 2.0 * p * cos * sin * m1 + cos * cos * m2
    total[P2] += weight * second * m0
    total[P1] += weight * first * m0
    total[P0] += weight * zeroth * m0
    total[D0] += weight * density * m0
    total[UP1] += weight * first * u
    total[SP1] += weight * first * v
    total[UP0] += weight * zeroth * u
    total[SP0] += weight * zeroth * v
    total[UUP0] += weight * zeroth * uu
    total[USP0] += weight * zeroth * uv
    total[SSP0] += weight * zeroth * vv
    total[UD0] += weight * density * u
    total[SD0] += weight * density * v


@compiled
def _windows_perfect(total: np.ndarray, student: Student, windows: np.ndarray, fraction: float) -> None:
    kappa, R, scale = student.kappa, student.R, 2.0 / fraction
    breaks = np.empty(16)
    edges = np.empty(96)
    count = add_layer(breaks, 0, kappa / R, 1.0 / R, LAYER)
    last = min(CUT, (kappa - FIELD_CUT) / R)
    for window in range(windows.shape[0]):
        panels = lay_panels(breaks, count, max(windows[window, 0], 0.0), min(windows[window, 1], last), 1.5, edges)
        for panel in range(panels):
            half = 0.5 * (edges[panel + 1] - edges[panel])
            middle = 0.5 * (edges[panel + 1] + edges[panel])
            for k in range(NODES.size):
                U = middle + half * NODES[k]
                _add(total, kappa - R * U, scale * half * WEIGHTS[k] * phi(U), U, 0.0)


@compiled
def _windows(total: np.ndarray, student: Student, kept: Kept, windows: np.ndarray) -> None:
    kappa, R, S = student
    sin, cos, scale = kept.sin, kept.cos, 2.0 / kept.fraction
    r = math.hypot(R, S)
    cos_w, sin_w = R / r, S / r  # direction of the student in the plane of U and S
    # Direction of the probe seen from the student: m = p cos_d + s sin_d.
    cos_d = cos * cos_w + sin * sin_w
    sin_d = sin * cos_w - cos * sin_w
    breaks = np.empty(24 + 24 * windows.size)
    edges = np.empty(256)
    count = add_layer(breaks, 0, kappa / r, 1.0 / r, LAYER)
    count = add_layer(breaks, count, 0.0, abs(sin_w) / cos_w, LAYER)
    for side in range(2 * windows.shape[0]):
        edge = windows[side // 2, side % 2]
        if math.isfinite(edge):
            if cos_d != 0.0:
                count = add_layer(breaks, count, edge / cos_d, abs(sin_d / cos_d), LAYER)
            # The corner U = 0, m = edge, where the interval of s changes its ends.
            breaks[count] = edge * sin_w / sin
            count += 1
    panels = lay_panels(breaks, count, -CUT, min(CUT, (kappa - FIELD_CUT) / r), 1.5, edges)
    for panel in range(panels):
        half = 0.5 * (edges[panel + 1] - edges[panel])
        middle = 0.5 * (edges[panel + 1] + edges[panel])
        for k in range(NODES.size):
            p = middle + half * NODES[k]
            # U = p cos_w - s sin_w > 0
            below, above = -np.inf, np.inf
            if sin_w > 0.0:
                above = p * cos_w / sin_w
            elif sin_w < 0.0:
                below = p * cos_w / sin_w
            elif p <= 0.0:
                continue
            m0, m1, m2 = 0.0, 0.0, 0.0
            for window in range(windows.shape[0]):
                lo, hi = below, above
                if sin_d != 0.0:
                    first = (windows[window, 0] - p * cos_d) / sin_d
                    second = (windows[window, 1] - p * cos_d) / sin_d
                    lo = max(lo, min(first, second))
                    hi = min(hi, max(first, second))
                elif not windows[window, 0] < p * cos_d < windows[window, 1]:
                    continue
                zeroth, first, second = interval_moments(lo, hi)
                m0 += zeroth
                m1 += first
                m2 += second
            if m0 > 0.0:
                weight = scale * half * WEIGHTS[k] * phi(p)
                _add_line(total, kappa - r * p, weight, p, (cos_w, sin_w), (m0, m1, m2))


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
            _add(total, kappa - R * m, mass, m, 0.0)
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
def _weighted(total: np.ndarray, student: Student, kept: Kept, panels: Panels) -> None:
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
def _drawn(total: np.ndarray, student: Student, angle: tuple[float, float], rule: Quadrature, drawn: Drawn) -> None:
    room = Scratch(np.empty(16), np.empty(96))
    for k in range(drawn.margins.size):
        _add_margin(total, drawn.masses[k], drawn.margins[k], student, angle, rule, room)


@compiled
def _add_kept(
    total: np.ndarray,
    student: Student,
    kept: Kept,
    windows: np.ndarray,
    panels: Panels | None,
    drawn: Drawn | None,
) -> None:
    """Add everything that is kept; branches of what is None are not compiled."""
    if windows.size > 0:
        if kept.sin == 0.0:
            _windows_perfect(total, student, windows, kept.fraction)
        else:
            _windows(total, student, kept, windows)
    if panels is not None and panels.coefficients.size > 0:
        _weighted(total, student, kept, panels)
    if panels is not None and drawn is not None:
        _drawn(total, student, (kept.sin, kept.cos), panels.rule, drawn)


@compiled
def averages(student: Student, kept: Kept) -> np.ndarray:
    """The thirteen kept averages (see the names at the top)."""
    total = np.zeros(COUNT)
    _add_kept(total, student, kept, kept.windows, kept.panels, kept.drawn)
    return total


@compiled
def system(y: np.ndarray, alpha: float, kept: Kept, at: Linearised) -> np.ndarray:
    """Fill `at` with the equations linearised at y = (log kappa', log R', S'); the averages.

    At theta = 0 the third equation is S' = 0.
    """
    G, J, dG = at
    kappa, R, S = math.exp(y[0]), math.exp(y[1]), y[2]
    E = averages(Student(kappa, R, S), kept)
    c = math.sqrt(1.0 + R * R + S * S)
    G[0] = math.log(alpha * E[P2]) if E[P2] > 0.0 else -1e3
    G[1] = 1.0 - alpha * (E[UP1] / R + E[P0])
    G[2] = (S - alpha * (E[SP1] + S * E[P0])) / c
    N = E[P2] if E[P2] > 0.0 else 1.0
    J[0, 0] = 2.0 * kappa * E[P1] / N
    J[0, 1] = -2.0 * R * E[UP1] / N
    J[0, 2] = -2.0 * E[SP1] / N
    J[1, 0] = -alpha * kappa * (E[UP0] / R + E[D0])
    J[1, 1] = alpha * (E[UUP0] + E[UP1] / R + R * E[UD0])
    J[1, 2] = alpha * (E[USP0] / R + E[SD0])
    J[2, 0] = -alpha * kappa * (E[SP0] + S * E[D0]) / c
    J[2, 1] = alpha * R * (E[USP0] + S * E[UD0]) / c
    J[2, 2] = (1.0 - alpha * E[P0] + alpha * (E[SSP0] + S * E[SD0])) / c
    dG[0] = 1.0
    dG[1] = G[1] - 1.0
    dG[2] = G[2] - S / c
    if kept.sin == 0.0:
        G[2] = S
        J[2, 0] = J[2, 1] = J[0, 2] = J[1, 2] = dG[2] = 0.0
        J[2, 2] = 1.0
    return E
