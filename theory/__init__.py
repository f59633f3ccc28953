"""Statistical-mechanics theory of a max-margin perceptron trained on easy or hard samples, and its simulation.

theory.solve(alpha, fraction, keep, theta)          exact order parameters and test error, D -> infinity
theory.simulate(alpha, fraction, keep, theta, ...)  the same by many trials at finite D
theory.max_margin(X, y)                             the certified hard-margin perceptron through the origin
theory.scaling                                      crossovers, best fractions, the response to a tilt
"""

# isort: off
import shared.terminal.start  # noqa: F401
# isort: on

from theory import asymptotics, scaling
from theory.judges import published
from theory.perceptron.max_margin import MaxMargin, NotCertified, NotSeparable, max_margin
from theory.saddle_point.kept import Density, Samples, Tilt, Weight, Window
from theory.saddle_point.order_parameters import NotConverged, Solution, solve
from theory.simulation.finite_size import Extrapolation, extrapolate, simulate_two_sizes
from theory.simulation.simulate import Simulation, simulate

__all__ = [
    "Density",
    "Extrapolation",
    "MaxMargin",
    "NotCertified",
    "NotConverged",
    "NotSeparable",
    "Samples",
    "Simulation",
    "Solution",
    "Tilt",
    "Weight",
    "Window",
    "asymptotics",
    "extrapolate",
    "max_margin",
    "published",
    "scaling",
    "simulate",
    "simulate_two_sizes",
    "solve",
]
