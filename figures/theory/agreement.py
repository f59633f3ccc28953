"""Figure (iii): simulation against theory in standard errors, at the simulated size and for D = infinity."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from figures.desk import Desk
from figures.registry import figure
from figures.style import BLACK, BLUE, PAGE, RED, look, save
from figures.theory.curves import note_of, simulated_for
from figures.theory.deviation import agreement
from figures.theory.simulated import Curves


@figure("z-scores", group="theory")
def draw(desk: Desk) -> list[Path]:
    """Simulation against theory in standard errors, at the simulated size and for D = infinity."""
    return z_scores(simulated_for(desk), desk.out, note_of(desk))


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
        figure.text(0.995, -0.02, note.replace("; lines: theory", ""), ha="right", va="top", fontsize=6)
        return save(figure, folder, "z_scores", found.rows)
