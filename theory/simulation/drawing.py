"""Finite sets with correlated noise: rows y_i x_i = signal + (A G)_i outside the plane of teacher and probe, A A^T = C.

Any root A of C gives the same law. With rows of L^-1 At / sqrt(M) = V R (QR) and R Q R^T = W diag(q) W^T it is

    A = L (1 + V W diag(sqrt(1 + q) - 1) W^T V^T),

so the drawn Gaussian rows are kept and only their combinations along K directions are shrunk or stretched. Averages
that a covariance needs (of h^2, or to make columns orthonormal) are over the set itself.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.simulation.sampling import KeptSamples
from theory.synthesis.noise import Lengths, Noise, Points, Sum

Array = NDArray[np.float64]
_GRID = np.linspace(-3.0, 3.0, 25)


def correlated(rng: np.random.Generator, kept: KeptSamples, noise: Noise) -> KeptSamples:
    """Give independent samples the covariance `noise`; the plane of teacher and probe stays as it is.

    Raises:
        ValueError: fewer than two samples, no dimension outside the plane, a covariance that this set makes negative.
    """
    M, D = kept.X.shape
    d = 2 if D > 1 and kept.T[1] != 0.0 else 1
    if M < 2 or d >= D:
        raise ValueError(f"{M} samples in {D} dimensions: correlated noise needs at least 2, and {d + 1} dimensions")
    Z = kept.y[:, None] * kept.X
    lengths = noise.lengths
    if isinstance(lengths, Lengths):
        values, shares = lengths.table()
        length = rng.choice(values, size=M, p=shares)
    elif np.ndim(lengths):
        raise ValueError("lengths of a drawn set must be a number or theory.Lengths: its samples are not yet known")
    else:
        length = np.full(M, float(lengths))
    points = Points(Z @ kept.J, Z @ kept.T, length, np.arange(M))
    mass = np.full(M, 1.0 / M)
    resolved = noise.resolve(mass, points)
    rows = Z[:, d:]
    if len(resolved.Q0):
        at = noise.raw(points) @ resolved.mixing
        Q = resolved.Q0 + M / (D - d) * resolved.Q1
        V, triangle = np.linalg.qr(at / length[:, None] / np.sqrt(M))
        q, W = np.linalg.eigh(triangle @ Q @ triangle.T)
        if q[0] < -1.0 - 1e-9:
            raise ValueError(
                f"the covariance of the noise is not positive in a set of {M}: eigenvalue {1.0 + q[0]:.3g}"
            )
        directions = V @ W
        shrink = np.sqrt(np.maximum(1.0 + q, 0.0)) - 1.0
        rows = rows + directions @ (shrink[:, None] * (directions.T @ rows))
    X = kept.X.copy()
    X[:, d:] = kept.y[:, None] * (length[:, None] * rows)
    return KeptSamples(X, kept.y, kept.T, kept.J)


def identity(noise: Any, count: int, dimension: int) -> bytes:
    """Bytes that tell one covariance from another; ValueError if sets of this size cannot be drawn with it."""
    if count < 2 or dimension < 3:
        raise ValueError(
            f"{count} samples in {dimension} dimensions: correlated noise needs at least 2 samples, 3 dimensions"
        )
    return _bytes(noise)


def _bytes(value: Any) -> bytes:
    if isinstance(value, Sum):
        return b"".join(_bytes(part) for part in value.parts)
    if is_dataclass(value):
        parts = [f.name.encode() + b"=" + _bytes(getattr(value, f.name)) for f in fields(value)]
        return type(value).__name__.encode() + b"(" + b",".join(parts) + b")"
    if callable(value):
        grid = [np.repeat(_GRID, 3), np.repeat(np.abs(_GRID), 3), np.tile([0.7, 1.0, 1.3], _GRID.size)]
        return np.asarray(value(*grid), dtype=float).tobytes()
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(_bytes(v) for v in value) + b"]"
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return repr(value).encode()
