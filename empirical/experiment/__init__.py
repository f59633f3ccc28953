"""One set to make: the table of methods filled, and the parts put together.

Importing this package registers the project's own methods: gradient matching, distribution matching, trajectory
matching, coresets, and the whole training set. A family is one file; a method is one row in it.
"""

from empirical.experiment import coresets, distribution_matching, gradient_matching, trajectory_matching, whole
from empirical.experiment.experiment import Experiment, correction_of
from empirical.experiment.own_method import register_method

__all__ = [
    "Experiment",
    "coresets",
    "correction_of",
    "distribution_matching",
    "gradient_matching",
    "register_method",
    "trajectory_matching",
    "whole",
]
