"""Typed settings of an experiment: what may be typed, what a preset fills in, and what the published tables
say.

Settings that are None are "as published": `resolve` fills them in from the method, the data set and the
number of images a class, so that a run's record has no gap. Presets and published coefficients are data, in
`presets.toml`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from empirical import networks
from empirical.checks import check, nearest
from empirical.data import registry
from empirical.data.augmentation import SiameseAugmentation, default_strategy, parse_strategy
from empirical.data.datasets import Dataset
from empirical.evaluation import CONDENSATION, published_protocol
from empirical.gradient_matching.methods import METHODS
from empirical.gradient_matching.schedule import PUBLISHED_WARM_UP, loop_lengths
from empirical.trajectory_matching import settings as trajectories
from empirical.trajectory_matching.settings import TrajectorySettings

PUBLISHED = "published"
"""What `--sdc` without a number asks for."""
PUBLISHED_HOLD_OUT = 0.02
"""Share of the training images that chooses among the evaluation points of trajectory matching."""


@dataclass(frozen=True)
class Settings:
    """One experiment.

    Attributes:
        method: dc, dsa, dcc or dsac (gradient matching); mtt, ftd, tesla or datm (trajectory matching);
            or a coreset: random, herding, forgetting; or whole, the whole training
            set.
        dataset: digits (bundled), mnist, fashion-mnist, svhn, cifar10, cifar100, tiny-imagenet, or PREFIX of
            a pair of files PREFIX_train.npz and PREFIX_test.npz.
        ipc: synthetic images a class.
        preset: table1, published or laptop; digits take laptop and other data sets published if it is not
            given.
        sdc: lambda of the sample difficulty correction; without a number the published one of this method,
            data set and ipc.
        asdc: start and end of lambda that grows along the run.
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
        whole_epochs: epochs on the whole training set.
        whole_batch: images a step of them.
        feature_epochs: epochs of the network that herding takes features from.
        forgetting_epochs: epochs over which forgetting is counted.
        forgetting_keep: highest or lowest scores.
        compare: also evaluate random images, the whole training set and, where no correction is asked for,
            the same run with it; on for digits.
        probe_every: updates between two measurements of difficulty on fixed probe networks; 0 for none; a
            tenth of the run if not given.
        validation: share of each class held out of the training images, the same images for every seed.
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
        trajectory: what only trajectory matching needs.

    """

    method: str = "dsa"
    dataset: str = registry.DEFAULT
    ipc: int = 1
    preset: str = "laptop"
    sdc: float | Literal["published"] | None = None
    asdc: tuple[float, float] | None = None
    asdc_steps: int | None = None
    asdc_shape: str = "geometric"
    sdc_power: int = 1
    sdc_over_classes: str = "sum"
    sdc_parameters: str = "all"
    sdc_reduction: str = "batch"
    hard_threshold: float | None = None
    seed: int = 0
    repetitions: int = 1
    iterations: int = 1000
    matching_steps: int | None = None
    network_epochs: int | None = None
    batch_real: int = 256
    network_rate: float = 0.01
    learning_rate: float | None = None
    momentum: float = 0.5
    initialisation: str | None = None
    distance: str = "layerwise"
    warm_up_iterations: int = PUBLISHED_WARM_UP.iterations
    warm_up_steps: int = PUBLISHED_WARM_UP.steps
    augmentation: str | None = None
    network: str = "convnet"
    width: int | None = None
    depth: int | None = None
    activation: str | None = None
    norm: str | None = None
    pooling: str | None = None
    eval_networks: int = 20
    eval_epochs: int | None = None
    eval_batch: int = 256
    eval_augmentation: str | None = None
    whole_epochs: int = 50
    whole_batch: int = 256
    feature_epochs: int = 10
    forgetting_epochs: int = 50
    forgetting_keep: str = "highest"
    compare: bool = False
    probe_every: int | None = None
    validation: float = 0.0
    train_images: int | None = None
    data_root: Path | None = None
    download: bool = False
    device: str = "auto"
    strategy: str = "auto"
    compiled: str = "auto"
    bfloat16: bool = False
    tf32: bool = False
    memory_budget: float = 4.0
    out: Path | None = None
    resume: bool = False
    dry_run: bool = False
    quiet: bool = False
    trajectory: Annotated[TrajectorySettings, tyro.conf.arg(name="")] = field(
        default_factory=TrajectorySettings
    )

    @property
    def variant(self) -> dict[str, Any]:
        """The network's variant, as far as it is given."""
        given = {name: getattr(self, name) for name in ("width", "depth", "activation", "norm", "pooling")}
        return {name: value for name, value in given.items() if value is not None}


NOT_IDENTITY = (
    *(
        "resume",
        "dry_run",
        "quiet",
        "out",
        "device",
        "data_root",
        "download",
        "compare",
        "repetitions",
        "preset",
    ),
    *("eval_networks", "eval_epochs", "eval_batch", "eval_augmentation", "whole_epochs", "whole_batch"),
    "memory_budget",
)
"""Settings that a resumed run may have otherwise: they do not change the synthetic set."""


def identity(settings: Settings) -> dict[str, Any]:
    """What makes two runs the same run."""
    values = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in NOT_IDENTITY}
    trajectory = values.pop("trajectory")
    if settings.method in trajectories.METHODS:
        own = {k: v for k, v in vars(trajectory).items() if k not in ("make_experts", "experts")}
        values.update({f"trajectory {k}": v for k, v in own.items()})
    return values


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))


def presets() -> dict[str, dict[str, Any]]:
    """Name -> its settings and `description`."""
    return dict(_tables()["presets"])


def with_preset(settings: Settings, preset: str | None) -> Settings:
    """The settings with a preset's values; by default laptop for the bundled digits, published for all
    others. A preset's width is that of a ConvNet: another network is never made wider than it is published.

    Raises:
        ValueError: no such preset, or no such network.

    """
    spec = registry.find(settings.dataset)
    small = spec is not None and spec.name == registry.DEFAULT
    name = preset or ("laptop" if small else "published")
    if name not in presets():
        raise nearest("preset", name, presets())
    values = {key: value for key, value in presets()[name].items() if key != "description"}
    if settings.method in trajectories.METHODS:
        kept = {k: v for k, v in values.items() if k in ("width", "repetitions")}
        own = trajectories.run_values(settings.method, table_name(settings.dataset), settings.ipc, name)
        values = {"validation": PUBLISHED_HOLD_OUT, **kept, **own}
        if table_name(settings.dataset) == "tiny-imagenet" and name != "laptop":
            values["network"] = "convnetd4"
    own_width = networks.variants(settings.network).get("width")
    values["width"] = min(values["width"], own_width) if isinstance(own_width, int) else None
    return replace(settings, preset=name, compare=small, **values)


def table_name(dataset: str) -> str:
    """The published name of a data set, also of a file pair that bears it; else the name itself."""
    spec = registry.find(dataset) or registry.find(Path(dataset).name)
    return spec.name if spec else dataset


def published_coefficient(dataset: str, method: str, ipc: int) -> tuple[float, str]:
    """Lambda for a cell, and a sentence on where it comes from."""
    tables = _tables()["coefficients"]
    name = table_name(dataset)
    cell = tables.get(name, {}) if isinstance(tables.get(name), dict) else {}
    found = cell.get(method, {}).get(str(ipc))
    if method in trajectories.METHODS:
        found = trajectories.published_lambda(method, name, ipc)
    if found is not None:
        return found, f"lambda {found:g}: published for {method} on {name}, {ipc} a class"
    value = tables["otherwise"]
    return (
        value,
        f"lambda {value:g}: none is published for {method} on {name}, {ipc} a class; the usual value",
    )


def _resolved_trajectory(settings: Settings, dataset: Dataset) -> Settings:
    name, method = table_name(settings.dataset), settings.method
    row = trajectories.run_values(method, name, settings.ipc, settings.preset)
    strategy = default_strategy(dataset.flip)
    sdc = settings.sdc
    if sdc == PUBLISHED:
        sdc = published_coefficient(settings.dataset, method, settings.ipc)[0]
    learned = trajectories.METHODS[method].labels == "learned"
    probe_every = max(1, settings.iterations // 10) if settings.probe_every is None else settings.probe_every
    return replace(
        settings,
        trajectory=trajectories.filled(
            settings.trajectory, method, name, settings.ipc, settings.preset, len(dataset.train)
        ),
        augmentation=SiameseAugmentation(strategy).name if settings.augmentation is None else settings.augmentation,
        initialisation=settings.initialisation or row.get("initialisation", "selected" if learned else "real"),
        learning_rate=settings.learning_rate or row["learning_rate"],
        sdc=sdc,
        asdc_steps=settings.asdc_steps or settings.iterations,
        probe_every=probe_every,
    )


def resolve(settings: Settings, dataset: Dataset) -> Settings:
    """Fills in everything that follows from method, data set and images a class.

    Raises:
        ValueError: as `check`.

    """
    check(settings)
    method = METHODS.get(settings.method)
    strategy = ""
    filled = settings
    if settings.method in trajectories.METHODS:
        filled = _resolved_trajectory(settings, dataset)
        strategy = filled.augmentation or ""
    if method is not None:
        steps, epochs = loop_lengths(
            method.contrastive, settings.ipc, settings.matching_steps, settings.network_epochs
        )
        own = default_strategy(dataset.flip) if method.augmented else ()
        strategy = (
            settings.augmentation if settings.augmentation is not None else SiameseAugmentation(own).name
        )
        sdc = settings.sdc
        if sdc == PUBLISHED:
            sdc = published_coefficient(settings.dataset, settings.method, settings.ipc)[0]
        filled = replace(
            settings,
            matching_steps=steps,
            network_epochs=epochs,
            augmentation=strategy,
            initialisation=settings.initialisation or method.initialisation,
            learning_rate=settings.learning_rate or (0.01 if settings.network == "mlp" else 0.1),
            sdc=sdc,
            asdc_steps=settings.asdc_steps or settings.iterations * steps,
        )
        if filled.probe_every is None:
            filled = replace(filled, probe_every=max(1, settings.iterations * steps // 10))
    protocol = published_protocol(table_name(settings.dataset), parse_strategy(strategy))
    augmentation = settings.eval_augmentation or protocol.augmentation
    return replace(
        filled,
        eval_epochs=protocol.epochs if settings.eval_epochs is None else settings.eval_epochs,
        eval_augmentation=CONDENSATION if augmentation == "condensation" else augmentation,
    )
