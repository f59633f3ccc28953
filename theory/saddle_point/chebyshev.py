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


def evaluate(
    ends: NDArray[np.float64], table: NDArray[np.float64], m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The tabulated function at margins `m` of any shape."""
    piece = np.clip(np.searchsorted(ends, m, side="right") - 1, 0, table.shape[0] - 1)
    below, above = ends[piece], ends[piece + 1]
    x = (2.0 * m - below - above) / (above - below)
    b1, b2 = np.zeros_like(x), np.zeros_like(x)
    for k in range(table.shape[1] - 1, 0, -1):
        b1, b2 = 2.0 * x * b1 - b2 + table[piece, k], b1
    return x * b1 - b2 + table[piece, 0]


def spans(
    ends: NDArray[np.float64], table: NDArray[np.float64], longest: float, negligible: float = 1e-11
) -> NDArray[np.int64]:
    """Neighbouring panels joined to the fewest spans on which Gauss-Legendre integrates phi(m) W(m).

    A panel's series is right to rounding relative to its own values, far out in the Gaussian's tail too; an integral
    needs less. A span is taken whole where the Chebyshev series of phi W on it, of twice as many terms as there are
    nodes, has converged to `negligible` of its largest value.

    Returns:
        Indices into `ends`, increasing, from 0 to the number of panels.
    """
    order = 28
    angles = (np.arange(order) + 0.5) * np.pi / order
    tail = 2.0 / order * np.cos(np.outer(np.arange(order - 6, order), angles))
    todo = np.array([(0, table.shape[0])])
    edges = [table.shape[0]]
    while todo.size:
        first, last = todo.T
        below, above = ends[first], ends[last]
        m = 0.5 * (above + below)[:, None] + 0.5 * (above - below)[:, None] * np.cos(angles)
        values = evaluate(ends, table, m) * np.exp(-0.5 * m * m)
        rest = np.abs(values @ tail.T).max(axis=1)
        whole = (above - below <= longest) & (rest <= negligible * np.abs(values).max(axis=1))
        whole |= last - first == 1
        edges += first[whole].tolist()
        first, last, middle = first[~whole], last[~whole], 0.5 * (below + above)[~whole]
        near = np.searchsorted(ends, middle)
        near -= np.abs(ends[near - 1] - middle) < np.abs(ends[near] - middle)
        near = np.clip(near, first + 1, last - 1)
        todo = np.concatenate([np.stack([first, near], 1), np.stack([near, last], 1)])
    return np.array(sorted(edges))
