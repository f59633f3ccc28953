"""A kept law as weighted atoms: quadrature nodes laid where the field of the current solution bends, compiled.

With columns the field is not linear in the margins, so no coordinate closes an integral. The nodes are those of

    E_kept[F] = (2 / f) int dm phi(m) W(m) int_{n < m cot(theta)} dn phi(n) F(U = m cos - n sin, S = m sin + n cos),

a positive sum: no digits are lost however rare the samples are that decide. Panels are bisected until the field
`b(m) - tau n` and the Gaussians change by less than `REACH` standard deviations over each; where a field is below
`FIELD_CUT` nothing counts, where it is far above zero Psi_k is a polynomial.
"""

from __future__ import annotations

import math

import numpy as np

from theory._compiled import compiled
from theory.saddle_point.gaussian import CUT, FIELD_CUT, phi
from theory.saddle_point.kept import SAMPLES, WEIGHT, WINDOWS

REACH = 3.7  # standard deviations that one panel of 14 nodes integrates to rounding
LAYER = 10.0  # beyond this many standard deviations Psi_k is a polynomial, or nothing

FINE = np.polynomial.legendre.leggauss(14)
COARSE = np.polynomial.legendre.leggauss(8)


@compiled
def _shift(m: float, scan: np.ndarray) -> float:
    """Linear interpolation of the columns' part of the field, tabulated on [-CUT, CUT]."""
    if scan.size < 2:
        return 0.0
    at = (m + CUT) / (2.0 * CUT) * (scan.size - 1)
    k = min(max(int(at), 0), scan.size - 2)
    return scan[k] + (at - k) * (scan[k + 1] - scan[k])


@compiled
def _outer_panels(lo: float, hi: float, field: np.ndarray, scan: np.ndarray, pole: float, edges: np.ndarray) -> int:
    """Edges of panels of m on [lo, hi]; field = (kappa', rho', tau', tan, smallest length). Returns their number."""
    if not hi > lo:
        return 0
    kappa, rho, tau, tan, short = field[0], field[1], field[2], field[3], field[4]
    width = math.sqrt(short * short + tau * tau)
    edges[0] = lo
    n = 0
    while edges[n] < hi and n < edges.size - 2:
        a = edges[n]
        length = hi - a
        b_low = kappa + _shift(a, scan) - rho * a
        low = b_low / width
        # The longest panel from here that is short enough: a few trials, each a fixed factor shorter.
        while length > 1e-14 * (abs(a) + 1e-300):
            b = a + length
            nearest = 0.0 if a <= 0.0 <= b else min(abs(a), abs(b))
            b_high = kappa + _shift(b, scan) - rho * b
            high = b_high / width
            reach = length
            if min(low, high) < LAYER and max(low, high) > FIELD_CUT:
                reach = math.hypot(reach, high - low)
            # Where the cut U > 0 meets the layer, the field along the cut decides, and nothing smooths it.
            if tan > 0.0 and nearest < CUT * tan:
                edge_low, edge_high = (b_low - tau * a / tan) / short, (b_high - tau * b / tan) / short
                if min(edge_low, edge_high) < LAYER and max(edge_low, edge_high) > FIELD_CUT:
                    reach = math.hypot(reach, edge_high - edge_low)
            # Phi(m cot(theta)) bends within a few tan(theta) of m = 0.
            if tan > 0.0 and nearest < LAYER * tan:
                reach = math.hypot(reach, length / tan)
            # Far from a pole of the columns panels may be longer.
            if reach <= REACH and length <= 1.15 * math.hypot(nearest, pole):
                break
            length *= 0.85 if reach < 3.0 * REACH else 0.4
        n += 1
        edges[n] = hi if a + 1.05 * length >= hi else a + length
    edges[n] = hi
    return n


@compiled
def _inner_edges(c: float, b: float, tau: float, short: float, cut: float, edges: np.ndarray) -> int:
    """Edges of panels of n on (-cut, min(cut, c)) for a field b - tau n; returns their number, 0 if nothing counts."""
    lo, hi = -cut, min(cut, c)
    if hi < 0.0:
        # What is left has the scale 1 / |c|, and the Gaussian's own beyond.
        lo = -math.sqrt(hi * hi + cut * cut)
    layer_lo, layer_hi = lo, hi
    steep = abs(tau) / short
    if steep > 1e-3:
        one, two = (b - LAYER * short) / tau, (b - FIELD_CUT * short) / tau
        if tau > 0.0:
            hi = min(hi, two)
            layer_lo, layer_hi = max(lo, one), hi
        else:
            lo = max(lo, two)
            layer_lo, layer_hi = lo, min(hi, one)
    elif b < FIELD_CUT * short - abs(tau) * cut:
        return 0
    if not hi > lo:
        return 0
    n = 0
    edges[0] = lo
    fast = REACH / math.sqrt(1.0 + steep * steep)
    for part in range(3):
        left = edges[n]
        right = hi
        longest = REACH
        if part == 0:
            right = min(layer_lo, hi)
        elif part == 1:
            right = min(layer_hi, hi)
            longest = fast
        if not right > left:
            continue
        if hi < 0.0:
            longest = min(longest, 9.0 / (1.0 + abs(hi)))
        # Compared as numbers first: a solution that has run away must not overrun the edges.
        wanted, room = (right - left) / longest if longest > 0.0 else math.inf, edges.size - 2 - n
        if room < 1:
            break
        pieces = room if not wanted < room else max(math.ceil(wanted), 1)
        for k in range(1, pieces + 1):
            edges[n + k] = left + (right - left) * k / pieces
        n += pieces
        edges[n] = right
    return n


@compiled
def _chebyshev(coefficients: np.ndarray, x: float) -> float:
    b1, b2 = 0.0, 0.0
    for k in range(coefficients.size - 1, 0, -1):
        b1, b2 = 2.0 * x * b1 - b2 + coefficients[k], b1
    return x * b1 - b2 + coefficients[0]


@compiled
def _outer(
    kind: int,
    ends: np.ndarray,
    table: np.ndarray,
    scale: float,
    cut: float,
    field: np.ndarray,
    scan: np.ndarray,
    pole: float,
    nodes: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes m and their masses (with phi(m) W(m)); samples are their own nodes."""
    if kind == SAMPLES:
        return ends.copy(), table[0].copy()
    perfect = field[3] == 0.0
    # Mistakes of the probe reach down to -cut sin(theta) only.
    if kind == WEIGHT:  # a density of the margin may outweigh the Gaussian anywhere
        cut = CUT
    lowest = 0.0 if perfect else (-CUT if kind == WEIGHT else -cut * math.sin(math.atan(field[3])) - 1e-300)
    pieces = table.shape[0]
    size, order = 0, nodes.size
    ms, masses = np.empty(4096), np.empty(4096)
    edges = np.empty(600)
    for piece in range(pieces):
        start = table[piece, 0] if kind == WINDOWS else ends[piece]
        stop = table[piece, 1] if kind == WINDOWS else ends[piece + 1]
        lo, hi = max(start, lowest), min(stop, cut)
        if perfect and scan.size < 2 and field[1] > 0.0:
            hi = min(hi, (field[0] - FIELD_CUT * field[4]) / field[1])
        # A break at m = 0, where an even weight has its cusp and a narrow smear its centre.
        for part in range(2):
            left, right = (lo, min(hi, 0.0)) if part == 0 else (max(lo, 0.0), hi)
            if part == 1 and lo < 0.0 < hi:
                left = 0.0
            panels = _outer_panels(left, right, field, scan, pole, edges)
            while size + panels * order > ms.size:
                ms, masses = np.append(ms, np.empty(ms.size)), np.append(masses, np.empty(masses.size))
            for panel in range(panels):
                half = 0.5 * (edges[panel + 1] - edges[panel])
                middle = 0.5 * (edges[panel + 1] + edges[panel])
                for k in range(order):
                    m = middle + half * nodes[k]
                    w = scale * half * weights[k] * phi(m)
                    if kind == WEIGHT:
                        w *= _chebyshev(table[piece], 2.0 * (m - start) / (stop - start) - 1.0)
                    ms[size], masses[size] = m, w
                    size += 1
    return ms[:size].copy(), masses[:size].copy()


@compiled(nogil=True)
def lay(
    kind: int,
    ends: np.ndarray,
    table: np.ndarray,
    fraction: float,
    sin: float,
    cos: float,
    kappa: float,
    R: float,
    S: float,
    short: float,
    scan: np.ndarray,
    pole: float,
    cut: float,
    nodes: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nodes (mass, m, U, S, number of the outer node) of a kept law for the field kappa' + scan(m) - R' U - S' S.

    `kind, ends, table, fraction`: the law (`theory.saddle_point.kept.Resolved`). `sin, cos`: of the probe's angle.
    `kappa, R, S`: the unnormalised solution near which the nodes are used. `short`: smallest length of the noise.
    `scan`: the columns' part of the field on an even grid over [-CUT, CUT]; one entry: none. `pole`: distance of the
    columns' nearest singularity from the real axis of m. `cut`: where Gaussians are cut. `nodes, weights`:
    Gauss-Legendre rule of a panel.
    """
    rho, tau = R * cos + S * sin, S * cos - R * sin
    tan = sin / max(cos, 1e-300)
    if sin == 0.0:
        tau = 0.0
        tan = 0.0
    field = np.array([kappa, rho, tau, tan, short])
    scale = 2.0 / fraction if kind != SAMPLES else 1.0
    ms, masses = _outer(kind, ends, table, scale, cut, field, scan, pole, nodes, weights)
    if sin == 0.0:
        return masses, ms, ms.copy(), np.zeros(ms.size), np.arange(ms.size)
    edges = np.empty(200)
    order = nodes.size
    counts = np.zeros(ms.size, np.int64)
    total = 0
    # A light outer node needs fewer digits of its own: a disc of nodes rather than a square.
    reaches = np.zeros(ms.size)
    heaviest = -np.inf
    for i in range(ms.size):
        c = min(ms[i] / tan, 0.0)
        reaches[i] = math.log(masses[i]) - 0.5 * c * c - math.log(1.0 - c) if masses[i] > 0.0 else -np.inf
        heaviest = max(heaviest, reaches[i])
    for i in range(ms.size):
        reaches[i] = math.sqrt(max(cut * cut + 2.0 * (reaches[i] - heaviest), 4.0))
    # Without a cut of n the trapezium rule is spectrally exact, with a third of the nodes.
    step = (0.72 if order > 8 else 1.1) / math.sqrt(1.0 + (tau / short) ** 2)
    for i in range(ms.size):
        if masses[i] == 0.0:
            continue
        c = ms[i] / tan
        b = kappa + _shift(ms[i], scan) - rho * ms[i]
        reach = reaches[i]
        if c > reach and step * 80.0 > reach:
            counts[i] = -(2 * math.ceil(reach / step) + 1)
        else:
            counts[i] = order * _inner_edges(c, b, tau, short, reach, edges)
        total += abs(counts[i])
    mass, m, U, across = np.empty(total), np.empty(total), np.empty(total), np.empty(total)
    which = np.empty(total, np.int64)
    size = 0
    for i in range(ms.size):
        if counts[i] == 0:
            continue
        c = ms[i] / tan
        b = kappa + _shift(ms[i], scan) - rho * ms[i]
        reach = reaches[i]
        if counts[i] < 0:
            last = math.ceil(reach / step)
            for k in range(-last, last + 1):
                n = k * step
                mass[size] = masses[i] * step * phi(n)
                m[size], U[size], across[size] = ms[i], ms[i] * cos - n * sin, ms[i] * sin + n * cos
                which[size] = i
                size += 1
            continue
        panels = _inner_edges(c, b, tau, short, reach, edges)
        for panel in range(panels):
            half = 0.5 * (edges[panel + 1] - edges[panel])
            middle = 0.5 * (edges[panel + 1] + edges[panel])
            for k in range(order):
                n = middle + half * nodes[k]
                mass[size] = masses[i] * half * weights[k] * phi(n)
                m[size], U[size], across[size] = ms[i], ms[i] * cos - n * sin, ms[i] * sin + n * cos
                which[size] = i
                size += 1
    return mass, m, U, across, which


@compiled
def runs(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of equal numbers in `which` [n] begins, and the number of the run of every entry [n]."""
    begins, run = np.empty(which.size, np.int64), np.empty(which.size, np.int64)
    count = 0
    for i in range(which.size):
        if i == 0 or which[i] != which[i - 1]:
            begins[count] = i
            count += 1
        run[i] = count - 1
    return begins[:count].copy(), run


@compiled
def spread(values: np.ndarray, run: np.ndarray, rows: np.ndarray) -> None:
    """Write the columns `values` [runs, K] of the runs to `rows` [K, n]."""
    for k in range(rows.shape[0]):
        for i in range(run.size):
            rows[k, i] = values[run[i], k]
