"""Typed settings of an experiment: what may be typed, with what each setting counts for.

Settings that are None are "as published": `empirical.experiment.resolve` fills them in from the method, the data set
and the number of images a class, so that a run's record has no gap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from empirical.data import registry
from empirical.gradient_matching.distances import DISTANCES
from empirical.gradient_matching.schedule import PUBLISHED_WARM_UP
from empirical.selection.scores import MEASURES, SCORED
from empirical.settings.roles import COUNT, setting
from empirical.settings.trajectory import TrajectorySettings

PUBLISHED = "published"
"""What `--sdc` without a number asks for."""
NETWORK_VARIANT = ("width", "depth", "activation", "norm", "pooling")
"""Settings of the network that are handed on to it."""

_LEARNT = ("distilled",)
_GRADIENT = ("gradient",)
_REAL = ("gradient", "embedding")
_CORRECTION = ("correction", "comparison")  # a comparison adds the corrected run
_SCHEDULE = ("schedule",)
_SET = ("set",)
_SCORED = ("scored",)
_WHOLE = ("whole", "comparison")


@dataclass(frozen=True)
class Settings:
    """One experiment.

    Attributes:
        method: dc, dsa, dcc or dsac (gradient matching); dm (distribution matching); mtt, ftd, tesla or datm
            (trajectory matching); or a coreset: random, herding, forgetting, easiest, hardest, window; or whole, the
            whole training set; or one that a plugin registers.
        dataset: digits (bundled), mnist, fashion-mnist, svhn, cifar10, cifar100, tiny-imagenet, or PREFIX of
            a pair of files PREFIX_train.npz and PREFIX_test.npz, or a folder with train/CLASS and test/CLASS of
            pictures. What has a separator or starts with . or ~ is a path (./mnist is your own); a path that ends in
            a known name takes its published settings.
        ipc: synthetic images a class.
        preset: table1, published or laptop; digits take laptop and other data sets published if it is not
            given. In trajectory matching published holds 2 % of the training images out, from the experts too, which
            the published runs do not: --validation 0.
        sdc: lambda of the sample difficulty correction; without a number the published one of this method,
            data set and ipc.
        asdc: start and end of lambda that grows along the run.
        sdc_pull: the correction by its pull instead of its lambda: |image gradient of the correction| over |that of
            the matching loss|, as measured at the start (before the first update), from which lambda follows and is
            held; comparable across methods and data sets, as lambda is not. Below 0 prefers hard samples.
        asdc_pull: start and end of a pull that grows along the run, in the same way.
        asdc_steps: updates of the images over which it grows; all of the run's if not given.
        asdc_shape: geometric (straight in log lambda) or concave.
        sdc_power: 1 for the gradient norm, 2 for its square.
        sdc_over_classes: sum or mean of the norms of the classes.
        sdc_parameters: all as one vector, weights_only, or sum_of_layers.
        sdc_reduction: batch (norm of the mean gradient) or per_sample (mean of the images' norms).
        hard_threshold: keep only real images whose gradient norm is at most this.
        seed: of everything random.
        repetitions: distillations, with seeds seed, seed + 1, ...
        iterations: outer iterations, each with a fresh network; updates of the images in trajectory matching.
        matching_steps: updates of the images an outer iteration.
        network_epochs: epochs of network training between two updates.
        batch_real: real images a class and update.
        network_rate: learning rate of the network training.
        learning_rate: of the images.
        momentum: of the images.
        initialisation: noise or real; selected (by the experts) for datm.
        distance: layerwise, mse or cosine.
        warm_up_iterations: outer iterations before the contrastive form is used throughout.
        warm_up_steps: matching steps of an outer iteration from which on it is used in any case.
        augmentation: none, or operations such as color_crop_cutout_flip_scale_rotate, for matching and
            training.
        network: of matching and evaluation; see empirical.networks.
        width: of the network.
        depth: of the network.
        activation: of the network.
        norm: of the network.
        pooling: of the network.
        eval_networks: fresh networks that a set is evaluated on.
        eval_epochs: their training epochs E (E + 1 are run).
        eval_batch: images a step of their training.
        eval_augmentation: none, operations, or condensation (DC's own, used on MNIST).
        eval_along: updates between two evaluations on the way (trajectory matching has --eval-it); 0: at the end alone.
            Each trains --eval-networks networks.
        whole_epochs: epochs on the whole training set.
        whole_batch: images a step of them.
        feature_epochs: epochs of the network that herding takes features from.
        forgetting_epochs: epochs over which forgetting is counted.
        forgetting_keep: highest or lowest scores.
        by: what difficulty easiest, hardest and window go by: gradn, el2n, misclassification, loss or margin.
        keep: kept fraction of the pool: 0.2 at ten images a class ranks fifty random ones of each class. All of the
            training images are ranked if not given.
        window_start: of a window, the share of the pool that is easier than all of it; in the middle if not given.
        over_all: rank all classes together; a class then gets as many as fall to it.
        scored: crossed (each image by networks that did not learn it), in-sample (by networks that did), held-out (by
            networks that learnt another half, which is not chosen from).
        score_networks: networks that judge difficulty; few, trained briefly, are a poor probe on purpose.
        score_epochs: their training.
        score_network: their architecture; that of --network if not given.
        scores: folder of the scores, which all runs share; scores/ if not given.
        compare: also evaluate random images, the whole training set and, where no correction is asked for,
            the same run with it; on for digits.
        probe_every: updates between two measurements of difficulty on fixed probe networks; 0 for none; a
            tenth of the run if not given.
        validation: share of each class held out of the training images, the same images for every seed; 0.02 in
            trajectory matching (0.1 in its laptop preset), where it chooses among the evaluation points.
        train_images: training images used, each class in its proportion, the same for every seed; all if not given.
        data_root: folder of the data files.
        download: fetch missing data.
        device: auto, cpu, cuda, cuda:1, ...
        strategy: of the class gradients: auto, loop, vmap or grouped.
        compiled: compile the passes without a graph: on, off, or auto (for long runs on a CPU).
        bfloat16: mixed precision on the real side only.
        tf32: let a GPU round products to TF32.
        memory_budget: GB that intermediate results may take.
        out: folder of the run.
        resume: go on with the run in that folder.
        dry_run: print settings and cost, and stop.
        quiet: no progress.
        plugin: a Python file that registers methods, networks, data sets or augmentations; may be given several times.
        trajectory: what only trajectory matching needs.

    """

    method: str = setting("dsa", axis=True)
    dataset: str = setting(registry.DEFAULT, axis=True)
    ipc: int = setting(1, axis=True, read_by=_SET, least=1, most=COUNT)
    preset: str = setting("laptop", makes=False, axis=True, compared=True)
    sdc: float | Literal["published"] | None = setting(None, axis=True, compared=True)
    asdc: tuple[float, float] | None = setting(None, compared=True)
    sdc_pull: float | None = setting(None, makes="changed", axis=True, compared=True)
    asdc_pull: tuple[float, float] | None = setting(None, makes="changed", compared=True)
    asdc_steps: int | None = setting(None, compared=True, read_by=_LEARNT, needs=_SCHEDULE, least=1, most=COUNT)
    asdc_shape: str = setting(
        "geometric", compared=True, read_by=_LEARNT, needs=_SCHEDULE, choices=("geometric", "concave")
    )
    sdc_power: int = setting(1, read_by=_LEARNT, needs=_CORRECTION)
    sdc_over_classes: str = setting("sum", read_by=_LEARNT, needs=_CORRECTION, choices=("sum", "mean"))
    sdc_parameters: str = setting(
        "all", read_by=_LEARNT, needs=_CORRECTION, choices=("all", "weights_only", "sum_of_layers")
    )
    sdc_reduction: str = setting("batch", read_by=_LEARNT, needs=_CORRECTION, choices=("batch", "per_sample"))
    hard_threshold: float | None = setting(None, read_by=_GRADIENT)
    seed: int = setting(0, axis=True, compared=True)
    repetitions: int = setting(1, makes=False, axis=True, compared=True, least=1, most=COUNT)
    iterations: int = setting(1000, read_by=_LEARNT, least=1, most=COUNT)
    matching_steps: int | None = setting(None, read_by=_GRADIENT, least=1, most=COUNT)
    network_epochs: int | None = setting(None, read_by=_GRADIENT, least=0, most=COUNT)
    batch_real: int = setting(256, read_by=_REAL, least=1, most=COUNT)
    network_rate: float = setting(0.01, read_by=_GRADIENT, above=0.0)
    learning_rate: float | None = setting(None, read_by=_LEARNT, above=0.0)
    momentum: float = setting(0.5, read_by=_LEARNT, least=0.0, below=1.0)
    initialisation: str | None = setting(None, read_by=_LEARNT, choices=("noise", "real", "selected"))
    distance: str = setting("layerwise", read_by=_GRADIENT, choices=tuple(DISTANCES))
    warm_up_iterations: int = setting(PUBLISHED_WARM_UP.iterations, read_by=("contrastive",), least=0, most=COUNT)
    warm_up_steps: int = setting(PUBLISHED_WARM_UP.steps, read_by=("contrastive",), least=0, most=COUNT)
    augmentation: str | None = setting(None, read_by=_LEARNT)
    network: str = setting("convnet")
    width: int | None = setting(None, least=1, most=16_384)
    depth: int | None = setting(None, least=1, most=64)
    activation: str | None = setting(None)
    norm: str | None = setting(None)
    pooling: str | None = setting(None)
    eval_networks: int = setting(20, makes=False, judges="always", least=1, most=COUNT)
    eval_epochs: int | None = setting(None, makes=False, judges="always", read_by=_SET, least=0, most=COUNT)
    eval_batch: int = setting(256, makes=False, judges="changed", read_by=_SET, least=1, most=COUNT)
    eval_augmentation: str | None = setting(None, makes=False, judges="always", read_by=_SET)
    eval_along: int = setting(0, makes="changed", compared=True, read_by=_REAL, least=0, most=COUNT)
    whole_epochs: int = setting(50, makes=False, judges="always", needs=_WHOLE, least=1, most=COUNT)
    whole_batch: int = setting(256, makes=False, judges="changed", needs=_WHOLE, least=1, most=COUNT)
    feature_epochs: int = setting(10, read_by=("features",), least=0, most=COUNT)
    forgetting_epochs: int = setting(50, read_by=("forgetting",), least=1, most=COUNT)
    forgetting_keep: str = setting("highest", read_by=("forgetting",), choices=("highest", "lowest"))
    by: str = setting("gradn", makes="changed", read_by=_SCORED, choices=MEASURES)
    keep: float | None = setting(None, makes="changed", read_by=_SCORED, above=0.0, most=1.0)
    window_start: float | None = setting(None, makes="changed", read_by=("window",), least=0.0, most=1.0)
    over_all: bool = setting(False, makes="changed", read_by=_SCORED)
    scored: str = setting("crossed", makes="changed", read_by=_SCORED, choices=SCORED)
    score_networks: int = setting(4, makes="changed", read_by=_SCORED, least=1, most=COUNT)
    score_epochs: int = setting(5, makes="changed", read_by=_SCORED, least=1, most=COUNT)
    score_network: str | None = setting(None, makes="changed", read_by=_SCORED)
    scores: Path | None = setting(None, makes=False, compared=True, read_by=_SCORED)
    compare: bool = setting(False, makes=False, axis=True, compared=True)
    probe_every: int | None = setting(None, compared=True, read_by=_LEARNT, least=0, most=COUNT)
    validation: float = setting(0.0)
    train_images: int | None = setting(None)
    data_root: Path | None = setting(None, makes=False, compared=True)
    download: bool = setting(False, makes=False, compared=True)
    device: str = setting("auto", makes=False, compared=True)
    strategy: str = setting(
        "auto", speed=True, compared=True, read_by=_REAL, choices=("auto", "loop", "vmap", "grouped")
    )
    compiled: str = setting("auto", speed=True, compared=True, read_by=_GRADIENT, choices=("auto", "on", "off"))
    bfloat16: bool = setting(False, read_by=_GRADIENT)
    tf32: bool = setting(False)
    memory_budget: float = setting(4.0, makes=False, compared=True, read_by=_REAL, above=0.0)
    out: Path | None = setting(None, makes=False, compared=True)
    resume: bool = setting(False, makes=False, axis=True, compared=True)
    dry_run: bool = setting(False, makes=False, compared=True)
    quiet: bool = setting(False, makes=False, compared=True)
    plugin: tyro.conf.UseAppendAction[tuple[Path, ...]] = setting((), makes=False, compared=True)
    trajectory: Annotated[TrajectorySettings, tyro.conf.arg(name="")] = field(default_factory=TrajectorySettings)

    @property
    def variant(self) -> dict[str, Any]:
        """The network's variant, as far as it is given."""
        given = {name: getattr(self, name) for name in NETWORK_VARIANT}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def by_pull(self) -> bool:
        """Whether the correction is given by its pull, so that lambda is measured first."""
        return self.sdc_pull is not None or self.asdc_pull is not None

    @property
    def tags(self) -> frozenset[str]:
        """What the settings themselves ask for: a correction, a schedule of it, a comparison."""
        found = {"comparison"} if self.compare else set()
        if self.asdc is not None or self.asdc_pull is not None:
            found |= {"correction", "schedule"}
        if self.sdc is not None or self.sdc_pull is not None:
            found.add("correction")
        return frozenset(found)


@dataclass(frozen=True, kw_only=True)
class Resolved(Settings):
    """Settings after `resolve`: what every method needs is there. A family of methods narrows more of them."""

    sdc: float | None = None
    eval_epochs: int
    eval_augmentation: str


@dataclass(frozen=True, kw_only=True)
class Distilled(Resolved):
    """Of every method that learns images."""

    asdc_steps: int
    learning_rate: float
    initialisation: str
    augmentation: str
    probe_every: int


Kind = TypeVar("Kind", bound=Resolved)


def narrowed(settings: Resolved, kind: type[Kind]) -> Kind:
    """Settings as their own family resolved them.

    Raises:
        TypeError: they are of another family.

    """
    if not isinstance(settings, kind):
        resolved = type(settings).__name__
        raise TypeError(f"{settings.method} has no {kind.__name__}: its settings are resolved as {resolved}")
    return settings
