"""Kept points as weighted atoms `v = (1, -p, at) / l`: a kept law near a solution, or measured points as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.saddle_point.gaussian import CUT
from theory.saddle_point.kept import SAMPLES, Samples
from theory.saddle_point.kept import Resolved as Rule
from theory.synthesis._cloud import COARSE, FINE, lay, runs, spread
from theory.synthesis._newton import unlogged
from theory.synthesis.noise import Lengths, Noise, Points, Resolved, check_positive

Array = NDArray[np.float64]
_SCAN = np.linspace(-CUT, CUT, 1025)


@dataclass(frozen=True, eq=False)
class Atoms:
    """Measured points: their signal coordinates, the first along the teacher, the rest along any orthonormal axes.

    Coordinates are of y_i x_i, not rescaled; negative ones (mislabelled points) are allowed. The rest of the rows is
    described by the noise: lengths and columns. The size of the teacher's coordinates is the unit of the lengths.

    Attributes:
        signal: [M] or [M, d].
        weights: [M], of the points; equal by default.
    """

    signal: ArrayLike
    weights: ArrayLike | None = None

    def table(self) -> tuple[Array, Array]:
        """Signal [M, d] and masses [M] that sum to one; ValueError if they are not numbers, or fewer than two."""
        p = np.asarray(self.signal, dtype=float)
        p = p[:, None] if p.ndim == 1 else p
        if p.ndim != 2 or p.shape[1] < 1 or not np.all(np.isfinite(p)):
            raise ValueError(f"the signal has shape {list(p.shape)}, must be finite and [M] or [M, d], a row a point")
        return p, masses(self.weights, len(p))

    def resolve(self, theta: float, margin: str) -> Rule:
        """Atoms are no selection of a pool (see `theory.saddle_point.kept.Rule`)."""
        raise ValueError("Atoms are measured points: give them with noise=, such as noise=theory.Independent()")


def masses(weights: Any, count: int) -> Array:
    """Weights of points as masses; ValueError unless one a point, non-negative, and at least two points."""
    values = np.ones(count) if weights is None else np.asarray(weights, dtype=float).ravel()
    if values.size != count:
        raise ValueError(f"{count} points with {values.size} weights: one weight a point")
    if not np.all(np.isfinite(values)) or np.any(values < 0.0):
        raise ValueError("weights must be finite and non-negative")
    there = int(np.count_nonzero(values))
    if there < 2:
        found = f"is {there} point" if there == 1 else "are 0 points"
        of_weight = "" if count == there else " of a weight above zero"
        raise ValueError(f"there {found}{of_weight}, at least 2 are needed: a covariance of one point means nothing")
    return values / values.sum()


@dataclass
class Law:
    """Points and their noise, ready to be laid out as atoms.

    Attributes:
        d: signal coordinates.
        logs: unknowns that are solved for in logarithm: kappa', and R' where labels are true.
        fixed: the atoms do not depend on the solution (no quadrature).
        columns: mixing and Q of the columns.
        mislabelled: share of points on the wrong side of the teacher (measured points only).
        refinement: how often the panels have been halved.
        atoms: masses and rows v, where they are fixed.
        noise, rule, theta: what the atoms are laid out from.
        number: of the sample that each margin belongs to.
        scan: the columns on an even grid of margins over [-CUT, CUT].
    """

    d: int
    logs: int
    fixed: bool
    columns: Resolved
    mislabelled: float = 0.0
    refinement: int = 0
    atoms: tuple[Array, Array] | None = None
    noise: Noise | None = None
    rule: Rule | None = None
    theta: float = 0.0
    number: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    scan: Array = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def K(self) -> int:
        """Number of columns."""
        return len(self.columns.Q0)

    @property
    def checked(self) -> bool:
        """Whether the columns' smoothness is known, so that the quadrature need not be verified."""
        return self.fixed or (self.noise is not None and self.noise.pole > 0.0)

    def near(self, y: Array, alpha: float, coarse: bool = False) -> tuple[Array, Array]:
        """Masses [n] and rows v [1 + d + K, n] for use near y."""
        if self.atoms is not None:
            return self.atoms
        bounded = y.copy()
        bounded[: self.logs] = np.minimum(y[: self.logs], 200.0)
        x = unlogged(bounded, self.logs)
        S = float(x[2]) if self.d == 2 else 0.0
        return self.laid(float(x[0]), float(x[1]), S, x[1 + self.d :], alpha, coarse)[:2]

    def refine(self, level: int) -> Points:
        """Halve the panels `level` times and average the columns anew, over all kept points, which are returned."""
        assert self.noise is not None
        self.refinement = level
        self.columns = Resolved(*(np.empty((0, 0)),) * 3)
        mass, _, points, _ = self.laid(1e6, 0.0, 0.0, np.empty(0), 1.0, False)
        _with_columns(self, mass, points, self.noise)
        return points

    def laid(
        self, kappa: float, R: float, S: float, beta: Array, alpha: float, coarse: bool
    ) -> tuple[Array, Array, Points, Array]:
        """Masses, rows v, points and lengths for use near an unnormalised solution; `coarse`: with fewer nodes."""
        rule, noise = self.rule, self.noise
        assert rule is not None and noise is not None
        values, shares = _length_table(noise.lengths)
        sin, cos = (0.0, 1.0) if self.theta == 0.0 else (math.sin(self.theta), math.cos(self.theta))
        # Rare points count in proportion to alpha a^2 / f.
        size = max(alpha, 1.0) * (1.0 + kappa**2 + R**2 + S**2 + float(beta @ beta)) / min(rule.fraction, 1.0)
        cut = min(CUT, math.sqrt(2.0 * ((20.0 if coarse else 32.0) + math.log(max(size, 1.0)))))
        scan = self.scan @ beta if self.scan.size and beta.size else np.zeros(1)
        nodes, weights = COARSE if coarse else FINE
        pole = noise.pole if noise.pole > 0.0 else 1.0 / 2.0**self.refinement
        mass, m, U, S_, which = lay(
            rule.kind, rule.ends, rule.table, rule.fraction, sin, cos, kappa, R, S, float(values.min()), scan, pole,
            cut, nodes, weights,
        )  # fmt: skip
        length = np.ones_like(m)
        if values.size > 1:
            n = m.size
            mass = np.concatenate([share * mass for share in shares])
            m, U, S_, which = (np.tile(a, values.size) for a in (m, U, S_, which))
            length = np.repeat(values, n)
        elif values[0] != 1.0:
            length = np.full(m.size, values[0])
        number = self.number[which] if self.number.size else which
        if np.ndim(noise.lengths):
            length = np.asarray(noise.lengths, dtype=float)[number]
        points = Points(m, U, length, number, int(self.number.max()) + 1 if self.number.size else 0)
        v = np.empty((1 + self.d + self.K, m.size))
        v[0] = 1.0
        np.negative(U, out=v[1])
        if self.d == 2:
            np.negative(S_, out=v[2])
        if self.K:
            self._columns(points, which, v[1 + self.d :])
        if values.size > 1 or values[0] != 1.0 or np.ndim(noise.lengths):
            v /= length
        return mass, v, points, length

    def _columns(self, points: Points, which: NDArray[np.int64], rows: Array) -> None:
        """Write the columns to rows [K, n]; where they depend on m alone they are evaluated once an outer node."""
        noise = self.noise
        assert noise is not None
        if getattr(noise, "margin_only", False) and self.d == 2 and np.ndim(noise.lengths) == 0:
            first, run = runs(which)
            part = Points(points.m[first], points.U[first], points.length[first], points.number[first], points.given)
            spread(noise.raw(part) @ self.columns.mixing, run, rows)
            return
        rows[:] = (noise.raw(points) @ self.columns.mixing).T


def _length_table(lengths: Any) -> tuple[Array, Array]:
    if isinstance(lengths, Lengths):
        return lengths.table()
    if np.ndim(lengths):
        return np.array([float(np.min(lengths))]), np.ones(1)
    return np.array([float(lengths)]), np.ones(1)


def of_rule(keep: Any, rule: Rule, theta: float, margin: str, noise: Noise) -> Law:
    """The law of a selection rule (resolved) or of drawn `Samples` at one probe angle.

    Raises:
        ValueError: columns or lengths of the wrong size, a covariance that is not positive, fewer than two samples.
    """
    number = np.empty(0, np.int64)
    if isinstance(keep, Samples):
        # `Samples` are sorted when resolved; columns come in the order in which they were given.
        values = np.asarray(keep.values, dtype=float).ravel()
        masses(keep.weights, values.size)
        order = np.argsort(values)
        number = order
        if rule.ends.size == 2 * values.size:
            both = np.concatenate([values, -values])
            number = np.argsort(both) % values.size
    if np.ndim(noise.lengths) and np.size(noise.lengths) != (number.max() + 1 if number.size else -1):
        count = number.max() + 1 if number.size else 0
        words = f"for {count} samples: one a sample" if count else "but the law has no samples: use theory.Lengths"
        raise ValueError(f"there are {np.size(noise.lengths)} lengths {words}")
    if number.size and isinstance(noise.lengths, Lengths):
        raise ValueError("Lengths are for laws; give Samples one length each")
    law = Law(1 if theta == 0.0 else 2, 2, theta == 0.0 and rule.kind == SAMPLES, Resolved(*(np.empty((0, 0)),) * 3))
    law.noise, law.rule, law.theta, law.number = noise, rule, theta, number
    far = law.refine(0)
    if law.K and rule.kind != SAMPLES:
        U = np.maximum(_SCAN * math.cos(theta), 0.0) if theta > 0.0 else np.maximum(_SCAN, 0.0)
        values, _ = _length_table(noise.lengths)
        at = Points(_SCAN, U, np.full(_SCAN.size, values.min()), np.zeros(_SCAN.size, np.int64))
        law.scan = noise.raw(at) @ law.columns.mixing
    elif law.K and theta > 0.0:
        # Samples at an angle: their own columns shift the inner integral; the nearest sample stands for a margin.
        at = far
        sorted_m, first = np.unique(at.m, return_index=True)
        nearest = np.clip(np.searchsorted(sorted_m, _SCAN), 0, sorted_m.size - 1)
        law.scan = (noise.raw(at) @ law.columns.mixing)[first[nearest]]
    if law.fixed:
        mass, v, _, _ = law.laid(1e6, 0.0, 0.0, np.zeros(law.K), 1.0, False)
        law.atoms = mass, v
    return law


def _with_columns(law: Law, mass: Array, points: Points, noise: Noise) -> None:
    """Resolve the columns over all kept points and refuse a covariance that is not one at any alpha."""
    law.columns = noise.resolve(mass, points)
    if law.K:
        at = noise.raw(points) @ law.columns.mixing
        moment = (at / points.length[:, None]).T @ ((mass / points.length)[:, None] * at)
        check_positive(law.columns.Q0, moment)


def of_atoms(atoms: Atoms, noise: Noise) -> Law:
    """The law of measured points.

    Raises:
        ValueError: columns or lengths of the wrong size, a covariance that is not positive, fewer than two points.
    """
    p, mass = atoms.table()
    M, d = p.shape
    if isinstance(noise.lengths, Lengths):
        raise ValueError("Lengths are for laws; give measured points one length each")
    if np.ndim(noise.lengths) and np.size(noise.lengths) != M:
        raise ValueError(f"there are {np.size(noise.lengths)} lengths for {M} points: one a point")
    length = np.broadcast_to(np.asarray(noise.lengths, dtype=float), (M,)).copy()
    points = Points(p[:, 0], p[:, 0], length, np.arange(M), M)
    law = Law(d, 1, True, Resolved(*(np.empty((0, 0)),) * 3), float(mass @ (p[:, 0] < 0.0)))
    _with_columns(law, mass, points, noise)
    v = np.vstack([np.ones(M), -p.T, (noise.raw(points) @ law.columns.mixing).T])
    law.atoms = mass, np.ascontiguousarray(v / length)
    return law
