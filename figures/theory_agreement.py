"""Figure (iii): simulation against theory in standard errors, at the simulated size and for D = infinity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from figures.simulated import QUANTITIES, SimulatedCurve, Strategy
from figures.style import BLACK, BLUE, PAGE, RED, look, save
from theory import solve

Curves = dict[Strategy, SimulatedCurve]


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


def z_scores(curves: Curves, folder: Path, note: str) -> list[Path]:
    """Draw figure (iii)."""
    found = agreement(curves)
    alpha, corner = found.column("alpha"), found.column("corner")
    with look():
        figure, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.6))
        for kind, colour, marker, label in (("", RED, "x", "at D"), ("_limit", BLUE, "o", "extrapolated")):
            z = found.column(f"z_test_error{kind}")
            shown = ~corner if kind == "" else np.ones_like(corner)
            left.semilogx(alpha[shown], z[shown], marker, color=colour, markersize=2.6, alpha=0.75, label=label)
            edges = np.arange(-5.25, 5.5, 0.5)
            right.hist(
                np.clip(z[shown], -5, 5), edges, density=True, color=colour, histtype="step", label=label, linewidth=1.1
            )
        for level in (-3.0, -2.0, 2.0, 3.0):
            left.axhline(level, color=BLACK, linewidth=0.5, linestyle=":" if abs(level) == 2.0 else "--")
        grid = np.linspace(-5, 5, 200)
        right.plot(grid, norm.pdf(grid), color=BLACK, linewidth=0.9, label="N(0, 1)")
        left.set_xlabel(r"kept samples per dimension $\alpha$")
        left.set_ylabel("(simulation − theory) / standard error")
        right.set_xlabel("(simulation − theory) / standard error")
        right.set_ylabel("density of points")
        dimension = found.column("dimension")[0]
        lines = []
        for kind, name in (("", f"at D = {dimension}"), ("_limit", r"$D \to \infty$")):
            two, three, total = found.counts(kind)
            lines.append(f"{name}: {two} of {total} within 2, {three} within 3")
        lines.append(f"outside 3 s.e. + 1/D: {found.outside}")
        left.set_title("\n".join(lines), fontsize=6.5, loc="left")
        right.legend(loc="upper right")
        figure.text(0.995, -0.02, note, ha="right", va="top", fontsize=6)
        return save(figure, folder, "z_scores", found.rows)
