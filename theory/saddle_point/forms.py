"""What is kept in numbers, as the compiled averages take it, and the order of the averages."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from theory.saddle_point.gaussian import NODES, WEIGHTS

# Positions of the averages in the accumulator.
P2, P1, P0, D0, UP1, SP1, UP0, SP0, UUP0, USP0, SSP0, UD0, SD0 = range(13)
COUNT = 13


class Quadrature(NamedTuple):
    """Gauss-Legendre on [-1, 1]: nodes and weights [n]."""

    nodes: np.ndarray
    weights: np.ndarray


FINE = Quadrature(NODES, WEIGHTS)
ROUGH = Quadrature(*np.polynomial.legendre.leggauss(9))  # for Newton's first steps: some 1e-7


class Panels(NamedTuple):
    """A smooth weight W: ends [panels + 1] and Chebyshev coefficients [panels, order].

    Integrals are done by spans of neighbouring panels: `spans` [spans + 1] are indices into `ends`, `bounds` [spans]
    are above E_pool[W; span] / 2, and `order` [spans] sorts them, largest first; `rule` is the quadrature.
    """

    ends: np.ndarray
    coefficients: np.ndarray
    spans: np.ndarray
    bounds: np.ndarray
    order: np.ndarray
    rule: Quadrature


class Drawn(NamedTuple):
    """Samples of the margin [samples] and their masses [samples], which sum to one after the conditional integral."""

    margins: np.ndarray
    masses: np.ndarray


Inner = tuple[float, float, float, float, float, float, float, float]


class Kept(NamedTuple):
    """What is kept, as a probe at an angle to the teacher sees it: everything the averages need besides the student.

    `windows` [windows, 2] of m, `panels` or `drawn`: the others are empty. For windows, the usual case, they are None:
    another type, for which the kernels compile in two thirds of the time.

    `fraction` = E_pool[W], 1 for samples; `sin` and `cos` of the angle, exactly 0 and 1 for a perfect probe.
    """

    windows: np.ndarray
    panels: Panels | None
    drawn: Drawn | None
    fraction: float
    sin: float
    cos: float


class Student(NamedTuple):
    """A student by its unnormalised order parameters kappa', R', S'."""

    kappa: float
    R: float
    S: float


class Scratch(NamedTuple):
    """Room in which the inner integrals lay their panels."""

    breaks: np.ndarray
    edges: np.ndarray
