"""A figure of one's own in one file, drawn by the project's command:

    python -m figures --plugin examples/figure_of_your_own.py margins --out output/mine

It is listed, has the flags of all figures, and is written as PDF, PNG and CSV like them.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import theory
from figures.desk import Desk
from figures.registry import figure
from figures.style import COLUMN, CYCLE, look, save


@figure("margins", writes=("margins",))
def margins(desk: Desk) -> list[Path]:
    """The largest margin over kept samples per dimension, hard, random and easy."""
    alpha = np.geomspace(0.2, 10.0, desk.pick(8, 60))
    rows = []
    with look():
        figure, axes = plt.subplots(figsize=(COLUMN, 2.4))
        for keep, colour in zip(("hard", "random", "easy"), CYCLE, strict=False):
            margin = theory.solve(alpha, 1.0 if keep == "random" else 0.3, keep).kappa
            axes.loglog(alpha, margin, color=colour, label=keep)
            rows += [{"keep": keep, "alpha": a, "margin": m} for a, m in zip(alpha, margin, strict=True)]
        axes.set_xlabel(r"kept samples per dimension $\alpha$")
        axes.set_ylabel(r"margin $\kappa$")
        axes.legend()
        desk.remarks.append(f"margins at {alpha.size} sizes")
        return save(figure, desk.out, "margins", rows)
