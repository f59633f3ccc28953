"""Statistical-mechanics theory of a max-margin perceptron trained on easy or hard samples, and its simulation.

theory.solve(alpha, fraction, keep, theta)          exact order parameters and test error, D -> infinity
theory.simulate(alpha, fraction, keep, theta, ...)  the same by many trials at finite D
theory.max_margin(X, y)                             the certified hard-margin perceptron through the origin
theory.scaling                                      crossovers, best fractions, the response to a tilt

A name is imported when it is first used: who solves pays for no simulation, and who asks for help for neither.
"""

from __future__ import annotations

# isort: off
import shared.terminal.start  # noqa: F401
# isort: on

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theory import asymptotics, scaling
    from theory.errors import NotConverged
    from theory.judges import published
    from theory.perceptron.max_margin import MaxMargin, NotCertified, NotSeparable, max_margin
    from theory.saddle_point.kept import Density, Samples, Tilt, Weight, Window
    from theory.saddle_point.order_parameters import Solution
    from theory.simulation.finite_size import Extrapolation, extrapolate, simulate_two_sizes
    from theory.simulation.simulate import Simulation, simulate
    from theory.solver import solve
    from theory.synthesis.laws import Atoms
    from theory.synthesis.noise import CommonDirection, Independent, Lengths, LowRank, Matched

__all__ = [
    "Atoms",
    "CommonDirection",
    "Density",
    "Extrapolation",
    "Independent",
    "Lengths",
    "LowRank",
    "Matched",
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

# Each name is imported from its room when it is first asked for: who solves compiles no simulation.
_MODULES = {"asymptotics": "asymptotics", "published": "judges.published", "scaling": "scaling"}
_NAMES = {
    "errors": ("NotConverged",),
    "perceptron.max_margin": ("MaxMargin", "NotCertified", "NotSeparable", "max_margin"),
    "saddle_point.kept": ("Density", "Samples", "Tilt", "Weight", "Window"),
    "saddle_point.order_parameters": ("Solution",),
    "simulation.finite_size": ("Extrapolation", "extrapolate", "simulate_two_sizes"),
    "simulation.simulate": ("Simulation", "simulate"),
    "solver": ("solve",),
    "synthesis.laws": ("Atoms",),
    "synthesis.noise": ("CommonDirection", "Independent", "Lengths", "LowRank", "Matched"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    elif name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
