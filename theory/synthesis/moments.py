"""Measured points as the theory of synthesis takes them: teacher margins, lengths, and moments of the noise.

Points are not rescaled: their lengths belong to the theory. With O [M, N] the rows y_i x_i outside the signal,
l_i = |O_i| / sqrt(N), and columns c [M, K] made orthonormal, B = qr(c), the covariance that the columns see is

    Q = B^T (O O^T / N - diag(l^2)) B,      At = sqrt(M) B.

For the column of ones alone Q = l^2 (s1^2 - 1), s1^2 = |sum_i O_i|^2 / (M N l^2): below one noise is cancelled in the
mean of the points, above one they share a direction. Only moments of the set are measured, never its student.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from theory.synthesis.laws import Atoms
from theory.synthesis.noise import Independent, LowRank, Noise

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """What the theory needs of measured points.

    Attributes:
        alpha: points per dimension outside the signal, M / N.
        signal: [M, d], coordinates y_i x_i along the signal's axes, the first of them the teacher.
        lengths: [M], l_i = |O_i| / sqrt(N).
        columns: [M, 3], orthonormal B of {1, U, mean_k h_k}, h_k = 1 / (1 + exp(y w_k.x)) over the probes w_k.
        Q: [3, 3], in that basis (of the leading columns: its leading blocks).
        s1: s1, the length of the points' mean outside the signal over that of independent points.
        gram: [3, 3], Gram matrix of the noise combined by {1, U, mean h}, not made orthonormal: M / N times the inner
            products of mean_i c_a O_i and mean_i c_b O_i.
        correlation: [3, 3], Gram matrix of the columns themselves, E[c_a c_b].
    """

    alpha: float
    signal: Array
    lengths: Array
    columns: Array
    Q: Array
    s1: float
    gram: Array
    correlation: Array

    @property
    def atoms(self) -> Atoms:
        """The points' signal."""
        return Atoms(self.signal)

    def noise(self, columns: int) -> Noise:
        """Covariance by the first `columns` of {1, U, mean h}; 0: independent noise of the measured lengths."""
        if not 0 <= columns <= 3:
            raise ValueError(f"columns is {columns}, must be 0 (lengths alone) to 3 (1, U and mean h)")
        if columns == 0:
            return Independent(self.lengths)
        at = np.sqrt(len(self.lengths)) * self.columns[:, :columns]
        return LowRank(at, self.Q[:columns, :columns], lengths=self.lengths)


def moments(
    points: ArrayLike, labels: ArrayLike, teacher: ArrayLike, probes: ArrayLike, axes: ArrayLike | None = None
) -> Moments:
    """Measure points [M, D] with labels [M], for a teacher [D] and probes w_k = beta J_k [K, D].

    `axes` [k, D]: further signal axes, made orthonormal to the teacher.

    Raises:
        ValueError: fewer than two points, shapes that do not fit, numbers that are not finite, a teacher that is zero,
            labels that are not -1 or +1.
    """
    X, y, T = (np.asarray(a, dtype=float) for a in (points, labels, teacher))
    w = np.atleast_2d(np.asarray(probes, dtype=float))
    if X.ndim != 2 or len(X) < 2:
        raise ValueError(f"the points have shape {list(X.shape)}, must be [M, D] with M at least 2")
    M, D = X.shape
    if y.shape != (M,) or np.any(np.abs(y) != 1.0):
        raise ValueError(f"labels must be -1 or +1, one for each of the {M} points")
    if T.shape != (D,) or w.shape[1] != D:
        raise ValueError(f"teacher {list(T.shape)} and probes {list(w.shape)} must have the points' dimension {D}")
    for name, values in (("points", X), ("teacher", T), ("probes", w)):
        if not np.all(np.isfinite(values)):
            raise ValueError(f"the {name} must be finite")
    if not np.any(T):
        raise ValueError("the teacher is zero: it must be a direction")
    wanted = T[None] if axes is None else np.vstack([T[None], np.atleast_2d(np.asarray(axes, dtype=float))])
    basis, triangle = np.linalg.qr(wanted.T)
    basis = basis * np.where(np.diag(triangle) < 0.0, -1.0, 1.0)
    d = basis.shape[1]
    if D - d < 1:
        raise ValueError(f"{d} signal axes leave nothing of {D} dimensions")
    N = D - d
    Z = y[:, None] * X
    signal = Z @ basis
    O = Z - signal @ basis.T  # noqa: E741 - the rows outside, by their letter in the text
    lengths = np.linalg.norm(O, axis=1) / np.sqrt(N)
    raw = np.column_stack([np.ones(M), signal[:, 0], expit(-(Z @ w.T)).mean(axis=1)])
    # Columns in their order: a column that is (nearly) a combination of earlier ones would be noise, QR gives any.
    B = np.linalg.qr(raw)[0][:, : min(3, M)]
    B = B * np.where(np.einsum("ij,ij->j", B, raw[:, : B.shape[1]]) < 0.0, -1.0, 1.0)
    C = O @ O.T / N
    Q = B.T @ (C - np.diag(lengths**2)) @ B
    mean_square = float(np.mean(lengths**2))
    return Moments(
        alpha=M / N,
        signal=signal,
        lengths=lengths,
        columns=B,
        Q=0.5 * (Q + Q.T),
        s1=float(np.linalg.norm(O.sum(axis=0)) / np.sqrt(M * N * mean_square)),
        gram=raw.T @ C @ raw / M,
        correlation=raw.T @ raw / M,
    )
