"""The theory's prediction for the comparison: the tilted kept density solved on a grid, kept in a file.

A matching method is read as a kept density: methods that match gradients weigh a real sample of margin z by its
gradient, p0(z) ~ phi(z) h(z) with h(z) = 1 / (1 + exp(beta z)); others keep p0(z) ~ phi(z). The correction (Wang et
al., arXiv 2408.12483) prefers small gradients, and tilts it by exp(-tau h(z)). That reading is this project's
assumption, which the comparison tests. Margins are label-signed, which is what a gradient norm measures; the unsigned
form is shown beside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from figures.cache import Arrays, kept, source_digest
from shared.comparison.prediction import Prediction
from shared.terminal.progress import Report
from theory import scaling, solve
from theory.saddle_point.kept import Tilt

Array = NDArray[np.float64]

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
ALPHA_RANGE = (0.01, 300.0)
BETA = 2.0


def prediction_grid(points: int) -> tuple[Array, Array]:
    """(alphas, taus) at which the theory is solved."""
    strengths = np.array(STRENGTHS)
    return np.geomspace(*ALPHA_RANGE, points), np.concatenate([-strengths[::-1], [0.0], strengths])


def predict(
    gradient_weighted: bool,
    thetas: Sequence[float] = (0.0,),
    margin: str = "signed",
    beta: float = BETA,
    points: int = 24,
    cache: Path | None = None,
    report: Report = lambda done, total: None,
) -> Prediction:
    """Solve the theory for a band of probe angles.

    Args:
        gradient_weighted: whether p0 weighs samples by their gradient (gradient matching) or not.
        thetas: the band in radians; its middle entry is the best guess.
        margin: "signed" or "unsigned".
        beta: confidence of the probe.
        points: alphas on the grid.
        cache: folder in which solved angles are kept, see `figures.cache`.
        report: called with (done, total) solved curves.
    """
    alphas, taus = prediction_grid(points)
    jobs = [(theta, tau) for theta in thetas for tau in taus.tolist()]
    shapes = {"error": (len(thetas), taus.size, alphas.size), "slope": (len(thetas), alphas.size)}

    def curve(job: tuple[float, float]) -> Array:
        theta, tau = job
        rule = Tilt(tau, beta, gradient_weighted)
        return np.asarray(solve(alphas, 1.0, rule, theta, margin).test_error)

    def solved() -> Arrays:
        errors = []
        with ThreadPoolExecutor() as pool:
            for found in pool.map(curve, jobs):
                errors.append(found)
                report(len(errors), len(jobs))
            slopes = list(pool.map(lambda t: scaling.tilt_slope(alphas, t, margin, beta, gradient_weighted), thetas))
        return {"error": np.array(errors).reshape(shapes["error"]), "slope": np.array(slopes)}

    if cache is None:
        both = solved()
    else:
        name = _digest(gradient_weighted, thetas, margin, beta, points)
        settings = {"gradient_weighted": gradient_weighted, "thetas": list(thetas), "margin": margin, "beta": beta,
                    "alphas": alphas.tolist(), "taus": taus.tolist()}  # fmt: skip
        both = kept(cache / f"{name}.json", settings, shapes, solved)
    random_error = np.asarray(solve(alphas, keep="random").test_error)
    name = f"p0 ~ {'phi h' if gradient_weighted else 'phi'}, {margin} margin, beta = {beta:g}"
    return Prediction(name, alphas, taus, np.array(thetas), both["error"], both["slope"], random_error)


def random_curve(points: int = 60) -> Callable[[Array], Array]:
    """Error of random samples as a function of alpha: solved on a grid, cubic splines between, on log scales."""
    alphas = np.geomspace(*ALPHA_RANGE, points)
    spline = CubicSpline(np.log(alphas), np.log(np.asarray(solve(alphas, keep="random").test_error)))
    return lambda alpha: np.asarray(np.exp(spline(np.log(np.clip(alpha, *ALPHA_RANGE)))))


def _digest(*settings: object) -> str:
    return source_digest(repr((settings, STRENGTHS, ALPHA_RANGE)).encode())


def angle_band(low: float, high: float) -> tuple[float, ...]:
    """Ends and middle, each once; rounded to a degree, so that solved bands are found again."""
    ends = [round(math.degrees(x)) for x in (low, high)]
    return tuple(math.radians(x) for x in sorted({ends[0], round(sum(ends) / 2.0), ends[1]}))
