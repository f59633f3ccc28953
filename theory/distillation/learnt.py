"""What the theory of synthesis says of a set that was learnt: four errors, by how much of the set they look at.

    (A)  margins along the teacher and lengths, noise independent
    (B)  and s1: how much noise cancels, or is shared, in the mean of the points
    (C)  and the Gram matrix of the moments {1, U}
    (D)  and that of {1, U, mean h}

None looks at the student.  All take the teacher: they explain a set, they do not predict one.  A set that no vector
separates has no error, and then there is no theory of it either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.errors import NotConverged
from theory.perceptron.max_margin import NotSeparable, max_margin
from theory.simulation.simulate import overlaps
from theory.solver import solve
from theory.synthesis.moments import Moments, moments


@dataclass(frozen=True, eq=False)
class Explained:
    """A set's error and its theories; NaN for a theory by which the set would not be separable.

    Attributes:
        test_error: of the max-margin perceptron on the points.
        lengths, mean, two, three: theories (A) to (D), test errors.
        moments: the numbers they used.
    """

    test_error: float
    lengths: float
    mean: float
    two: float
    three: float
    moments: Moments


def explain(points: ArrayLike, labels: ArrayLike, teacher: ArrayLike, probes: ArrayLike) -> Explained:
    """Train on points [M, D] with labels [M] and lay theories (A) to (D) beside the error.

    ``teacher`` [D]; ``probes`` [K, D]: the ensemble w_k = beta J_k that matching used (the column h of (D)).

    Raises:
        ValueError: see `theory.synthesis.moments.moments`.
        NotSeparable: no vector separates the points; with the proof.
        NotCertified: the points are too badly conditioned.
    """
    measured = moments(points, labels, teacher, probes)
    student = max_margin(points, labels)
    T = np.asarray(teacher, dtype=float)
    unit = T / np.linalg.norm(T)
    return Explained(overlaps(student.w, unit, unit)[0], *theories(measured), measured)


def theories(measured: Moments) -> tuple[float, float, float, float]:
    """Test errors (A) to (D); NaN where that theory finds no separator, or no solution."""
    found = []
    for columns in range(4):
        try:
            found.append(float(solve(measured.alpha, keep=measured.atoms, noise=measured.noise(columns)).test_error))
        except (NotConverged, NotSeparable):
            found.append(float("nan"))
    return found[0], found[1], found[2], found[3]
