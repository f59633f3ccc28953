"""`python -m benchmarks.synthesis`: the saddle point of correlated noise against a plain numpy Newton, in one run.

The baseline is what one writes first: the same equations on the same points with numpy arrays and scipy's normal
distribution, started at small alpha, continued in log(alpha), columns switched on at the end. CPU time, one thread.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import ndtr

from theory import Atoms, LowRank, Matched, solve

ASKED = {"law": 1.0, "atoms": 10.0}  # milliseconds a point that this project set itself
THETA = math.radians(20.0)


@dataclass(frozen=True)
class Row:
    """Milliseconds a point of either way, and the largest difference of their test errors (NaN: not compared)."""

    case: str
    ours_ms: float
    baseline_ms: float
    difference: float
    asked: float


def _psi(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Psi_2, Psi_1, Phi, phi; a downward recurrence below -5, where the closed forms cancel."""
    phi, Phi = np.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi), ndtr(a)
    first = a * Phi + phi
    second = a * first + Phi
    low = a < -5.0
    if low.any():
        x = a[low]
        upper, lower = np.zeros_like(x), np.ones_like(x)
        for k in range(36, 2, -1):
            upper, lower = lower, k * upper - x * lower
        zeroth = 2.0 * upper - x * lower
        scale = phi[low] / (lower - x * zeroth)
        second[low], first[low], Phi[low] = 2.0 * upper * scale, lower * scale, zeroth * scale
    return second, first, Phi, phi


def _newton(v: np.ndarray, w: np.ndarray, y: np.ndarray, alpha: float, Q: np.ndarray, d: int) -> np.ndarray:
    """Newton in (log kappa', R', beta) for rows v [n, 1 + d + K]."""
    for _ in range(60):
        x = y.copy()
        x[0] = math.exp(y[0])
        second, first, Phi, phi = _psi(v @ x)
        g, f = v.T @ (w * first), v.T @ (w * phi)
        H, F = (v * (w * Phi)[:, None]).T @ v, float(w @ Phi)
        m, R, c = g[1 + d :], x[1 : 1 + d], 1 + d
        total = max(float(w @ second) + m @ Q @ m, 1e-30)
        G = np.concatenate([[math.log(alpha * total)], R * (1.0 - alpha * F) + alpha * g[1:c], x[c:] + Q @ m])
        if np.abs(G).max() < 1e-12:
            break
        J = np.empty((y.size, y.size))
        J[0] = 2.0 * (g + (Q @ m) @ H[c:]) / total
        J[1:c] = alpha * (H[1:c] - np.outer(R, f))
        J[1:c, 1:c] += (1.0 - alpha * F) * np.eye(d)
        J[c:] = Q @ H[c:]
        J[c:, c:] += np.eye(y.size - c)
        J[:, 0] *= x[0]
        step = np.linalg.solve(J, G)
        y = y - min(1.0, 2.0 / np.abs(step).max()) * step
    return y


def _error(y: np.ndarray, d: int) -> float:
    return math.atan2(math.sqrt(1.0 + float(y[2 : 1 + d] @ y[2 : 1 + d])), y[1]) / math.pi


def _walk(v: np.ndarray, w: np.ndarray, alphas: np.ndarray, Q: np.ndarray) -> list[float]:
    """The first alpha from small alpha on, later ones from their neighbour."""
    d = v.shape[1] - 1 - len(Q)
    y = np.zeros(v.shape[1])
    y[0] = -0.5 * math.log(0.01 * (w @ v[:, 0] ** 2))
    first = float(alphas[0])
    for a in np.geomspace(0.01, first, max(2, 1 + math.ceil(math.log(first / 0.01) / 0.7))):
        y = _newton(v, w, y, float(a), np.zeros_like(Q), d)
    for t in (0.5, 0.75, 0.9):  # at once it leaves the region where Newton converges
        y = _newton(v, w, y, first, t * Q, d)
    errors = []
    for a in alphas:
        y = _newton(v, w, y, float(a), Q, d)
        errors.append(_error(y, d))
    return errors


def _law(theta: float, fraction: float, keep: str) -> tuple[np.ndarray, np.ndarray]:
    """A plain product grid of (U, S) nodes with the column h of beta = 2, for unsigned easy or all samples."""
    x, wx = np.polynomial.legendre.leggauss(16)
    edges = np.linspace(-9.0, 9.0, 19)
    m = np.concatenate([(a + b) / 2 + (b - a) / 2 * x for a, b in pairwise(edges)])
    w = np.concatenate([(b - a) / 2 * wx for a, b in pairwise(edges)])
    w = w * np.exp(-0.5 * m * m) / math.sqrt(2.0 * math.pi)
    if theta == 0.0:
        half = m > 0.0
        U, S, w, m = m[half], np.zeros(half.sum()), 2.0 * w[half], m[half]
    else:
        U, S = (a.ravel() for a in np.meshgrid(m, m, indexing="ij"))
        w, m = np.outer(w, w).ravel(), U * math.cos(theta) + S * math.sin(theta)
        keep_these = (U > 0.0) & (w > 1e-17)
        U, S, w, m = U[keep_these], S[keep_these], 2.0 * w[keep_these], m[keep_these]
    h = 1.0 / (1.0 + np.exp(2.0 * m))
    at = h / math.sqrt(w @ h**2)
    axes = [np.ones_like(U), -U, at] if theta == 0.0 else [np.ones_like(U), -U, -S, at]
    return np.column_stack(axes), w


def _timed(function, repeats: int) -> tuple[float, object]:  # type: ignore[no-untyped-def]
    begin = time.process_time()
    for _ in range(repeats):
        found = function()
    return 1e3 * (time.process_time() - begin) / repeats, found


def run() -> list[Row]:
    """All comparisons; under a minute."""
    rows = []
    alphas = np.geomspace(0.1, 10.0, 50)
    noise = Matched(0.3)
    for degrees, theta in ((0, 0.0), (20, THETA)):
        for keep in ("easy", "hard", "random"):
            fraction = 1.0 if keep == "random" else 0.5

            def curve(keep: str = keep, fraction: float = fraction, theta: float = theta) -> np.ndarray:
                return np.asarray(solve(alphas, fraction, keep, theta, noise=noise).test_error)

            curve()  # compiled before it is timed
            ours, found = _timed(curve, 5)
            baseline, difference = math.nan, math.nan
            if keep == "random":
                v, w = _law(theta, fraction, keep)
                shown = alphas[:15]
                Q = np.array([[-0.91]])
                walk = partial(_walk, v, w, shown, Q)
                baseline, other = _timed(walk, 1)
                baseline /= shown.size
                difference = float(np.abs(np.asarray(found)[:15] - np.asarray(other)).max())
            name = f"law, K = 1, {keep}, probe at {degrees} degrees, 50 alphas"
            rows.append(Row(name, ours / alphas.size, baseline, difference, ASKED["law"]))
    rng = np.random.default_rng(0)
    U, length = np.abs(rng.standard_normal(800)) + 0.3, rng.uniform(0.9, 1.05, 800)
    columns = np.linalg.qr(np.column_stack([np.ones(800), U, 1.0 / (1.0 + np.exp(2.0 * U))]))[0] * math.sqrt(800.0)
    Q3 = np.array([[-0.4, 0.1, 0.0], [0.1, 0.6, 0.05], [0.0, 0.05, -0.2]])
    atoms, low_rank = Atoms(U), LowRank(columns, Q3, lengths=length)
    solve(4.0, keep=atoms, noise=low_rank)
    ours, found = _timed(lambda: solve(4.0, keep=atoms, noise=low_rank).test_error, 20)
    v, w = np.column_stack([np.ones(800), -U, columns]) / length[:, None], np.full(800, 1.0 / 800.0)
    baseline, other = _timed(lambda: _walk(v, w, np.array([4.0]), Q3)[0], 3)
    rows.append(Row("800 measured points, K = 3, alpha 4", ours, baseline, abs(found - other), ASKED["atoms"]))  # type: ignore[operator]
    return rows


def main() -> None:
    """Print the table."""
    table = Table(title="Saddle point at correlated noise against plain numpy (CPU time, one thread, one run)")
    for heading in ("case", "ours, ms a point", "asked", "numpy, ms a point", "times faster", "difference in error"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for row in run():
        ratio = row.baseline_ms / row.ours_ms
        table.add_row(
            row.case,
            f"{row.ours_ms:.3f}",
            f"{row.asked:g}",
            f"{row.baseline_ms:.1f}" if math.isfinite(ratio) else "",
            f"{ratio:.0f}" if math.isfinite(ratio) else "",
            f"{row.difference:.0e}" if math.isfinite(row.difference) else "",
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
