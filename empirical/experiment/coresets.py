"""Coresets as a family of methods: random, herding, forgetting, those by difficulty; another choice is one row more.

    register("mine", choose, "what it chooses")

where `choose(settings)` returns what is called with (data set, images a class, generator); see
`empirical.coresets.Coreset`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from empirical.coresets import Coreset, Forgetting, Herding, Random
from empirical.data.datasets import Dataset
from empirical.experiment import families
from empirical.experiment.experiment import Experiment
from empirical.experiment.families import Family, Method, Work, method_named
from empirical.networks.cost import Cost
from empirical.runtime.seeds import generator
from empirical.selection.choice import EASIEST, HARDEST, WINDOW
from empirical.selection.scores import Scoring
from empirical.selection.selected import FOLDER, Selected
from empirical.settings.settings import Resolved, Settings
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records.roles import CORESET


@dataclass(frozen=True)
class Choice:
    """How images are chosen.

    Attributes:
        coreset: made from the resolved settings.
        tags: by which settings name their readers.
        epochs: over the whole training set that the choice costs; None: none.

    """

    coreset: Callable[[Resolved], Coreset]
    tags: frozenset[str] = frozenset()
    epochs: Callable[[Resolved], int] | None = None


class CoresetFamily(Family):
    """See the module."""

    name = CORESET
    tags = frozenset({"set", "coreset"})

    def own_tags(self, method: Method) -> frozenset[str]:
        """As its row says."""
        return _choice(method).tags

    def check(self, method: Method, settings: Settings) -> None:
        """Networks that cannot be halved."""
        if "scored" in _choice(method).tags:
            Scoring(settings.scored, settings.score_networks, epochs=settings.score_epochs)

    def refuse(self, settings: Resolved, dataset: Dataset) -> None:
        """A pool that is not there, and a network to judge difficulty that cannot be built."""
        chosen = _choice(method_named(settings.method)).coreset(settings)
        if isinstance(chosen, Selected):
            chosen.refuse(dataset, settings.ipc)

    def work(self, settings: Resolved, dataset: Dataset, image: Cost) -> Work:
        """Training on the whole set, where the choice needs it."""
        epochs = _choice(method_named(settings.method)).epochs
        if epochs is None:
            return Work()
        return Work({"coreset": epochs(settings) * len(dataset.train) * image.training_flop})

    def make(self, experiment: Experiment) -> SyntheticSet:
        """Chosen images."""
        settings = experiment.settings
        chosen = _choice(method_named(settings.method)).coreset(settings)
        return chosen(experiment.dataset, settings.ipc, generator(experiment.seed, "coreset"))


FAMILY = CoresetFamily()


def register(
    name: str,
    coreset: Callable[[Resolved], Coreset],
    summary: str = "",
    tags: frozenset[str] = frozenset(),
    epochs: Callable[[Resolved], int] | None = None,
) -> Method:
    """Makes a choice of real images known as a method; see `Choice`.

    Raises:
        ValueError: the name is taken.

    """
    return families.register(Method(name, FAMILY, summary, Choice(coreset, tags, epochs)))


def _choice(method: Method) -> Choice:
    return cast(Choice, method.own)


def _herding(settings: Resolved) -> Coreset:
    return Herding(settings.network, settings.variant, settings.feature_epochs)


def _feature_epochs(settings: Resolved) -> int:
    return settings.feature_epochs


def _forgetting(settings: Resolved) -> Coreset:
    keep = cast(Literal["highest", "lowest"], settings.forgetting_keep)
    return Forgetting(settings.network, settings.variant, settings.forgetting_epochs, keep)


def _forgetting_epochs(settings: Resolved) -> int:
    return settings.forgetting_epochs


def _random(settings: Resolved) -> Coreset:
    return Random()


def _scoring(settings: Resolved) -> Scoring:
    """The ensemble that judges difficulty; of the architecture that is judged on, unless another is named."""
    own = settings.score_network is None or settings.score_network == settings.network
    variant = tuple(sorted(settings.variant.items())) if own else ()
    return Scoring(
        settings.scored, settings.score_networks, settings.score_network or settings.network, variant,
        settings.score_epochs,
    )  # fmt: skip


def _by_difficulty(order: str) -> Callable[[Resolved], Coreset]:
    def made(settings: Resolved) -> Coreset:
        return Selected(
            order, settings.by, _scoring(settings), settings.keep, settings.window_start, settings.over_all,
            settings.scores or FOLDER, settings.quiet,
        )  # fmt: skip

    return made


def _score_epochs(settings: Resolved) -> int:
    """Epochs over the whole set that the scores cost, if they are not there: training, and scoring as two more."""
    share = 1.0 if settings.scored == "in-sample" else 0.5
    return math.ceil(settings.score_networks * share * (settings.score_epochs + 2))


RANDOM = register("random", _random, "images drawn at random")
register("herding", _herding, "images whose mean feature is the class's", frozenset({"features"}), _feature_epochs)
register("forgetting", _forgetting, "most often forgotten images", frozenset({"forgetting"}), _forgetting_epochs)
for _order, _summary in (
    (EASIEST, "the easiest images"), (HARDEST, "the hardest images"), (WINDOW, "images of a range of difficulty")
):  # fmt: skip
    register(_order, _by_difficulty(_order), _summary, frozenset({"scored", _order}), _score_epochs)
