"""Figure (v): the best fraction at a given total, and the price of discarding: exponential against power law."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from figures.desk import Desk
from figures.registry import figure
from figures.style import BLACK, CYCLE, PAGE, look, save
from figures.theory.curves import plain_log_axis
from shared.terminal.progress import Report
from theory import asymptotics, scaling, solve

TOTALS = (10.0, 100.0, 1000.0)
PRICED_TOTAL = 100.0
ANGLES = (0.0, 5.0, 10.0, 20.0)


@figure("best-fraction", group="theory")
def draw_best_fraction(desk: Desk) -> list[Path]:
    """The best fraction of a pool, and the price of discarding the rest."""
    with desk.progress("best-fraction") as report:
        return best_fraction(desk.out, desk.pick(12, 40), report)


def best_fraction(folder: Path, points: int, report: Report) -> list[Path]:
    """Draw figure (v)."""
    rows: list[dict[str, Any]] = []

    def record(panel: str, degrees: float, keep: str, total: float, alpha: Any, fraction: Any, value: Any) -> None:
        for a, f, v in zip(np.atleast_1d(alpha), np.broadcast_to(fraction, np.shape(alpha)), value, strict=True):
            rows.append({"panel": panel, "theta_deg": degrees, "keep": keep, "alpha_total": total, "alpha": a,
                         "fraction": f, "value": v})  # fmt: skip

    with look():
        figure, ((errors, excess), (best, kept_best)) = plt.subplots(2, 2, figsize=(PAGE, 4.8))
        alpha = np.geomspace(0.3, 1e3, 4 * points)
        random = solve(alpha).test_error
        errors.plot(alpha, random, "--", color=BLACK, label="random")
        record("error", 0.0, "random", math.inf, alpha, 1.0, random)
        for total, colour in zip(TOTALS, CYCLE, strict=False):
            kept = alpha[alpha <= total]
            values = solve(kept, kept / total, "hard")
            # The diagonal of a grid of (alpha, fraction): one fraction an alpha.
            errors.plot(kept, values.test_error, color=colour, label=rf"pool $\alpha_{{tot}}$ = {total:g}")
            record("error", 0.0, "hard", total, kept, kept / total, values.test_error)
        for degrees, colour in zip(ANGLES, CYCLE, strict=False):
            few = np.geomspace(2.05, 20.0, 2 * points)
            over = scaling.excess_over_pool(few, PRICED_TOTAL, "hard", math.radians(degrees))
            # Below 1e-9 the excess is smaller than what two solved errors resolve.
            shown = over > 1e-9
            excess.plot(few[shown], over[shown], color=colour, label=rf"$\theta = {degrees:g}°$")
            record("excess", degrees, "hard", PRICED_TOTAL, few, few / PRICED_TOTAL, over)
        limit = np.linspace(2.1, 7.0, points)
        price = np.array([asymptotics.discarding_price(a) - 1.0 for a in limit])
        excess.plot(limit, price, "k.", markersize=2.0, label=r"$0°$, huge pool")
        record("excess", 0.0, "hard", math.inf, limit, 0.0, price)
        report(1, 3)
        pools = np.geomspace(0.1, 100.0, points)
        easy = [scaling.best_fraction_of_pool(float(t)).fraction for t in pools]
        best.plot(pools, easy, "-", color=CYCLE[0])
        record("best of pool", 0.0, "easy", math.nan, pools, easy, easy)
        report(2, 3)
        for degrees, colour in zip((0.0, 10.0, 20.0, 40.0), (CYCLE[0], *CYCLE[2:]), strict=False):
            kept = np.geomspace(0.3, 1.99 if degrees == 0.0 else 100.0, points)
            fraction, error = scaling.pareto_front(kept, "hard", math.radians(degrees))
            kept_best.plot(kept, fraction, color=colour, label=rf"$\theta = {degrees:g}°$")
            record("best at kept alpha", degrees, "hard", math.inf, kept, fraction, error)
        report(3, 3)
        plain_log_axis(errors)
        errors.set_xlabel(r"kept samples per dimension $\alpha$")
        errors.set_ylabel(r"test error $\epsilon$")
        errors.set_title("hardest of a pool, perfect probe")
        errors.set_ylim(1.5e-5, 0.6)
        errors.legend(loc="lower left", fontsize=6.0)
        excess.set_yscale("log")
        excess.set_xlabel(r"kept samples per dimension $\alpha$")
        excess.set_ylabel("error / error of whole pool − 1")
        excess.set_title(rf"price of discarding, $\alpha_{{tot}}$ = {PRICED_TOTAL:g}")
        excess.set_xlim(2.0, 20.0)
        excess.set_ylim(1e-9, 3e2)
        excess.legend(loc="lower right")
        best.set_xlabel(r"pool $\alpha_{tot}$, kept and discarded")
        best.set_title("easiest of a given pool, perfect probe")
        kept_best.set_xlabel(r"kept samples per dimension $\alpha$")
        kept_best.set_title("hardest of a pool without end")
        kept_best.legend(loc="upper right", title="probe angle", title_fontsize=6.5)
        for axes in (best, kept_best):
            _fraction_axes(axes)
        return save(figure, folder, "best_fraction", rows)


def _fraction_axes(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.set_ylabel("best kept fraction")
    axes.set_ylim(0.0, 1.03)
