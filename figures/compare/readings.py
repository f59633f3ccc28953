"""How the theory is read for a grid: which reading is judged, and what each says of the sign of the response.

    selection    the published reading: a matching method keeps real samples by a density of their margin, the
                 correction tilts it (`figures.compare.predicted`)
    synthesis    points that are learnt: descent inside the perceptron, predicted without measuring anything
                 (`theory.distillation.dynamics`; docs/synthesis.md), for the sign alone

Which one is judged is chosen before the data, by a flag; the other one stands beside it with its own verdict. The
synthesis reading was solved for two kinds of probes, trained ones at 48 degrees to the teacher and random ones, under
the cosine distance, 300 steps. Where a grid's probes are neither, or unknown, there is no such reading, and the page
says so.
"""

from __future__ import annotations

import csv
import math
from importlib import resources

import numpy as np

from shared.comparison.grid import Grid
from shared.comparison.prediction import SignReading

SELECTION, SYNTHESIS = "selection", "synthesis"
READINGS = (SELECTION, SYNTHESIS)
TRAINED, RANDOM = math.radians(48.0), math.radians(90.0)
"""Angles of the probes that the dynamical theory was solved for."""
NEAR = math.radians(12.0)
"""Probes so near to one of them count as such."""
SCHEDULE = (
    "solved for 300 steps; how long these sets were matched is not in the grid, and the change of sign depends on it"
)


def synthesis_reading(grid: Grid, band: tuple[float, ...], known: bool) -> SignReading | str:
    """The synthesis reading of a grid, or why there is none.

    Args:
        grid: measured.
        band: angles of the probes in radians.
        known: whether they were measured or typed, not assumed.

    """
    if grid.family != "gradient":
        return f"the synthesis theory is of gradient matching; {grid.method} matches something else"
    degrees = " to ".join(f"{math.degrees(t):.0f}" for t in dict.fromkeys((band[0], band[-1])))
    if not known:
        return "the angle of the probes is not known, and the synthesis theory's sign depends on it"
    for angle, kind in ((TRAINED, "trained probes"), (RANDOM, "random probes")):
        if all(abs(theta - angle) <= NEAR for theta in band):
            return _solved(kind)
    return (
        f"the synthesis theory was solved for probes at {math.degrees(TRAINED):.0f} degrees and for random ones; these "
        f"are at {degrees} degrees"
    )


def _solved(kind: str) -> SignReading:
    """The prediction from the settings alone, for one kind of probes."""
    text = resources.files("figures.compare").joinpath("synthesis_slopes.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["probes"] == kind]
    alpha, slope, se = (np.array([float(row[name]) for row in rows]) for name in ("alpha", "slope", "se"))
    return SignReading(f"synthesis, cosine distance, {kind}", alpha, -slope, se)
