"""The hard-margin perceptron through the origin, exactly, with a certificate.

    maximise over |w| = 1:   kappa = min_i y_i w.x_i .

With rows z_i = y_i x_i this is the point of the convex hull of the z_i that is nearest to the origin:
kappa* is its norm, w its direction. Convex weights mu (mu >= 0, sum mu = 1) with v = sum_i mu_i z_i prove,
whatever found them,

    min_i z_i.v / |v|  <=  kappa*  <=  |v| ,

so both ends are computed over all rows and the relative gap delta between them is the certificate. It also
bounds the angle to the true solution, by arccos(1 - delta), about sqrt(2 delta): a gap of 1e-6 certifies an
angle of only 1.4e-3, which is why this solver finds the exact set of support vectors and stops at nothing
above 1e-10.

Three steps: a guess of the support vectors (`coordinate_descent.py`), the exact walk from there
(`active_set.py`), iterative refinement on the final face. A few hundred microseconds to a few milliseconds
at D = 200; `python -m benchmarks.theory_simulation` measures it against general solvers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory._compiled import compiled
from theory._threads import Flag, interruptible, unset
from theory.perceptron.active_set import GUARD, INSEPARABLE, walk
from theory.perceptron.blas import REASSOCIATE, single_blas_thread
from theory.perceptron.coordinate_descent import OVER_RELAXATION, coordinate_descent
from theory.perceptron.face import Face, combine, empty_face, polish, settle

GAP = 1e-10  # the largest relative gap that is returned
_GOOD_GAP = 1e-12  # above this the final face is factorised afresh
_PROOF = 1e-13  # residual of a Farkas combination, relative to its rows, that counts as zero
_SWEEPS = 60  # at least; a fifth of D in high dimension
_LONG = 2e8  # n D min(n, D) above this takes more than a tenth of a second
_WORST_CONDITION = 1e-30  # a row this much smaller (squared) than the largest is left to the active set


class NotSeparable(ValueError):  # noqa: N818 - the name users catch
    """No hyperplane through the origin separates the data; the proof comes with the exception.

    Attributes:
        multipliers: [n], non-negative, sum 1: convex weights mu of the rows y_i x_i whose combination
            vanishes (Farkas).
        residual: |sum mu_i y_i x_i| / sum mu_i |x_i|, zero up to rounding.
        margin_bound: |sum mu_i y_i x_i|, in the units of X: no unit vector has a larger margin.
    """

    def __init__(self, multipliers: NDArray[np.float64], residual: float, margin_bound: float) -> None:
        self.multipliers = multipliers
        self.residual = residual
        self.margin_bound = margin_bound
        count = int(np.count_nonzero(multipliers))
        super().__init__(
            f"no hyperplane through the origin separates the {multipliers.size} samples: a non-negative "
            f"combination of {count} of the rows y_i x_i vanishes (relative residual {residual:.1e}), "
            f"so no margin above {margin_bound:.1e} exists"
        )


class NotCertified(ArithmeticError):  # noqa: N818 - the name users catch
    """The data are too badly conditioned: neither a margin nor its absence could be certified."""

    exit_status = 1


@dataclass(frozen=True)
class MaxMargin:
    """The largest-margin separator of a data set, and the proof.

    Attributes:
        w: [D], the unit weight vector.
        margin: min_i y_i w.x_i over all samples, in the units of X (a lower bound on the largest margin).
        upper: an upper bound on the largest margin, |sum mu_i y_i x_i| at the `multipliers` mu.
        gap: (upper - margin) / upper, at most 1e-10.
        multipliers: [n], non-negative, sum 1; w is parallel to sum_i mu_i y_i x_i.
        support: indices of the support vectors (mu_i > 0), ascending.
    """

    w: NDArray[np.float64] = field(repr=False)
    margin: float
    upper: float
    gap: float
    multipliers: NDArray[np.float64] = field(repr=False)
    support: NDArray[np.int64] = field(repr=False)

    @property
    def angle_bound(self) -> float:
        """Largest possible angle between w and the exact solution, in radians."""
        return 2.0 * math.asin(math.sqrt(self.gap / 2.0))


def max_margin(X: ArrayLike, y: ArrayLike, *, initial: ArrayLike | None = None) -> MaxMargin:
    """Train a perceptron without bias to the largest margin: max over |w| = 1 of min_i y_i w.x_i.

    Args:
        X: [n, D], the samples, real and finite; any scale. Rows of zeros are refused (no margin is possible).
        y: [n], the labels, each -1 or +1.
        initial: [n], non-negative multipliers to start from (such as those of a similar data set); the
            answer does not depend on them beyond rounding, the time does.

    Returns:
        The unit vector with margin, certified relative gap (at most 1e-10), support vectors and multipliers.

    Raises:
        ValueError: malformed or non-finite input.
        NotSeparable: the data are not separable through the origin; carries the proof.
        NotCertified: conditioning beyond double precision (margin / largest |x| below about 5e-6).

    Source: minimum-norm duality; dual active set of D. Goldfarb and A. Idnani, Math. Programming 27 (1983).
    """
    samples, labels, start = _checked(X, y, initial)
    n, D = samples.shape
    long = float(n) * D * min(n, D) > _LONG
    return interruptible(lambda stop: _trained(samples, labels, start, stop), long, compile_kernels)


def compile_kernels() -> None:
    """Compile, or load from the cache, in this thread what `max_margin` needs."""
    _trained(np.eye(2), np.ones(2), np.empty(0), unset())


def _trained(
    samples: NDArray[np.float64], labels: NDArray[np.float64], start: NDArray[np.float64], stop: Flag
) -> MaxMargin:
    with single_blas_thread():
        face, status, proof_row, scale = _train(samples, labels, start, stop)
        if status == INSEPARABLE:
            raise _no_separator(face, proof_row, scale)
        answer = _certified(face, scale)
        if answer.gap > _GOOD_GAP:
            settle(face, face.member[: face.size[0]].copy())
            for guard in (GUARD, 1.0, 0.0):
                polish(face, guard)
                answer = min(answer, _certified(face, scale), key=lambda a: a.gap)
    if not answer.gap <= GAP:
        raise NotCertified(
            f"the margin could only be bracketed, between {answer.margin:.6e} and {answer.upper:.6e} "
            f"(relative gap {answer.gap:.1e}, {GAP:.0e} is required): the rows are too badly conditioned "
            "for double precision"
        )
    return answer


def _checked(
    X: ArrayLike, y: ArrayLike, initial: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    samples = _real(X, "X")
    labels = _real(y, "y")
    if samples.ndim != 2 or 0 in samples.shape:
        shape = list(samples.shape)
        raise ValueError(f"X must have shape [samples, dimensions], both at least 1; got {shape}")
    if labels.shape != samples.shape[:1]:
        shape = list(labels.shape)
        raise ValueError(f"y must have shape [{samples.shape[0]}], one label a row of X; got {shape}")
    wrong = np.flatnonzero(np.abs(labels) != 1.0)
    if wrong.size:
        raise ValueError(
            f"labels must be -1 or +1; y[{wrong[0]}] is {labels[wrong[0]]:g} "
            "(labels 0 and 1 become -1 and +1 by 2 * y - 1)"
        )
    if initial is None:
        return samples, labels, np.empty(0)
    start = _real(initial, "initial")
    if start.shape != labels.shape:
        shape = list(start.shape)
        raise ValueError(f"initial must have shape [{labels.size}], one multiplier a sample; got {shape}")
    if not (np.isfinite(start).all() and (start >= 0.0).all()):
        raise ValueError("initial must hold finite multipliers that are not negative")
    return samples, labels, start


def _real(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """`values` as a C-contiguous float64 array; ValueError if they are not real numbers."""
    try:
        array: Any = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: its rows differ in length") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must hold real numbers (any float or integer type); got {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)


def _train(
    X: NDArray[np.float64], y: NDArray[np.float64], initial: NDArray[np.float64], stop: Flag
) -> tuple[Face, int, int, float]:
    """Scale, solve: the final face, the walk's status, the row that proved inseparability, and the scale."""
    scale = 1.0
    Z, single, squares = _signed_rows(X, y, scale)
    largest = float(squares.max())
    if not 1e-6 < largest < 1e6:  # a power of two changes no digit, and keeps single precision in its range
        extreme = float(np.abs(X).max())
        if not math.isfinite(extreme):
            row, column = np.argwhere(~np.isfinite(X))[0]
            raise ValueError(f"X must be finite; X[{row}, {column}] is {X[row, column]}")
        scale = 2.0 ** min(math.frexp(extreme)[1], 1023)
        Z, single, squares = _signed_rows(X, y, scale)
    if not squares.all():
        row = int(np.argmin(squares))
        raise ValueError(f"row {row} of X is zero, or nothing beside the others: no margin is possible")
    face, status, proof_row = _solve(Z, single, squares, initial, stop)
    return face, status, proof_row, scale


@compiled(nogil=True, fastmath=REASSOCIATE)
def _signed_rows(X: np.ndarray, y: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows y_i x_i / scale [n, D], the same in single precision, and their squared norms [n]."""
    n, D = X.shape
    Z, single, squares = np.empty((n, D)), np.empty((n, D), np.float32), np.empty(n)
    for i in range(n):
        x, z, s = X[i], Z[i], single[i]
        sign = y[i] / scale
        total = 0.0
        for k in range(D):
            value = sign * x[k]
            z[k] = value
            s[k] = value
            total += value * value
        squares[i] = total
    return Z, single, squares


def _solve(
    Z: NDArray[np.float64],
    single: NDArray[np.float32],
    squares: NDArray[np.float64],
    initial: NDArray[np.float64],
    stop: Flag,
) -> tuple[Face, int, int]:
    """Guess, then walk: the final face, the walk's status, and the row that proved inseparability (or -1)."""
    n, D = Z.shape
    inverse = np.zeros(n, np.float32)
    np.divide(1.0, squares, out=inverse, where=squares > _WORST_CONDITION * squares.max(), casting="same_kind")
    lam = np.zeros(n, np.float32)
    if initial.size:
        w = initial @ Z  # start from the multiple of `initial` at which the dual is largest
        lam[:] = initial * (initial.sum() / max(w @ w, np.finfo(np.float64).tiny))
    coordinate_descent(single, inverse, lam, max(_SWEEPS, D // 5), OVER_RELAXATION, stop)

    rows = np.flatnonzero(lam > 0.0)
    if rows.size > min(n, D):  # independent rows are at most D: those of largest lam |z|
        weight = lam[rows] * np.sqrt(squares[rows])
        rows = np.sort(rows[np.argsort(-weight, kind="stable")[: min(n, D)]])
    face = empty_face(Z, squares, stop)
    status, proof_row = walk(face, rows, 4 * n + 50 * D + 1000)
    return face, status, proof_row


def _certified(face: Face, scale: float) -> MaxMargin:
    """The face's w and multipliers with their certificate over all rows."""
    m = int(face.size[0])
    weights = np.maximum(face.lam[:m], 0.0)
    total, norm = float(weights.sum()), float(np.linalg.norm(face.w))
    if total == 0.0 or norm == 0.0:
        raise NotCertified("no support vector was found: the rows are too badly conditioned for double precision")
    weights /= total
    multipliers = np.zeros(face.squares.size)
    multipliers[face.member[:m]] = weights
    nearest = np.empty_like(face.w)
    combine(face, weights, nearest)
    w = face.w / norm
    margin, upper = float((face.Z @ w).min()), float(np.linalg.norm(nearest))
    gap = max(0.0, (upper - margin) / upper)
    return MaxMargin(w, margin * scale, upper * scale, gap, multipliers, np.flatnonzero(multipliers))


def _no_separator(face: Face, row: int, scale: float) -> NotSeparable | NotCertified:
    """The proof by row `row` and the face that nothing separates; NotCertified if it does not hold."""
    m = int(face.size[0])
    multipliers = np.zeros(face.squares.size)
    multipliers[face.member[:m]] = np.maximum(0.0, -face.r[:m])
    multipliers[row] = 1.0
    multipliers /= multipliers.sum()
    bound = float(np.linalg.norm(multipliers @ face.Z))
    residual = bound / float(multipliers @ np.sqrt(face.squares))
    if residual <= _PROOF:
        return NotSeparable(multipliers, residual, bound * scale)
    return NotCertified(
        f"no margin above {bound * scale:.1e} exists, but neither a margin nor its absence could be "
        f"certified (relative residual {residual:.1e}, at most {_PROOF:.0e} is required): the rows are too "
        "badly conditioned for double precision"
    )
