"""Covariances of the noise of kept points: diagonal plus low rank, of either sign.

Outside the plane of teacher and probe, row i of y_i x_i is (A G)_i with G standard normal and

    A A^T = C = diag(l_i^2) + (1 / M) At Q At^T,      At [M, K] with entries at_i of order one,   C >= 0.

Selected samples have C = 1. Learnt points cancel each other's noise (Q < 0) or share a direction (Q > 0). Columns are
functions of a point's margins for a law, or numbers, one a point, for `Samples` and `Atoms`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Points:
    """Points at which columns are evaluated: label-signed probe margin m [n], U = y T.x [n], length l [n].

    `number` [n]: which of the samples or atoms each is; `given`: how many of those there are (0 for a law).
    """

    m: Array
    U: Array
    length: Array
    number: NDArray[np.int64]
    given: int = 0


@dataclass(frozen=True, eq=False)
class Resolved:
    """Columns in numbers: at = raw @ mixing, Q = Q0 + alpha Q1."""

    mixing: Array
    Q0: Array
    Q1: Array


class Noise(Protocol):
    """A covariance, by its columns."""

    @property
    def lengths(self) -> Any:
        """Lengths l of the noise."""
        ...

    @property
    def pole(self) -> float:
        """Distance of the columns' nearest singularity from the real axis of m; 0: not known, to be checked."""
        ...

    def raw(self, points: Points) -> Array:
        """Columns [n, K] before mixing."""
        ...

    def resolve(self, mass: Array, points: Points) -> Resolved:
        """Mixing and Q, from averages over all kept points with masses that sum to one."""
        ...


@dataclass(frozen=True)
class Lengths:
    """Noise lengths of a law, independent of the margins: a few values and their shares."""

    values: tuple[float, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        weights = self.weights or (1.0,) * len(self.values)
        if not self.values or len(weights) != len(self.values):
            raise ValueError(
                f"{len(self.values)} lengths, {len(weights)} weights: one weight a length, at least one length"
            )
        if not (all(w >= 0.0 for w in weights) and 0.0 < sum(weights) < math.inf):
            raise ValueError(f"weights of lengths are {weights}, must be non-negative and not all zero")
        check_lengths(self.values)

    def table(self) -> tuple[Array, Array]:
        """Values and shares that sum to one."""
        weights = np.array(self.weights or (1.0,) * len(self.values), dtype=float)
        return np.array(self.values, dtype=float), weights / weights.sum()


def check_lengths(lengths: Any) -> Any:
    """Return the lengths; ValueError unless all are positive and finite."""
    if isinstance(lengths, Lengths):
        return lengths
    try:
        values = np.asarray(lengths, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"lengths are {lengths!r}, must be a number, one a point, or theory.Lengths") from None
    bad = ~(np.isfinite(values) & (values > 0.0))
    if values.ndim > 1 or np.any(bad):
        found = f"of shape {list(values.shape)}" if values.ndim > 1 else f"{values[bad].flat[0]:g}"
        raise ValueError(f"a length of the noise is {found}, must be positive and finite, one a point")
    return lengths


@dataclass(frozen=True, eq=False)
class Independent:
    """Independent noise, C = diag(l^2): what selected samples have, at l = 1."""

    lengths: Any = 1.0
    pole: float = math.inf

    def __post_init__(self) -> None:
        check_lengths(self.lengths)

    def raw(self, points: Points) -> Array:
        """No columns."""
        return np.empty((points.m.size, 0))

    def resolve(self, mass: Array, points: Points) -> Resolved:
        """See `Noise`."""
        return Resolved(np.empty((0, 0)), np.empty((0, 0)), np.empty((0, 0)))


@dataclass(frozen=True, eq=False)
class Matched:
    """Noise of which only `residual` is left in the direction a ~ h: C = 1 - (1 - s^2) a a^T, |a| = 1.

    h = 1 / (1 + exp(beta m)) is the weight of a point of label-signed probe margin m in a logistic gradient, which is
    what gradient matching cancels. s < 1: noise is cancelled, s = 1: independent, s > 1: it is shared.

    Attributes:
        residual: s, at least 0.
        beta: confidence of the probe.
        lengths: of the noise: a number, one a point, or `Lengths`.
        scale_after: rows are scaled after the noise is cancelled (L P G); else before (P L G).
    """

    residual: float
    beta: float = 2.0
    lengths: Any = 1.0
    scale_after: bool = True
    margin_only = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.residual) and self.residual >= 0.0):
            raise ValueError(f"residual is {self.residual:g}, must be at least 0 and finite: s, the noise that is left")
        if not (math.isfinite(self.beta) and self.beta > 0.0):
            raise ValueError(f"beta is {self.beta:g}, must be positive and finite: the probe's confidence")
        check_lengths(self.lengths)

    @property
    def pole(self) -> float:
        """The poles of h: m = +- i pi / beta."""
        return math.pi / self.beta

    def _even(self) -> bool:
        return np.ndim(self.lengths) == 0 and not isinstance(self.lengths, Lengths)

    def raw(self, points: Points) -> Array:
        """H, times the length; for scaling before, h and l^2 h."""
        h = expit(-self.beta * points.m)
        if self.scale_after or self._even():
            return (h * points.length)[:, None]
        return np.column_stack([h, h * points.length**2])

    def resolve(self, mass: Array, points: Points) -> Resolved:
        """See `Noise`."""
        h = expit(-self.beta * points.m)
        square = float(mass @ h**2)
        mixing = 1.0 / math.sqrt(square)
        s = self.residual
        if self.scale_after or self._even():
            return Resolved(np.array([[mixing]]), np.array([[s * s - 1.0]]), np.zeros((1, 1)))
        q = float(mass @ (h * points.length) ** 2) / square
        Q = np.array([[(1.0 - s) ** 2 * q, s - 1.0], [s - 1.0, 0.0]])
        return Resolved(mixing * np.eye(2), Q, np.zeros((2, 2)))


@dataclass(frozen=True, eq=False)
class CommonDirection:
    """All points share one direction outside the plane, with coefficient c (of unit vectors: not times sqrt D).

    The column is one and Q = alpha c^2.
    """

    coefficient: float
    lengths: Any = 1.0
    pole: float = math.inf

    def __post_init__(self) -> None:
        if not math.isfinite(self.coefficient):
            raise ValueError(f"the coefficient of a common direction is {self.coefficient:g}, must be finite")
        check_lengths(self.lengths)

    def raw(self, points: Points) -> Array:
        """Ones."""
        return np.ones((points.m.size, 1))

    def resolve(self, mass: Array, points: Points) -> Resolved:
        """See `Noise`."""
        return Resolved(np.eye(1), np.zeros((1, 1)), np.full((1, 1), float(self.coefficient) ** 2))


Column = Callable[[Array, Array, Array], ArrayLike]


@dataclass(frozen=True, eq=False)
class LowRank:
    """C = diag(l^2) + (1 / M) At Q At^T for any columns.

    Attributes:
        columns: an array [M, K] (or [M]) for `Samples` or `Atoms`; or functions `column(m, U, l)` of label-signed
            probe margins, teacher margins and lengths, one or a sequence of K of them.
        Q: [K, K], symmetric (a number for K = 1).
        lengths: of the noise: a number, one a point, or `Lengths`.
        orthonormal: columns are made orthonormal in the mean, in order, before Q applies: with a projector's residuals
            s_k, Q = -diag(1 - s_k^2).
    """

    columns: Any
    Q: ArrayLike
    lengths: Any = 1.0
    orthonormal: bool = False

    def __post_init__(self) -> None:
        Q = self._matrix()
        K = self._count()
        if Q.shape != (K, K):
            raise ValueError(f"Q has shape {list(np.shape(self.Q))}, must be symmetric and [{K}, {K}]: a row a column")
        if not np.all(np.isfinite(Q)) or not np.allclose(Q, Q.T, rtol=1e-10, atol=1e-12):
            fault = "symmetric" if np.all(np.isfinite(Q)) else "finite"
            raise ValueError(f"Q is not {fault}: it must be finite and symmetric, [{K}, {K}]")
        if not self._functions() and not np.all(np.isfinite(np.asarray(self.columns, dtype=float))):
            raise ValueError("the columns must hold finite numbers")
        check_lengths(self.lengths)

    def _functions(self) -> list[Column]:
        if callable(self.columns):
            return [self.columns]
        if isinstance(self.columns, Sequence) and len(self.columns) and all(callable(c) for c in self.columns):
            return list(self.columns)
        return []

    def _count(self) -> int:
        if functions := self._functions():
            return len(functions)
        try:
            values = np.asarray(self.columns, dtype=float)
        except (TypeError, ValueError):
            values = np.empty(())
        if values.ndim not in (1, 2):
            raise ValueError("columns must be an array [M, K], one row a point, or functions of (m, U, l)")
        return 1 if values.ndim == 1 else values.shape[1]

    def _matrix(self) -> Array:
        return np.atleast_2d(np.asarray(self.Q, dtype=float))

    @property
    def pole(self) -> float:
        """Functions are unknown; numbers need no quadrature."""
        return 0.0 if self._functions() else math.inf

    def raw(self, points: Points) -> Array:
        """The columns at the points; ValueError if there is not one number a point."""
        if functions := self._functions():
            found = [np.asarray(f(points.m, points.U, points.length), dtype=float) for f in functions]
            for k, values in enumerate(found):
                if values.shape not in ((), points.m.shape) or not np.all(np.isfinite(values)):
                    raise ValueError(f"column {k} must give one finite number a point, from arrays (m, U, l)")
            return np.column_stack([np.broadcast_to(values, points.m.shape) for values in found])
        values = np.asarray(self.columns, dtype=float)
        values = values[:, None] if values.ndim == 1 else values
        if points.given == 0:
            raise ValueError("columns of numbers go with Samples or Atoms; for a law give functions of (m, U, l)")
        if values.shape[0] != points.given:
            raise ValueError(f"the columns have {values.shape[0]} rows for {points.given} points: one row a point")
        return values[points.number]

    def resolve(self, mass: Array, points: Points) -> Resolved:
        """See `Noise`."""
        Q = self._matrix()
        K = len(Q)
        mixing = np.eye(K)
        if self.orthonormal:
            raw = self.raw(points)
            # Gram-Schmidt in the mean: a triangular mixing, by QR of the weighted columns.
            triangle = np.linalg.qr(np.sqrt(np.maximum(mass, 0.0))[:, None] * raw, mode="r")
            if np.any(np.abs(np.diag(triangle)) < 1e-10 * np.abs(triangle).max()):
                raise ValueError("the columns are linearly dependent and cannot be made orthonormal")
            mixing = np.linalg.inv(triangle * np.sign(np.diag(triangle))[:, None])
        return Resolved(mixing, Q, np.zeros((K, K)))


@dataclass(frozen=True, eq=False)
class Sum:
    """Several low-rank parts over one diagonal: their columns side by side."""

    parts: tuple[Any, ...]

    def __post_init__(self) -> None:
        uneven = [p for p in self.parts if np.ndim(p.lengths) or isinstance(p.lengths, Lengths) or p.lengths != 1.0]
        if len(uneven) > 1:
            raise ValueError("give the lengths in one part of the noise only")

    @property
    def lengths(self) -> Any:
        """Those of the one part that has some."""
        for p in self.parts:
            if np.ndim(p.lengths) or isinstance(p.lengths, Lengths) or p.lengths != 1.0:
                return p.lengths
        return 1.0

    @property
    def pole(self) -> float:
        """The nearest."""
        return float(min((p.pole for p in self.parts), default=math.inf))

    def raw(self, points: Points) -> Array:
        """All columns."""
        return np.column_stack([p.raw(points) for p in self.parts])

    def resolve(self, mass: Array, points: Points) -> Resolved:
        """Block-diagonal mixing and Q."""
        found = [p.resolve(mass, points) for p in self.parts]
        return Resolved(*(_block([getattr(f, name) for f in found]) for name in ("mixing", "Q0", "Q1")))


def _block(blocks: list[Array]) -> Array:
    rows, columns = sum(b.shape[0] for b in blocks), sum(b.shape[1] for b in blocks)
    whole = np.zeros((rows, columns))
    i = j = 0
    for b in blocks:
        whole[i : i + b.shape[0], j : j + b.shape[1]] = b
        i, j = i + b.shape[0], j + b.shape[1]
    return whole


def make_noise(noise: Any) -> Noise:
    """One covariance from what a user gave: None (independent), a covariance, or a sequence that adds up."""
    if noise is None:
        return Independent()
    if isinstance(noise, (list, tuple)):
        parts = tuple(make_noise(part) for part in noise)
        if not parts:
            return Independent()
        return parts[0] if len(parts) == 1 else Sum(parts)
    if not all(hasattr(noise, name) for name in ("raw", "resolve", "lengths", "pole")):
        raise ValueError(
            f"noise is {noise!r}, must be None, Matched, LowRank, CommonDirection, Independent, or several in a list"
        )
    known: Noise = noise
    return known


def check_positive(Q: Array, second_moment: Array) -> None:
    """ValueError unless C >= 0: with E[at at^T / l^2] = S, the eigenvalues of sqrt(S) Q sqrt(S) must be at least -1."""
    if not Q.size:
        return
    values, vectors = np.linalg.eigh(second_moment)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    lowest = float(np.linalg.eigvalsh(root @ Q @ root)[0])
    if lowest < -1.0 - 1e-9:
        raise ValueError(
            f"the covariance of the noise is not positive: its lowest eigenvalue is {1.0 + lowest:.3g} in units of "
            "l^2, must be at least 0 (Q is too negative for these columns)"
        )
