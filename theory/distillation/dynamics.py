"""A theory of the steps of distillation themselves: it predicts a learnt set from its settings, with nothing measured.

Descent on gradient matching moves z = y x of a class (of M_c points; r = 2 rate, probe w = beta J_k at step t) by

    z <- z - r [ h Q - beta h (1 - h) (z.Q) J_k ],    h = 1 / (1 + exp(beta z.J_k)),    Q(t) = A_t G(t) - B_t gamma_k

with G = mean h z, gamma_k its value on the real set, and A = B = 2 (squared) or A = cos / |G|^2, B = 1 / (|G| |gamma|)
(cosine); the correction adds lambda / |G| to A.  In D -> infinity coordinates along teacher and probes become averages.
In the rest, with alpha_c, alpha_r points and real samples per dimension and class, f = alpha_c / alpha_r (points start
as real samples), averages over points E, C(t, s) = E[h(t) h(s)], R(t, s) = E[dh(t) / d eta(s)]:

    q(t) = u(t) + A_t sum_{s<t} (R - r C)(t, s) q(s),      u = A_t zeta(t) - B_t (xi_k + f zeta0_k),     q = L u,
    cov zeta = C / alpha_c,  cov(zeta, zeta0_k) = E[h h0_k] / alpha_c,  cov xi = (1 - f) E_real[h_k h_l] / alpha_r,
    z.Q  = p.Q_s + eta(t) - r sum_{s<t} h(s) q(s).q(t)
         + (1 / alpha_c) sum_s L(t, s) [A_s h(s) - B_s f h0_k(s)],     cov eta = q.q,

the last sum being a point's own part of the gradient (and of the real one, which holds its start).  A population of
effective points solves it forwards in time, each with its responses to the noise of every earlier step.

The last stage ("low") is the saddle point at the population's margins U along the teacher with the Gram matrix of the
moments {1, U, mean h}, which follows without a new average: a combination v_a = mean a z has, outside the probes,

    v_a = zeta_a + sum_t W_a(t) q(t),   W_a(t) = E[da / d eta(t)] - r E[a h(t)],   cov(zeta_a, zeta) = E[a h] / alpha_c.

The "full" one takes the probes' directions as further signal axes, and every h_k as a column instead of their mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from shared.terminal.progress import Report
from theory.distillation._descent import COSINE, SQUARED, descend
from theory.distillation.learning import Distillation
from theory.errors import NotConverged
from theory.perceptron.max_margin import NotSeparable
from theory.solver import solve
from theory.synthesis.laws import Atoms
from theory.synthesis.noise import LowRank
from theory.vocabulary import nearest

Array = NDArray[np.float64]

# Populations of an orderly descent scatter by 4 % at most, orders of the probes included; chaotic ones by 10 to 80 %.
MOST_SCATTER = 0.15
PREDICTED, UNSTABLE, INSEPARABLE = "predicted", "unstable", "not separable"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What descent is predicted to give: means over populations, with standard errors (NaN for one population).

    Attributes:
        settings: of the distillation.
        status: "predicted"; "unstable" where a perturbation of a step multiplies, or populations end far apart, so that
            none follows the descent; "not separable". Numbers are NaN unless it is "predicted".
        test_error, test_error_se: of the max-margin perceptron on the learnt points.
        teacher_margin, teacher_margin_sd: mean and spread of U.
        s1: length of the points' mean outside the teacher over that of independent points.
        loss: per class, mean over the last tenth of steps.
        population, populations: effective points in each, and their number.
    """

    settings: Distillation
    status: str
    test_error: float
    test_error_se: float
    teacher_margin: float
    teacher_margin_sd: float
    s1: float
    loss: float
    population: int
    populations: int


STAGES = ("low", "full")


def predict(
    settings: Distillation,
    population: int = 600,
    populations: int = 4,
    seed: int = 0,
    *,
    overlap: float | None = None,
    stage: str = "low",
    one_order: bool = False,
    report: Report = lambda done, total: None,
) -> Prediction:
    """Predict the learnt set of `theory.distillation.learning.Distillation` from its settings alone, in D -> infinity.

    Of the settings, dimension and seed are not used: ``seed`` here is that of the populations, so that two coefficients
    at the same seed are paired.

    Args:
        settings: alpha, coefficient, real, steps, rate, distance, probe_alpha, beta, probes.
        population: effective points; the accuracy. More than steps + probes + 1 (their noises are made uncorrelated).
        populations: independent populations to average over.
        seed: of the populations.
        overlap: cosine of the probes with the teacher, in [0, 1]; by default as the settings train them.
        stage: low or full, see above.
        one_order: all populations meet the probes in the same order. By default each has its own, as each distillation
            has: then the standard error holds both what a population leaves to chance and what the order does.
        report: called with (done, total) populations.

    Raises:
        ValueError: a population too small for the steps, a stage that there is not.
    """
    least = settings.steps + settings.probes + 2
    if population < least:
        raise ValueError(
            f"population is {population}, must be at least {least} ({settings.steps} steps, {settings.probes} probes)"
        )
    if populations < 1 or seed < 0:
        raise ValueError(f"populations {populations} and seed {seed}: must be at least 1 and at least 0")
    cos = probe_cosine(settings) if overlap is None else float(overlap)
    if not 0.0 <= cos <= 1.0:
        raise ValueError(f"overlap is {cos:g}, must lie in [0, 1]: the probes' cosine with the teacher")
    if stage not in STAGES:
        raise ValueError(f"stage is {stage!r}, must be one of {', '.join(STAGES)}{nearest(stage, STAGES)}")
    common = np.random.default_rng([seed, populations, 1]).integers(settings.probes, size=settings.steps)
    found: list[dict[str, float]] = []
    status = PREDICTED
    for k in range(populations):
        rng = np.random.default_rng([seed, k])
        one = _population(settings, cos, population, rng, stage, common if one_order else None)
        report(k + 1, populations)
        if isinstance(one, str):
            status = one
            break
        found.append(one)
    errors = np.array([one["test_error"] for one in found])
    if status == PREDICTED and populations > 1 and errors.std(ddof=1) > MOST_SCATTER * errors.mean():
        status = UNSTABLE
    names = ("test_error", "teacher_margin", "teacher_margin_sd", "s1", "loss")
    means = dict.fromkeys(names, math.nan)
    error = math.nan
    if status == PREDICTED:
        means = {name: float(np.mean([one[name] for one in found])) for name in names}
        if populations > 1:
            error = float(errors.std(ddof=1) / math.sqrt(populations))
    return Prediction(settings, status, test_error_se=error, population=population, populations=populations, **means)


def probe_cosine(settings: Distillation) -> float:
    """Overlap of matching's probes with the teacher, by the theory of random samples; 0 for untrained ones."""
    return float(solve(settings.probe_alpha, keep="random").R) if settings.probe_alpha > 0.0 else 0.0


def real_averages(beta: float, cos: float) -> tuple[Array, float, float]:
    """(E[h U], E[h S]) [2], E[h_k^2] and E[h_k h_l] of real samples for probes at this cosine, S their own axis."""
    sin = math.sqrt(1.0 - cos * cos)
    x, w = np.polynomial.legendre.leggauss(400)
    U, wU = 6.0 * (x + 1.0), 6.0 * w * np.exp(-0.5 * (6.0 * (x + 1.0)) ** 2) * math.sqrt(2.0 / math.pi)
    S, wS = 12.0 * x, 12.0 * w * np.exp(-0.5 * (12.0 * x) ** 2) / math.sqrt(2.0 * math.pi)
    h = expit(-beta * (cos * U[:, None] + sin * S))
    inner = h @ wS
    return np.array([wU @ (inner * U), wU @ (h @ (wS * S))]), float(wU @ (h**2 @ wS)), float(wU @ inner**2)


def _population(
    settings: Distillation,
    cos: float,
    n: int,
    rng: np.random.Generator,
    stage: str,
    order: NDArray[np.int64] | None,
) -> dict[str, float] | str:
    """One population: its numbers, or why there are none; it meets the probes in an order of its own unless given."""
    T, K, beta = settings.steps, settings.probes, settings.beta
    sin = math.sqrt(1.0 - cos * cos)
    # Half-normal margins by quantiles; other coordinates and noises uncorrelated in the population, as in the limit.
    U = ndtri(0.5 + 0.5 * (rng.permutation(n) + rng.random(n)) / n)
    others = rng.standard_normal((n, K + T))
    others -= others.mean(axis=0)
    basis, triangle = np.linalg.qr(np.column_stack([np.ones(n), U, others]))
    others = (basis * np.sign(np.diag(triangle)))[:, 2:] * math.sqrt(n)
    p = np.ascontiguousarray(np.column_stack([U, others[:, :K]]))
    signal, square, pair = real_averages(beta, cos)
    pairs = np.full((K, K), pair) + (square - pair) * np.eye(K)
    alpha, real = 0.5 * settings.alpha, 0.5 * settings.real
    order = rng.integers(K, size=T) if order is None else order
    done, P, h, h0, A, B, L, qq, losses = descend(
        p, np.ascontiguousarray(others[:, K:].T), order, alpha, real, beta, cos, sin, 2.0 * settings.rate,
        COSINE if settings.distance == "cosine" else SQUARED, settings.coefficient, signal, pairs,
    )  # fmt: skip
    if done < T:
        return UNSTABLE
    last = losses[-max(1, T // 10) :]
    full = stage == "full"
    columns, gram = _last_stage(settings, p, P, h, h0, A, B, L, qq, order, cos, sin, full)
    atoms = Atoms(p if full else p[:, 0])
    try:
        error = solve(settings.alpha, keep=atoms, noise=LowRank(columns, gram - np.eye(len(gram)))).test_error
    except NotSeparable:
        return INSEPARABLE
    except NotConverged:
        return UNSTABLE
    first = columns[:, 0] / math.sqrt(n)
    return {
        "test_error": float(error),
        "teacher_margin": float(p[:, 0].mean()),
        "teacher_margin_sd": float(p[:, 0].std()),
        "s1": math.sqrt(float(gram[0, 0])) if abs(first.sum()) > 0.0 else math.nan,
        "loss": float(last.mean()) if T else math.nan,
    }


def _last_stage(  # noqa: PLR0913 - all of what a population has become
    settings: Distillation,
    p: Array,
    P: Any,
    h: Array,
    h0: Array,
    A: Array,
    B: Array,
    L: Array,
    qq: Array,
    order: NDArray[np.int64],
    cos: float,
    sin: float,
    full: bool,
) -> tuple[Array, Array]:
    """Columns [n, K'], orthonormal in the mean, and the Gram matrix [K', K'] of the noise that they combine."""
    n, r = len(p), 2.0 * settings.rate
    alpha, real = 0.5 * settings.alpha, 0.5 * settings.real
    margins = cos * p[:, :1] + sin * p[:, 1:]
    weights = expit(-settings.beta * margins)
    probes = weights.shape[1]
    # How {h_k} or their mean make the columns after {1, U}.
    combine = np.eye(probes) if full else np.full((probes, 1), 1.0 / probes)
    raw = np.column_stack([np.ones(n), p[:, 0], weights @ combine])
    slope = -settings.beta * weights * (1.0 - weights)
    dU = P[:, 0, :].astype(float)
    dh = np.empty((probes, dU.shape[1]))
    for k in range(probes):
        dh[k] = slope[:, k] @ (cos * dU + sin * P[:, 1 + k, :]) / n
    answers = np.vstack([np.zeros(dU.shape[1]), dU.mean(axis=0), combine.T @ dh])
    Ah, Ah0 = raw.T @ h.T / n, raw.T @ h0.T / n
    W = answers - r * Ah
    # zeta_a.q(t), from q = L u.
    overlap = (Ah * A / alpha - Ah0[:, order] * B / real) @ L.T
    class_gram = raw.T @ raw / n / alpha + overlap @ W.T + W @ overlap.T + W @ qq @ W.T
    shared = np.zeros((raw.shape[1], 1)) if full else raw.T @ p[:, 1:] / n  # the probes' axes belong to the signal
    # Two classes with noise of their own and the same signal: M / N of the square of their mean.
    gram = 2.0 * alpha * (0.5 * class_gram + shared @ shared.T)
    triangle = np.linalg.cholesky(raw.T @ raw / n)
    turned = np.linalg.solve(triangle, np.linalg.solve(triangle, gram).T)
    return np.linalg.solve(triangle, raw.T).T, 0.5 * (turned + turned.T)
