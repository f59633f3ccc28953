"""Figures (iv) and (vi): where easy beats hard beats random, and what a tilt towards easy samples gains."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, SymLogNorm
from matplotlib.contour import QuadContourSet
from matplotlib.ticker import FuncFormatter

from figures.desk import Desk
from figures.registry import figure
from figures.style import BLACK, PAGE, look, save
from shared.terminal.progress import Report
from theory import scaling

PAIRS = (("hard", "easy"), ("hard", "random"), ("easy", "random"))
TITLES = ("hard overtakes easy", "hard overtakes random", "easy falls behind random")
LARGEST = 1e3  # crossovers are looked for up to this alpha


@figure("crossover-map", group="theory")
def draw_crossover_map(desk: Desk) -> list[Path]:
    """Where easy samples beat hard and random ones: the crossover over kept fraction and probe angle."""
    with desk.progress("crossover-map") as report:
        return crossover_map(desk.out, desk.pick(11, 31), report)


@figure("tilt-gain", group="theory")
def draw_tilt_gain_map(desk: Desk) -> list[Path]:
    """What a tilt towards easy samples gains, over kept samples per dimension and its strength."""
    with desk.progress("tilt-gain") as report:
        return tilt_gain_map(desk.out, desk.pick(10, 32), report)


def crossover_map(folder: Path, cells: int, report: Report) -> list[Path]:
    """Figure (iv): alpha*(fraction, theta) for the three pairs of strategies.

    Where curves cross more than once (few samples, a poor probe) the last crossover is drawn and the cell is dotted;
    all are in the CSV file.
    """
    fractions = np.linspace(0.04, 0.96, cells)
    degrees = np.linspace(0.0, 75.0, cells)

    def row(k: int) -> list[list[np.ndarray]]:
        theta = math.radians(degrees[k])
        return [
            [scaling.crossovers(f, theta, *pair, alpha_range=(0.05, LARGEST), points=45) for f in fractions]
            for pair in PAIRS
        ]

    last = np.full((len(PAIRS), cells, cells), np.nan)
    several = np.zeros_like(last, dtype=bool)
    rows = []
    with ThreadPoolExecutor() as pool:
        for k, found in enumerate(pool.map(row, range(cells))):
            for (p, pair), (j, f) in product(enumerate(PAIRS), enumerate(fractions)):
                alphas = found[p][j]
                several[p, k, j] = alphas.size > 1
                last[p, k, j] = alphas[-1] if alphas.size else np.nan
                place = {"first": pair[0], "second": pair[1], "fraction": f, "theta_deg": degrees[k]}
                place["crossovers"] = alphas.size
                rows += [place | {"alpha_star": a} for a in (alphas if alphas.size else [math.nan])]
            report(k + 1, cells)
    with look():
        figure, panels = plt.subplots(1, 3, figsize=(PAGE, 2.3), sharey=True)
        norm = LogNorm(0.5, 100.0)
        for axes, values, dotted, title in zip(panels, last, several, TITLES, strict=True):
            axes.set_facecolor("0.85")
            mesh = axes.pcolormesh(
                fractions, degrees, values, norm=norm, cmap="viridis", shading="nearest", rasterized=True
            )
            # Masked: between a number and "never" there is no contour.
            lines = axes.contour(
                fractions, degrees, np.ma.masked_invalid(values), levels=[1, 2, 3, 5, 10, 30],
                colors="white", linewidths=0.6,
            )  # fmt: skip
            axes.clabel(lines, fmt=lambda v: f"{v:g}", fontsize=5.5, manual=with_room(axes, lines))
            at_degrees, at_fraction = np.nonzero(dotted)
            axes.plot(fractions[at_fraction], degrees[at_degrees], "k.", markersize=1.5)
            axes.set_xlabel("kept fraction f")
            axes.set_title(title)
        panels[0].set_ylabel(r"probe angle $\theta$ (degrees)")
        bar = figure.colorbar(mesh, ax=panels, extend="both", label=r"crossover $\alpha^*$")
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        figure.text(
            0.005, -0.02, "grey: never below α = 1000, and no contour towards it; dots: several crossovers, the last "
            "is drawn; unsigned margin",
            ha="left", va="top", fontsize=6,
        )  # fmt: skip
        return save(figure, folder, "crossover_map", rows)


def tilt_gain_map(folder: Path, cells: int, report: Report) -> list[Path]:
    """Figure (vi): error(tau = 0) - error(tau) over alpha and the tilt tau, three probes."""
    alphas = np.geomspace(0.1, 10.0, cells)
    strengths = np.geomspace(0.25, 32.0, cells // 2)
    taus = np.concatenate([-strengths[::-1], [0.0], strengths])
    probes = (
        ("perfect probe", 0.0, "signed"),
        ("θ = 36°, signed", 36.0, "signed"),
        ("θ = 36°, unsigned", 36.0, "unsigned"),
    )
    jobs = [(p, k) for p in range(len(probes)) for k in range(taus.size)]
    gains = np.empty((len(probes), taus.size, alphas.size))

    def gain(job: tuple[int, int]) -> np.ndarray:
        _, degrees, margin = probes[job[0]]
        return scaling.tilt_gain(alphas, [taus[job[1]]], math.radians(degrees), margin)[0]

    with ThreadPoolExecutor() as pool:
        critical = pool.map(lambda probe: scaling.tilt_critical_alpha(math.radians(probe[1]), probe[2]), probes)
        for done, (job, values) in enumerate(zip(jobs, pool.map(gain, jobs), strict=True), start=1):
            gains[job] = values
            report(done, len(jobs))
    with look():
        figure, panels = plt.subplots(1, 3, figsize=(PAGE, 2.4), sharey=True)
        norm = SymLogNorm(1e-3, vmin=-0.1, vmax=0.1)
        # Equal rows: the tilt is spaced by factors on both sides of zero.
        rows_at = np.arange(taus.size + 1) - 0.5
        step = math.sqrt(alphas[1] / alphas[0])
        edges = np.append(alphas / step, alphas[-1] * step)
        for axes, values, alpha_c, (title, _, _) in zip(panels, gains, critical, probes, strict=True):
            mesh = axes.pcolormesh(edges, rows_at, values, norm=norm, cmap="RdBu", shading="flat", rasterized=True)
            axes.add_collection(LineCollection(sign_edges(edges, rows_at, values), colors="0.2", linewidths=0.8))
            axes.axvline(alpha_c, color=BLACK, linewidth=0.8, linestyle="--")
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axes.set_xlabel(r"kept samples per dimension $\alpha$")
            axes.set_title(title)
        shown = (-32, -8, -2, -0.5, 0, 0.5, 2, 8, 32)
        panels[0].set_yticks([_place(t, taus) for t in shown], [f"{t:g}" for t in shown])
        panels[0].set_ylabel("tilt τ (> 0: easier)")
        bar = figure.colorbar(mesh, ax=panels, label=r"gain $\epsilon(0) - \epsilon(\tau)$", extend="both")
        bar.set_ticks([-0.1, -0.01, -0.001, 0.0, 0.001, 0.01, 0.1])
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        figure.text(
            0.005, -0.02, "dark steps: between cells where the gain changes its sign; dashed: the α, solved for, above "
            "which a small positive tilt hurts; pale cells: less than 0.001", ha="left", va="top", fontsize=6,
        )  # fmt: skip
        rows = [
            {"theta_deg": d, "margin": m, "alpha": a, "tau": t, "gain": gains[p, k, j]}
            for p, (_, d, m) in enumerate(probes) for k, t in enumerate(taus) for j, a in enumerate(alphas)
        ]  # fmt: skip
        return save(figure, folder, "tilt_gain", rows)


def with_room(axes: Axes, lines: QuadContourSet, room: float = 0.13) -> list[tuple[float, float]]:
    """One place for the label of each contour, in data: away from other labels and from the frame; none if none is.

    Args:
        axes: that the contours are drawn in.
        lines: the contours.
        room: shares of the axes that a label keeps from others; half of that from the frame.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    taken: list[np.ndarray] = []
    found = []
    for segments in lines.allsegs:
        points = np.concatenate([np.asarray(s, float).reshape(-1, 2) for s in segments] or [np.empty((0, 2))])
        shares = (points - (left, bottom)) / (right - left, top - bottom)
        inside = np.all((shares > room / 2) & (shares < 1 - room / 2), axis=1)
        clear = np.full(len(shares), np.inf)
        for other in taken:
            clear = np.minimum(clear, np.linalg.norm(shares - other, axis=1))
        fit = np.flatnonzero(inside & (clear > room))
        if fit.size and np.ptp(shares, axis=0).sum() > room:
            middle = fit[np.argmin(np.linalg.norm(shares[fit] - 0.5, axis=1))]
            taken.append(shares[middle])
            found.append((float(points[middle, 0]), float(points[middle, 1])))
    return found


def sign_edges(columns: np.ndarray, rows: np.ndarray, values: np.ndarray) -> list[list[tuple[float, float]]]:
    """Edges between neighbouring cells of opposite sign, as segments; a value of 0 has no sign.

    Args:
        columns: [C + 1] edges of the columns.
        rows: [R + 1] edges of the rows.
        values: [R, C].
    """
    signs = np.sign(values)
    beside = np.argwhere(signs[:, 1:] * signs[:, :-1] < 0)
    above = np.argwhere(signs[1:] * signs[:-1] < 0)
    found = [[(columns[c + 1], rows[r]), (columns[c + 1], rows[r + 1])] for r, c in beside]
    return found + [[(columns[c], rows[r + 1]), (columns[c + 1], rows[r + 1])] for r, c in above]


def _place(tau: float, taus: np.ndarray) -> float:
    """Row of a tilt, between rows by its logarithm."""
    half = taus.size // 2
    if tau == 0.0:
        return half
    strengths = np.log(taus[half + 1 :])
    return half + math.copysign(1.0 + np.interp(math.log(abs(tau)), strengths, np.arange(half)), tau)
