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
from theory.saddle_point.double_integrals import add_drawn, add_point, add_weighted
from theory.saddle_point.forms import (
    COUNT,
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
    Kept,
    Panels,
    Student,
)
from theory.saddle_point.gaussian import (
    CUT,
    FIELD_CUT,
    LAYER,
    NODES,
    WEIGHTS,
    add_layer,
    interval_moments,
    lay_panels,
    phi,
    psi,
)


class Linearised(NamedTuple):
    """The equations at a point y = (log kappa', log R', S').

    `G` [3]: residuals; `J` [3, 3]: their Jacobian in y; `dG` [3]: their derivative in log(alpha).
    """

    G: np.ndarray
    J: np.ndarray
    dG: np.ndarray


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
                add_point(total, kappa - R * U, scale * half * WEIGHTS[k] * phi(U), U, 0.0)


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
        add_weighted(total, student, kept, panels)
    if panels is not None and drawn is not None:
        add_drawn(total, student, (kept.sin, kept.cos), panels.rule, drawn)


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
