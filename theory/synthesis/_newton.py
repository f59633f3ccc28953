"""The saddle point of points with correlated noise: equations on weighted atoms, Jacobian, damped Newton, compiled.

An atom i of mass w_i has `v_i = (1, -p_i, at_i) / l_i` with p_i [d] its signal, l_i the length of its noise and at_i
[K] its entries of the columns. With the unknowns `x = (kappa', R' [d], beta [K])` its field is `a_i = v_i.x`, and

    P2 = E[Psi_2(a)],   g = E[v Psi_1(a)],   H = E[v v^T Phi(a)],   F = E[Phi(a)],   f = E[v phi(a)],   m = g[columns]

    (N)  log( alpha { kappa' g[0] + R'.g[signal] + F } )            = 0
    (R)  { R' (1 - alpha F) + alpha g[signal] } / sqrt(1 + |R'|^2)  = 0
    (B)  { beta + Q m } / sqrt(kappa'^2 + |beta|^2)                 = 0

(N) is alpha { P2 + m^T Q m } = 1 by Psi_2(a) = a Psi_1(a) + Phi(a) and (B): written so, the columns' part has cancelled
before it is added up, which saves ten digits where nearly all noise is cancelled and beta is large.

Q = Q0 + alpha Q1: a direction shared by all points counts in proportion to their number. The problem behind it is
convex for every covariance that is one, so the root is unique. `y` is x with its first `logs` entries (kappa', and
the overlap R' of a law with true labels, where it is positive) in logarithm.
"""

from __future__ import annotations

import math

import numpy as np

from theory._compiled import compiled
from theory.perceptron.blas import REASSOCIATE
from theory.saddle_point.gaussian import psi

# Newton stops when its step is at rounding level or the residual is.
STEP_TOLERANCE = 1e-13
FLOOR = 2e-15
# What is accepted when rounding stops it earlier; grows with kappa' as the rounding of the field does.
RESIDUAL_TOLERANCE = 1e-11
START = 1e-3
QUADRATIC = 1e-6
BLOCK = 512


@compiled
def tolerance(log_kappa: float) -> float:
    """Residual below which a point counts as solved."""
    return RESIDUAL_TOLERANCE * max(1.0, 1e-3 * math.exp(log_kappa))


@compiled(fastmath=REASSOCIATE)
def _dot(a: np.ndarray, b: np.ndarray, count: int) -> float:
    total = 0.0
    for i in range(count):
        total += a[i] * b[i]
    return total


@compiled(fastmath=REASSOCIATE)
def _sum(a: np.ndarray, count: int) -> float:
    total = 0.0
    for i in range(count):
        total += a[i]
    return total


@compiled
def averages(
    mass: np.ndarray, v: np.ndarray, x: np.ndarray, g: np.ndarray, H: np.ndarray, f: np.ndarray
) -> tuple[float, float]:
    """Fill g [n], H [n, n], f [n] for rows v [n, atoms]; returns (P2, F) of the table above."""
    n, count = v.shape
    g[:] = 0.0
    H[:] = 0.0
    f[:] = 0.0
    P2 = F = 0.0
    # Blocks that stay in the nearest cache.
    first, zeroth, density = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    scaled = np.empty(BLOCK)
    for begin in range(0, count, BLOCK):
        size = min(BLOCK, count - begin)
        for i in range(size):
            at = begin + i
            a = 0.0
            for j in range(n):
                a += v[j, at] * x[j]
            if a < -38.0:
                first[i] = zeroth[i] = density[i] = 0.0
                continue
            two, one, zero, bell = psi(a)
            w = mass[at]
            P2 += w * two
            first[i] = w * one
            zeroth[i] = w * zero
            density[i] = w * bell
        F += _sum(zeroth, size)
        for j in range(n):
            row = v[j, begin : begin + size]
            g[j] += _dot(first, row, size)
            f[j] += _dot(density, row, size)
            for i in range(size):
                scaled[i] = zeroth[i] * row[i]
            for k in range(j + 1):
                H[j, k] += _dot(scaled, v[k, begin : begin + size], size)
    for j in range(n):
        for k in range(j):
            H[k, j] = H[j, k]
    return P2, F


@compiled
def unlogged(y: np.ndarray, logs: int) -> np.ndarray:
    """X from y."""
    x = y.copy()
    for i in range(logs):
        x[i] = math.exp(y[i])
    return x


@compiled
def system(
    mass: np.ndarray,
    v: np.ndarray,
    d: int,
    logs: int,
    y: np.ndarray,
    alpha: float,
    Q0: np.ndarray,
    Q1: np.ndarray,
    G: np.ndarray,
    J: np.ndarray,
    dG: np.ndarray,
) -> tuple[float, float]:
    """Residuals G [n], Jacobian J [n, n] in y, dG / d log(alpha) [n]; returns (E[Psi_1 / l], E[Phi])."""
    n = y.size
    x = unlogged(y, logs)
    g, H, f = np.empty(n), np.empty((n, n)), np.empty(n)
    _, F = averages(mass, v, x, g, H, f)
    first = 1 + d
    Q = Q0 + alpha * Q1
    m = g[first:]
    Qm, Q1m = np.zeros(n - first), np.zeros(n - first)
    for k in range(n - first):
        for j in range(n - first):
            Qm[k] += Q[k, j] * m[j]
            Q1m[k] += Q1[k, j] * m[j]
    total = F
    for i in range(first):
        total += x[i] * g[i]
    safe = total if total > 0.0 else 1.0
    G[0] = math.log(alpha * total) if total > 0.0 else -1e3
    dG[0] = 1.0
    c = 1.0
    for i in range(1, first):
        c += x[i] * x[i]
    c = math.sqrt(c)
    scale = x[0] * x[0]
    for k in range(first, n):
        scale += x[k] * x[k]
    scale = math.sqrt(scale)
    for i in range(1, first):
        G[i] = (x[i] * (1.0 - alpha * F) + alpha * g[i]) / c
        dG[i] = alpha * (g[i] - x[i] * F) / c
    for k in range(n - first):
        G[first + k] = (x[first + k] + Qm[k]) / scale
        dG[first + k] = alpha * Q1m[k] / scale
    for j in range(n):
        inner = f[j] + (g[j] if j < first else 0.0)
        for i in range(first):
            inner += x[i] * H[i, j]
        J[0, j] = inner / safe
        for i in range(1, first):
            J[i, j] = alpha * (H[i, j] - x[i] * f[j]) / c
        for k in range(n - first):
            entry = 0.0
            for i in range(n - first):
                entry += Q[k, i] * H[first + i, j]
            J[first + k, j] = entry / scale
    for i in range(1, first):
        J[i, i] += (1.0 - alpha * F) / c
    for k in range(first, n):
        J[k, k] += 1.0 / scale
    for j in range(logs):
        for i in range(n):
            J[i, j] *= x[j]
    return g[0], F


@compiled
def linear_solve(J: np.ndarray, G: np.ndarray) -> np.ndarray:
    """Solve J x = G by Gaussian elimination with scaled partial pivoting; NaN when J is singular."""
    n = G.size
    A, x = J.copy(), G.copy()
    size = np.empty(n)
    for i in range(n):
        size[i] = np.max(np.abs(A[i]))
    for column in range(n):
        pivot, best = column, -1.0
        for row in range(column, n):
            value = abs(A[row, column]) / size[row] if size[row] > 0.0 else 0.0
            if value > best:
                pivot, best = row, value
        if not best > 0.0:
            x[:] = np.nan
            return x
        for k in range(n):
            A[column, k], A[pivot, k] = A[pivot, k], A[column, k]
        x[column], x[pivot] = x[pivot], x[column]
        size[column], size[pivot] = size[pivot], size[column]
        for row in range(column + 1, n):
            factor = A[row, column] / A[column, column]
            for k in range(column, n):
                A[row, k] -= factor * A[column, k]
            x[row] -= factor * x[column]
    for row in range(n - 1, -1, -1):
        for k in range(row + 1, n):
            x[row] -= A[row, k] * x[k]
        x[row] /= A[row, row]
    return x


@compiled
def distance(step: np.ndarray, y: np.ndarray, d: int, logs: int) -> float:
    """Largest relative change: of kappa', of R' against |(1, R')|, of beta against |(kappa', beta)|."""
    x = unlogged(y, logs)
    c, scale = 1.0, x[0] * x[0]
    for i in range(1, 1 + d):
        c += x[i] * x[i]
    for k in range(1 + d, x.size):
        scale += x[k] * x[k]
    size = 0.0
    for i in range(x.size):
        if i < logs:
            size = max(size, abs(step[i]))
        elif i < 1 + d:
            size = max(size, abs(step[i]) / math.sqrt(c))
        else:
            size = max(size, abs(step[i]) / math.sqrt(scale))
    return size if math.isfinite(np.sum(step)) else math.nan


@compiled(nogil=True)
def newton(
    mass: np.ndarray,
    v: np.ndarray,
    d: int,
    logs: int,
    y: np.ndarray,
    alpha: float,
    Q0: np.ndarray,
    Q1: np.ndarray,
    iterations: int,
    enough: float,
) -> tuple[bool, float, np.ndarray, float, float]:
    """Damped Newton from y, in place, until its step is at rounding or the residual below `enough`.

    Returns (converged, residual, dy / d log(alpha), E[Psi_1 / l], E[Phi]).
    """
    n = y.size
    G, J, dG = np.empty(n), np.empty((n, n)), np.empty(n)
    psi1, F = system(mass, v, d, logs, y, alpha, Q0, Q1, G, J, dG)
    residual = np.max(np.abs(G))
    previous = np.inf
    accept = max(enough, tolerance(y[0]))
    for _ in range(iterations):
        if residual <= enough:
            break
        step = linear_solve(J, G)
        size = distance(step, y, d, logs)
        if not math.isfinite(size):
            return False, residual, dG, psi1, F
        accept = max(enough, tolerance(y[0]))
        # At the rounding floor the step stops shrinking.
        if size < STEP_TOLERANCE or (residual < accept and size > 0.25 * previous):
            break
        previous = size
        damping = min(1.0, 2.0 / size)
        trial = y - damping * step
        psi1, F = system(mass, v, d, logs, trial, alpha, Q0, Q1, G, J, dG)
        new = np.max(np.abs(G))
        shrink = 0
        while not new < 2.0 * residual + 1e-12 and shrink < 8:
            damping *= 0.3
            trial = y - damping * step
            psi1, F = system(mass, v, d, logs, trial, alpha, Q0, Q1, G, J, dG)
            new = np.max(np.abs(G))
            shrink += 1
        if not math.isfinite(new):
            return False, residual, dG, psi1, F
        y[:] = trial
        residual = new
        # Convergence is quadratic: after so small a step the next would be at rounding.
        if damping == 1.0 and size < QUADRATIC and residual < 3e-14:
            break
    return residual < max(enough, tolerance(y[0])), residual, -linear_solve(J, dG), psi1, F


@compiled
def start(mass: np.ndarray, v: np.ndarray, d: int, logs: int, alpha: float) -> np.ndarray:
    """Leading order as alpha -> 0 at Q = 0: kappa' = (alpha E l^-2)^(-1/2), R' = alpha kappa' E[p / l^2], beta = 0."""
    n = v.shape[0]
    y = np.zeros(n)
    inverse = 0.0
    for i in range(mass.size):
        inverse += mass[i] * v[0, i] * v[0, i]
        for j in range(1, 1 + d):
            y[j] -= mass[i] * v[0, i] * v[j, i]
    kappa = 1.0 / math.sqrt(alpha * inverse)
    y[0] = math.log(kappa)
    for j in range(1, 1 + d):
        y[j] *= alpha * kappa
    if logs > 1:
        y[1] = math.log(max(y[1], 1e-300))
    return y
