"""Many trials of the perceptron model at finite size: draw the kept samples, train, measure.

`simulate` takes a whole curve, or a whole figure, in one call: alpha, fraction, keep and theta broadcast.
Every trial has a generator of its own, seeded by (seed, settings of the point, number of the trial) and
nothing else: the numbers do not depend on the number of workers, on the order in which trials are done, or
on which other points are in the call.

Trials run in threads. Drawing normal deviates and the compiled solver release the interpreter's lock, and
BLAS is kept at one thread.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.measures.tabular import Tabular
from shared.terminal.progress import Report, reporting
from theory._threads import Flag, working
from theory.perceptron.blas import single_blas_thread
from theory.perceptron.max_margin import compile_kernels, max_margin
from theory.saddle_point.kept import Ranked, Rule, check_margin, make_rule
from theory.simulation.drawing import correlated, identity
from theory.simulation.sampling import (
    LARGEST,
    PlaneLaw,
    check_point,
    draw_in_plane_law,
    plane_law,
    pool_size,
    sample_count,
)
from theory.synthesis.noise import Noise, make_noise
from theory.vocabulary import brief

OBSERVABLES = ("test_error", "R", "rho", "kappa")
_TRIALS_A_JOB = 10
MOST_TRIALS = 10_000_000  # of all points of a call
MOST_WORKERS = 1024

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """One number a trial, each array of shape [points..., trials].

    Attributes:
        test_error: arccos(R) / pi, from the exact angle between student and teacher (no test samples).
        R: overlap w.T of student and teacher.
        rho: overlap w.J of student and probe.
        kappa: margin of the student, min y w.x with |w| = 1.
    """

    test_error: Array = field(repr=False)
    R: Array = field(repr=False)
    rho: Array = field(repr=False)
    kappa: Array = field(repr=False)


@dataclass(frozen=True)
class Simulation(Tabular):
    """Mean over trials and its standard error, each of the shape that the settings broadcast to.

    Attributes:
        test_error, R, rho, kappa: means over trials; see `Trials`.
        test_error_se, R_se, rho_se, kappa_se: standard errors of the means (nan for one trial).
        per_trial: the numbers behind them.
        alpha: kept samples per dimension as simulated, n / D with a whole number n of samples: compare
            theory at this value.
        fraction: kept share as simulated, n / N with whole n and N; 1 where a rule other than hard or easy
            selects.
        samples: number n of kept samples.
        keep, theta, margin, dimension, trials, seed: the settings.
    """

    test_error: Any
    R: Any
    rho: Any
    kappa: Any
    test_error_se: Any
    R_se: Any
    rho_se: Any
    kappa_se: Any
    per_trial: Trials = field(repr=False)
    alpha: Any
    fraction: Any
    samples: Any
    keep: Any
    theta: Any
    margin: str
    dimension: int
    trials: int
    seed: int


@dataclass(frozen=True)
class _Point:
    """The settings of one point, and what is prepared once for all its trials."""

    count: int
    fraction: float
    theta: float
    dimension: int
    law: PlaneLaw
    key: tuple[int, ...]
    noise: Noise | None = None

    @property
    def cost(self) -> float:
        """Relative time of a trial."""
        return float(self.count * self.dimension * min(self.count, self.dimension))


def simulate(
    alpha: ArrayLike,
    fraction: ArrayLike = 1.0,
    keep: str | Rule | Sequence[Any] | NDArray[Any] = "hard",
    theta: ArrayLike = 0.0,
    dimension: int = 200,
    trials: int = 100,
    seed: int = 0,
    *,
    margin: str = "unsigned",
    noise: Any = None,
    workers: int | None = None,
    progress: bool | Report | None = None,
) -> Simulation:
    """Simulate the perceptron trained to the largest margin on the samples that a probe keeps.

    alpha, fraction, keep and theta broadcast against each other; scalars give floats.

    Args:
        alpha: kept samples per dimension; n = round(alpha D) samples, at least 1.
        fraction: share of the pool that is kept, in (0, 1]: the n of round(n / fraction) samples, exactly.
        keep: "hard" (smallest probe margins), "easy", "random", or a rule of `theory.saddle_point.kept`; or an array of
            those.
        theta: angle between probe and teacher in radians, in [0, pi/2].
        dimension: D.
        trials: data sets a point, each with a fresh teacher, probe and pool.
        seed: of all randomness; the same settings and seed give the same numbers, whatever else is in the
            call.
        margin: "unsigned" (|J.x|, the published convention) or "signed" (y J.x).
        noise: covariance of the samples outside the plane of teacher and probe (`theory.Matched` and others, as in
            `theory.solve`); None: independent samples.
        workers: threads; by default one for every processor this process may use.
        progress: True for a display with a time estimate on stderr, None for one on a terminal only, False
            for none, or a function that is called with (done, total) units of work.

    Raises:
        ValueError: a setting out of its range.
    """
    trials, seed, workers = _checked_counts(dimension, trials, seed, workers)
    check_margin(margin)
    grid = _broadcast(alpha, fraction, theta, keep)
    if grid.size * trials > MOST_TRIALS:
        raise ValueError(f"{grid.size} points of {trials} trials are more than {MOST_TRIALS:g} trials in one call")
    covariance = None if noise is None else make_noise(noise)
    points = [_point(float(a), float(f), k, float(t) + 0.0, dimension, margin, covariance) for a, f, t, k in grid]
    values = np.empty((len(points), trials, len(OBSERVABLES)))
    _run(points, values, seed, workers, progress)

    def shaped(v: Any) -> Any:
        array = np.asarray(v).reshape(grid.shape)
        return array if grid.shape else array.item()

    means = values.mean(axis=1)
    errors = values.std(axis=1, ddof=1) / math.sqrt(trials) if trials > 1 else np.full_like(means, np.nan)
    counts = np.array([p.count for p in points])
    per_trial = np.moveaxis(values, 2, 0).reshape(len(OBSERVABLES), *grid.shape, trials)
    return Simulation(
        **{name: shaped(means[:, k]) for k, name in enumerate(OBSERVABLES)},
        **{f"{name}_se": shaped(errors[:, k]) for k, name in enumerate(OBSERVABLES)},
        per_trial=Trials(*per_trial),
        alpha=shaped(counts / dimension),
        fraction=shaped([p.fraction for p in points]),
        samples=shaped(counts),
        keep=keep,
        theta=shaped([p.theta for p in points]),
        margin=margin,
        dimension=dimension,
        trials=trials,
        seed=seed,
    )


def _checked_counts(dimension: int, trials: int, seed: int, workers: int | None) -> tuple[int, int, int]:
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(workers, MOST_WORKERS)
    for name, value, least, most in (
        ("dimension", dimension, 1, LARGEST), ("trials", trials, 1, MOST_TRIALS), ("seed", seed, 0, None),
        ("workers", workers, 1, MOST_WORKERS),
    ):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} is {value!r}, must be a whole number, at least {least}")
        if most is not None and value > most:
            raise ValueError(f"{name} is {brief(int(value))}, must be at most {most:g}")
    return int(trials), int(seed), int(workers)


def _broadcast(alpha: ArrayLike, fraction: ArrayLike, theta: ArrayLike, keep: Any) -> np.broadcast:
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in (("alpha", alpha), ("fraction", fraction), ("theta", theta)):
        try:
            arrays[name] = np.asarray(value, dtype=float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} is {value!r}, must be a number or an array of numbers") from error
    arrays["keep"] = _as_objects(keep)
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
    try:
        grid = np.broadcast(*arrays.values())
    except ValueError as error:
        raise ValueError(f"the shapes {shapes} do not broadcast against each other") from error
    if grid.size == 0:
        raise ValueError(f"there are no points to simulate: {shapes}")
    return grid


def _as_objects(keep: Any) -> NDArray[Any]:
    """One rule or an array of rules, as an array of objects."""
    if isinstance(keep, (list, tuple, np.ndarray)):
        return np.asarray(keep, dtype=object)
    single = np.empty((), dtype=object)
    single[()] = keep
    return single


def _point(
    alpha: float, fraction: float, keep: str | Rule, theta: float, dimension: int, margin: str, noise: Noise | None
) -> _Point:
    check_point(alpha, fraction, theta, dimension)
    rule = make_rule(keep, fraction)
    count = sample_count(alpha, dimension)
    kept = count / pool_size(count, rule.fraction) if isinstance(rule, Ranked) else 1.0
    settings = f"{count} {dimension} {theta!r} {margin} ".encode() + _identity(rule, theta, margin)
    if noise is not None:
        settings += identity(noise, count, dimension)
    key = tuple(int(word) for word in np.frombuffer(hashlib.sha256(settings).digest(), "<u4"))
    return _Point(count, kept, theta, dimension, plane_law(rule, count, theta, margin), key, noise)


def _identity(rule: Rule, theta: float, margin: str) -> bytes:
    """Bytes that tell a rule from others: its settings if plain values, else the numbers it resolves to."""
    if is_dataclass(rule):
        settings = {f.name: getattr(rule, f.name) for f in fields(rule)}
        if all(isinstance(v, (bool, int, float, str)) for v in settings.values()):
            return repr((type(rule).__name__, settings)).encode()
    resolved = rule.resolve(theta, margin)
    return b"%d" % resolved.kind + resolved.ends.tobytes() + resolved.table.tobytes()


def _run(points: list[_Point], values: Array, seed: int, workers: int, progress: bool | Report | None) -> None:
    """Fill values [points, trials, observables]; the dearest first, so that none is left for the end."""
    trials = values.shape[1]
    order = sorted(range(len(points)), key=lambda k: -points[k].cost)
    jobs = [(k, range(s, min(s + _TRIALS_A_JOB, trials))) for k in order for s in range(0, trials, _TRIALS_A_JOB)]
    total = trials * sum(point.cost for point in points)
    done = 0.0
    compile_kernels()

    def work(job: tuple[int, range], stop: Flag) -> None:
        _trials(points[job[0]], job[1], seed, values[job[0]], stop)

    with reporting(progress, "simulating") as report, single_blas_thread(), working(work, jobs, workers) as finished:
        for k, numbers in finished:
            done += points[k].cost * len(numbers)
            report(done, total)


def _trials(point: _Point, numbers: range, seed: int, out: Array, stop: Flag) -> None:
    """Do the trials `numbers` of a point, until `stop` is set; out [trials, observables]."""
    for number in numbers:
        if stop[0]:
            return
        sequence = np.random.SeedSequence(seed, spawn_key=(*point.key, number))
        rng = np.random.Generator(np.random.SFC64(sequence))
        kept = draw_in_plane_law(rng, point.law, point.count, point.dimension, point.theta)
        try:
            if point.noise is not None:
                kept = correlated(rng, kept, point.noise)
            student = max_margin(kept.X, kept.y)
        except Exception as error:
            error.add_note(
                f"in trial {number}, seed {seed}, of alpha = {point.count / point.dimension:g}, "
                f"fraction = {point.fraction:g}, theta = {point.theta:g}, D = {point.dimension}"
            )
            raise
        out[number] = (*overlaps(student.w, kept.T, kept.J), student.margin)


def overlaps(w: Array, T: Array, J: Array) -> tuple[float, float, float]:
    """Test error, R and rho of a student w [D] of unit norm, for unit vectors T and J [D].

    The angle is atan2(|w - R T|, R), accurate also where 1 - R is tiny.
    """
    R = float(w @ T)
    error = math.atan2(float(np.linalg.norm(w - R * T)), R) / math.pi
    return error, R, float(w @ J)
