"""Double integrals of smooth weights: twice the nodes change nothing, and closed forms are what quadrature gives."""

import numpy as np
import pytest

from theory import Density, Tilt, Weight, solve
from theory.saddle_point.chebyshev import chebyshev_panels, evaluate, spans
from theory.saddle_point.forms import D0, SD0, Quadrature, Student
from theory.saddle_point.moments import averages

RULES = [
    Tilt(4.0, 2.0, True),
    Tilt(-16.0, 2.0, False),
    Density(lambda m: np.exp(-3.0 * np.abs(m))),
    Weight(lambda m: 0.1 + (np.abs(m) > 0.5), breaks=(-0.5, 0.5)),
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("degrees", "alpha"), [(2.0, 300.0), (30.0, 0.05), (60.0, 5.0), (90.0, 100.0)])
def test_twice_the_nodes_change_nothing(rule, degrees, alpha):
    theta = np.deg2rad(degrees)
    kept = rule.resolve(theta, "unsigned").seen_at(theta)
    found = solve(alpha, keep=rule, theta=theta)
    student = Student(found.kappa_prime, found.R_prime, found.S_prime)
    finer = kept._replace(panels=kept.panels._replace(rule=Quadrature(*np.polynomial.legendre.leggauss(28))))
    plain, fine = averages(student, kept), averages(student, finer)
    scale = np.abs(fine)
    scale[D0 + 1 : SD0 + 1] += fine[D0] + fine[2]  # signed averages may cancel
    assert np.max(np.abs(plain - fine) / scale) < 2e-12


def test_spans_are_few_and_end_at_every_jump():
    ends, table = chebyshev_panels(lambda m: np.exp(-4.0 / (1.0 + np.exp(2.0 * m))) + (m > 0.7), [0.7], "weight")
    edges = spans(ends, table, 4.0)
    assert edges[0] == 0 and edges[-1] == table.shape[0] and np.all(np.diff(edges) > 0)
    assert 0.7 in ends[edges] and edges.size < 0.6 * ends.size


def test_the_table_gives_back_the_function():
    ends, table = chebyshev_panels(lambda m: np.exp(-0.3 * m), [], "weight")
    m = np.linspace(-12.9, 12.9, 101).reshape(1, 101)
    assert evaluate(ends, table, m) == pytest.approx(np.exp(-0.3 * m), rel=1e-13)
