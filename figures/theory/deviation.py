"""Simulation against theory, in standard errors, at every simulated point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figures.theory.simulated import QUANTITIES, Curves
from theory import solve


@dataclass(frozen=True)
class Agreement:
    """One array entry a simulated point: test error, simulation minus theory."""

    rows: list[dict[str, Any]]

    def column(self, name: str) -> NDArray[Any]:
        """A column over points."""
        return np.array([row[name] for row in self.rows])

    @property
    def outside(self) -> int:
        """Points further from theory than 3 standard errors plus 1/D (the corner: than 3 once extrapolated)."""
        within = self.column("difference_test_error") <= (
            3.0 * self.column("standard_error_test_error") + 1.0 / self.column("dimension")
        )
        corner = self.column("corner")
        extrapolated = np.abs(self.column("z_test_error_limit")) <= 3.0
        return int(np.sum(~np.where(corner, extrapolated, within)))

    def counts(self, kind: str) -> tuple[int, int, int]:
        """(within 2, within 3, all) standard errors; ``kind`` "" at the simulated size, "_limit" extrapolated."""
        z = np.abs(self.column(f"z_test_error{kind}"))
        return int(np.sum(z <= 2.0)), int(np.sum(z <= 3.0)), z.size


def agreement(curves: Curves) -> Agreement:
    """Compare every simulated point with theory, all four quantities."""
    rows = []
    for s, curve in curves.items():
        exact = solve(curve.alpha, s.fraction, s.keep, s.theta)
        corner = s.in_corner(curve.alpha)
        for k, alpha in enumerate(curve.alpha):
            row: dict[str, Any] = {
                "keep": s.keep, "fraction": s.fraction, "theta_deg": s.degrees, "alpha": alpha,
                "dimension": curve.dimension, "corner": bool(corner[k]),
            }  # fmt: skip
            for q in QUANTITIES:
                limit = getattr(exact, q)[k]
                error = curve.at_size[f"{q}_se"][k]
                row |= {
                    f"difference_{q}": abs(curve.at_size[q][k] - limit),
                    f"standard_error_{q}": error,
                    f"z_{q}": (curve.at_size[q][k] - limit) / error,
                    f"z_{q}_limit": (curve.limit[q][k] - limit) / curve.limit[f"{q}_se"][k],
                }
            rows.append(row)
    return Agreement(rows)


def remarks(found: Agreement, dimension: int) -> list[str]:
    """How well simulations of that input dimension agree, in sentences."""
    said = []
    for kind, label in (("", f"at D = {dimension}"), ("_limit", "extrapolated to D = infinity")):
        two, three, total = found.counts(kind)
        said.append(f"test error {label}: {two} of {total} points within 2 standard errors, {three} within 3")
    corner = "(corner near alpha = 2: extrapolated)"
    return [*said, f"outside 3 standard errors + 1/D {corner}: {found.outside} points"]
