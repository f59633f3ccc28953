"""Distribution matching as a family of methods: DM is its row.

The published numbers are those of the authors' program (main_DM.py of github.com/VICO-UoE/DatasetCondensation and its
README): 20,000 updates, 256 real images a class, images from real ones, their learning rate 1 (on CIFAR-10 with 100
images a class or more 10) and momentum 0.5, DSA's augmentation in matching and evaluation. Here no set whose mirror
images are other ones is mirrored, which the program's default does with digits too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from empirical.data.augmentation import SiameseAugmentation, default_strategy, parse_strategy
from empirical.data.datasets import Dataset
from empirical.distillation.loop import distil
from empirical.distribution_matching.method import DistributionMatching
from empirical.experiment import families
from empirical.experiment.experiment import Experiment, correction_of
from empirical.experiment.families import Family, Method, Work, along_the_run, evaluations_along
from empirical.experiment.gradient_matching import SECOND_ORDER
from empirical.gradient_matching.class_gradients import Execution
from empirical.gradient_matching.class_gradients import Strategy as GradientStrategy
from empirical.networks.cost import Cost
from empirical.settings.presets import distribution_matching, presets, table_name
from empirical.settings.settings import Distilled, Resolved, Settings, narrowed
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records.roles import OTHER


@dataclass(frozen=True, kw_only=True)
class DistributionMatchingSettings(Distilled):
    """Resolved: an iteration is an update."""

    @property
    def updates(self) -> int:
        """Of the synthetic images in a run."""
        return self.iterations


class DistributionMatchingFamily(Family):
    """See the module."""

    name = OTHER
    tags = frozenset({"set", "distilled", "embedding"})
    resolved = DistributionMatchingSettings

    def preset(self, method: Method, settings: Settings, preset: str) -> dict[str, Any]:
        """That of gradient matching, with as many updates as distribution matching takes."""
        return {**super().preset(method, settings, preset), **distribution_matching(preset)}

    def check(self, method: Method, settings: Settings) -> None:
        """What needs gradients of single real images."""
        if settings.hard_threshold is not None:
            raise ValueError(f"--hard-threshold needs gradients of real images, which {method.name} does not take")

    def notes(self, settings: Resolved) -> list[str]:
        """A run as long as one of gradient matching, which is what a sweep's preset says."""
        usual, others = distribution_matching(settings.preset)["iterations"], presets()[settings.preset]["iterations"]
        if settings.iterations != others or settings.iterations == usual:
            return []
        told = (
            f"{settings.method} makes {settings.iterations} updates here, as many as the preset {settings.preset} "
            f"gives gradient matching; its own number is --iterations {usual}"
        )
        return [told]

    def resolve(self, method: Method, settings: Settings, dataset: Dataset) -> dict[str, Any]:
        """As published."""
        strategy = SiameseAugmentation(default_strategy(dataset.flip)).name
        many = table_name(settings.dataset) == "cifar10" and settings.ipc >= 100
        return {
            "augmentation": strategy if settings.augmentation is None else settings.augmentation,
            "initialisation": settings.initialisation or "real",
            "learning_rate": settings.learning_rate or (10.0 if many else 1.0),
            **along_the_run(settings, settings.iterations),
        }

    def work(self, settings: Resolved, dataset: Dataset, image: Cost) -> Work:
        """Real images forward alone; synthetic ones there and back, and their gradient norm or its derivative."""
        own = narrowed(settings, DistributionMatchingSettings)
        synthetic = dataset.classes * own.ipc
        real = sum(min(own.batch_real, size) for size in dataset.train.class_sizes)
        norm = SECOND_ORDER if "correction" in own.tags else 1
        parts = {
            "real features": float(own.updates * real * 2 * image.multiply_adds),
            "synthetic features": float(own.updates * synthetic * image.training_flop),
            "gradient norms": float(own.updates * synthetic * image.training_flop * norm),
        }
        return Work(parts, evaluations_along(own, own.updates), own.updates)

    def make(self, experiment: Experiment) -> SyntheticSet:
        """One distillation."""
        settings = narrowed(experiment.settings, DistributionMatchingSettings)
        strategy = parse_strategy(settings.augmentation)
        matching = DistributionMatching(
            experiment.dataset,
            experiment.network(),
            settings.updates,
            settings.batch_real,
            correction_of(settings),
            SiameseAugmentation(strategy) if strategy else None,
            Execution(cast(GradientStrategy, settings.strategy), memory=int(settings.memory_budget * 1e9)),
        )
        steps = {"images": experiment.image_step(settings.learning_rate)}
        start = experiment.start(settings.initialisation)
        return distil(experiment.distillation(matching, start, steps, experiment.probes()))


FAMILY = DistributionMatchingFamily()

families.register(Method("dm", FAMILY, "distribution matching (Zhao & Bilen, WACV 2023)"))
