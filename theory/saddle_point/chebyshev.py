"""A function of the margin as Chebyshev panels, which the compiled averages evaluate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from theory.saddle_point.gaussian import CUT

ORDER = 18  # Chebyshev coefficients a panel
PANELS = 2000  # more than this many panels: the user's function is noise


def chebyshev_panels(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], breaks: Sequence[float], description: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tabulate a function on [-CUT, CUT] by panels halved until their Chebyshev series has converged.

    Args:
        function: maps an array of margins to one of numbers >= 0.
        breaks: where it is not smooth.
        description: what it is, for error sentences.

    Returns:
        Ends of the panels [panels + 1] and their coefficients [panels, ORDER].

    Raises:
        ValueError: a value that is negative, not finite or not one a margin; or a function too rough to tabulate.
    """
    angles = (np.arange(ORDER) + 0.5) * np.pi / ORDER
    points = np.cos(angles)
    to_coefficients = 2.0 / ORDER * np.cos(np.outer(np.arange(ORDER), angles))
    to_coefficients[0] /= 2.0
    inside = sorted({b for b in breaks if -CUT < b < CUT})
    edges = [-CUT, *inside, CUT]
    todo = [(lo, hi, 0, np.inf) for lo, hi in pairwise(edges)][::-1]
    ends: list[float] = [-CUT]
    table: list[NDArray[np.float64]] = []
    while todo:
        lo, hi, depth, parent = todo.pop()
        values = np.asarray(function(0.5 * (lo + hi) + 0.5 * (hi - lo) * points), dtype=float)
        if values.shape != points.shape or not np.all(np.isfinite(values)):
            raise ValueError(
                f"the {description} must return one finite number a margin (at margins in [{lo:g}, {hi:g}])"
            )
        if np.any(values < 0.0):
            raise ValueError(f"the {description} is negative for margins in [{lo:g}, {hi:g}], must be >= 0")
        coefficients = to_coefficients @ values
        size = np.abs(coefficients)
        tail = size[-3:].max() / max(size.max(), 1e-290)
        # A small tail that halving does not shrink is the rounding noise of the user's function.
        converged = tail < 2e-15 or (tail < 1e-10 and tail > 0.1 * parent)
        # Thirty halvings pin an undeclared jump to 1e-8 of a panel.
        if hi - lo > 3.5 or (depth < 30 and not converged):
            middle = 0.5 * (lo + hi)
            todo += [(middle, hi, depth + 1, tail), (lo, middle, depth + 1, tail)]
            if len(table) + len(todo) > PANELS:
                raise ValueError(f"the {description} is too rough near {middle:.3g}: name its breaks, or smooth it")
            continue
        ends.append(hi)
        table.append(coefficients)
    return np.array(ends), np.array(table)
