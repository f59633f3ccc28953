"""What the correction does to a learnt set: no tilt, but a pull on every point that depends on its margin.

The correction adds lambda |g| to the loss, g = mean h z of a class. Its descent moves a point z = y x by

    dz = -lambda [ h G - beta h (1 - h) (z.G) J ],    G = g / |g|,

at a probe J, which at a perfect probe, where G is close to the teacher, is a margin's fall along U h(beta U):

    dU = -lambda d(U h) / dU = -lambda [ h - beta U h (1 - h) ].

U h rises up to beta U (1 - h) = 1 and falls beyond: points near the boundary are pulled to it, the others pushed out.
`kick` does this once to sets that were learnt without the correction, so that the matching cannot answer.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit

from shared.terminal.progress import Report
from theory.distillation.learning import Distillation, Distilled, distil
from theory.distillation.learnt import theories
from theory.distillation.matching import class_gradient, pull_back
from theory.perceptron.blas import single_blas_thread
from theory.perceptron.max_margin import max_margin
from theory.simulation.simulate import overlaps
from theory.synthesis.moments import moments

Array = NDArray[np.float64]

ALPHAS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
SEEDS = 5
# lambda times the number of steps times twice the rate: what a small coefficient adds up to over a descent.
SIZE = 1.0
QUANTITIES = ("direct", "theory_b", "only_margins", "only_rest", "lowest_fifth", "highest_fifth", "mean_margin")


def pull(margin: ArrayLike, beta: float = 2.0) -> Array:
    """DU / d lambda at a perfect probe, for teacher margins U: negative is towards the boundary."""
    U = np.asarray(margin, dtype=float)
    h = expit(-beta * U)
    return np.asarray(beta * U * h * (1.0 - h) - h)


def turning_margin(beta: float = 2.0) -> float:
    """The margin below which points are pulled to the boundary, and above which they are pushed out."""
    return float(brentq(lambda U: float(pull(U, beta)), 1e-6 / beta, 10.0 / beta, xtol=1e-14))


def kick(made: Distilled, size: float = SIZE) -> Array:
    """The points [M, D] of a learnt set after one pull of the correction, averaged over matching's probes.

    ``size``: lambda times twice the rate times steps, as if the pull stayed what it is at first.
    """
    moved = made.points.copy()
    for label in (1.0, -1.0):
        own = made.labels == label
        points = made.points[own]
        for w in made.ensemble:
            g, h = class_gradient(points, label, w)
            # A class's points move by their number times the gradient: its mean is the loss's.
            push = pull_back(points, label, w, h, g / np.linalg.norm(g)) * len(points)
            moved[own] -= size / len(made.ensemble) * push
    return moved


def answers(made: Distilled, size: float = SIZE) -> dict[str, float]:
    """What a pull changes in a set: its error measured and by theory (B), and its margins.

    ``direct``: change of the max-margin perceptron's error. ``theory_b``, ``only_margins``, ``only_rest``: change of
    theory (B) when everything, only the part along the teacher, or only the rest of the pull is applied; all half the
    difference of a pull and its opposite, as the slopes in lambda are. ``lowest_fifth``, ``highest_fifth``,
    ``mean_margin``: mean change of U of those points, and of all.
    """
    X, y, T = made.points, made.labels, made.teacher
    push = kick(made, size) - X
    along = np.outer(push @ T, T)
    rank = np.argsort(np.argsort(y * (X @ T)))
    dU = y * (push @ T)
    fifth = max(1, len(y) // 5)

    def measured(points: Array) -> float:
        return overlaps(max_margin(points, y).w, T, T)[0]

    def by_theory(points: Array) -> float:
        return theories(moments(points, y, T, made.ensemble))[1]

    def change(error: Callable[[Array], float], move: Array) -> float:
        return 0.5 * (error(X + move) - error(X - move))

    return {
        "direct": change(measured, push),
        "theory_b": change(by_theory, push),
        "only_margins": change(by_theory, along),
        "only_rest": change(by_theory, push - along),
        "lowest_fifth": float(dU[rank < fifth].mean()),
        "highest_fifth": float(dU[rank >= len(y) - fifth].mean()),
        "mean_margin": float(dU.mean()),
    }


def table(
    alphas: Sequence[float] = ALPHAS,
    seeds: int = SEEDS,
    size: float = SIZE,
    report: Report = lambda done, total: None,
    **settings: Any,
) -> list[dict[str, float]]:
    """Means and standard errors over seeds, a row an alpha, of sets learnt with lambda = 0 and pulled once."""
    rows = []
    with single_blas_thread():
        for number, alpha in enumerate(alphas):
            found = []
            for seed in range(seeds):
                found.append(answers(distil(Distillation(alpha, 0.0, seed, **settings)), size))
                report(number * seeds + seed + 1, len(alphas) * seeds)
            row: dict[str, float] = {"alpha": alpha, "size": size, "sets": seeds}
            for name in QUANTITIES:
                values = np.array([one[name] for one in found])
                row[name] = float(values.mean())
                row[f"{name}_se"] = float(values.std(ddof=1) / math.sqrt(seeds)) if seeds > 1 else math.nan
            rows.append(row)
    return rows


def as_csv(rows: Sequence[dict[str, float]]) -> bytes:
    """Rows as CSV, five decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([f"{v:.5f}" if isinstance(v, float) and not v.is_integer() else f"{v:g}" for v in row.values()])
    return text.getvalue().encode()
