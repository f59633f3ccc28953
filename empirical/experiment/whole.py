"""The whole training set as a method: nothing is made, networks are trained on all images."""

from __future__ import annotations

from empirical.data.datasets import Dataset
from empirical.experiment import families
from empirical.experiment.experiment import Experiment
from empirical.experiment.families import Family, Method, Work
from empirical.networks.cost import Cost
from empirical.settings.settings import Resolved
from shared.records.roles import CORESET


class WholeFamily(Family):
    """See the module; it has no images a class and no set to judge."""

    name = CORESET
    tags = frozenset({"whole"})

    def make(self, experiment: Experiment) -> None:
        """Nothing."""

    def work(self, settings: Resolved, dataset: Dataset, image: Cost) -> Work:
        """None: its cost is that of its evaluation."""
        return Work()


WHOLE = families.register(Method("whole", WholeFamily(), "the whole training set"))
