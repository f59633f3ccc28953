"""Plain SGD on a set of images, one network or many at once: for evaluation, experts, coresets, inner loops.

    recipe = published(300)                     # 301 epochs, 152 of them at the full rate
    train(networks, Job(images, labels, recipe), generators)

Network i's shuffles and augmentations come from generators[i] alone, so training many at once equals training
them one by one, to rounding. Three ways to do it, chosen by device and architecture:

    stacked     parameters stacked along a new axis, one vectorised pass for all: on a GPU; on a CPU
                vectorised convolutions are slower than one by one, and linear layers no faster
    threads     one network a thread, the machine's threads shared out among them: convolutions on a CPU
    one by one  a single network; networks without convolutions on a CPU, whose steps are mostly Python;
                networks with batch norm on a GPU
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from empirical.networks import Functional
from empirical.networks.cost import Cost, measure
from empirical.runtime.threads import SMALL_FLOP, one_thread_if, shared_out
from empirical.training.gradient import BatchGradient, has_batch_norm

Strategy = Literal["auto", "stacked", "threads", "one by one"]
STRATEGIES: tuple[Strategy, ...] = ("auto", "stacked", "threads", "one by one")

COMPILE_FROM_FLOP = 30e12
"""Arithmetic of a call to `train` from which compiling (some ten seconds) pays on a CPU."""
STACK_BYTES = 8 << 30
"""Activations that networks stacked on a GPU may keep at once."""


class Augmentation(Protocol):
    """What `empirical.data.augmentation` offers: a draw is data, applying it is pure."""

    def draw(
        self,
        generator: Generator,
        size: tuple[int, int],
        groups: int = 1,
        images: int | None = None,
        device: torch.device | str | None = None,
    ) -> Any:
        """One operation and its parameters, for each of `images` images."""
        ...

    def apply(self, draw: Any, images: Tensor) -> Tensor:
        """Images [n, C, H, W] augmented by a draw."""
        ...


@dataclass(frozen=True)
class Recipe:
    """SGD settings.

    Attributes:
        epochs: passes over the set.
        learning_rate: its rate, times 0.1 after `full_rate_epochs` epochs (None: never), when the momentum
            starts anew.
        momentum: 0 for plain gradient descent.
        weight_decay: added to the gradient as weight_decay * parameter.
        batch: images a step; the whole set if it is smaller.

    """

    epochs: int
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch: int = 256
    full_rate_epochs: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch < 1:
            raise ValueError(f"epochs must be >= 0 and batch >= 1, got {self.epochs} and {self.batch}")
        if not self.learning_rate > 0:
            raise ValueError(f"the learning rate must be positive, got {self.learning_rate}")

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        dropped = self.full_rate_epochs is not None and epoch >= self.full_rate_epochs
        return self.learning_rate * (0.1 if dropped else 1.0)


def published(epochs: int, learning_rate: float = 0.01, batch: int = 256) -> Recipe:
    """The evaluation schedule of the published programs of DC and DSA for E = `epochs`.

    Epochs 0..E are run, so E + 1; the rate drops after epoch E // 2 + 1, with a new optimiser: 301 epochs
    and 152 at the full rate for E = 300, 1001 and 502 for E = 1000.
    """
    return Recipe(epochs + 1, learning_rate, batch=batch, full_rate_epochs=min(epochs // 2 + 2, epochs + 1))


def halved(epochs: int, learning_rate: float = 0.01, batch: int = 256) -> Recipe:
    """`epochs` epochs with the drop at half, for whole data sets and feature networks."""
    return Recipe(epochs, learning_rate, batch=batch, full_rate_epochs=(epochs + 1) // 2)


Observer = Callable[[int, Tensor, Tensor], None]
"""`observe(network, indices, logits)`: what network said of the images at `indices` in a training step."""
EpochHook = Callable[[int, int, Sequence[Tensor]], None]
"""`after_epoch(network, epoch, parameters)`: the parameters are live; copy what is to be kept."""
Progress = Callable[[int], None]
"""`progress(n)`: n more epochs of a network are done (epochs of several networks add up); from any thread."""


class Descent(Protocol):
    """What replaces the plain gradient in a step, such as sharpness-aware minimisation."""

    def __call__(
        self, gradients: Callable[[], list[Tensor]], parameters: Sequence[Tensor], leading: int
    ) -> list[Tensor]:
        """The direction of a step.

        Args:
            gradients: the batch's gradients at the parameters as they are when it is called.
            parameters: may be moved meanwhile, but are handed back as they were.
            leading: number of axes in front of a parameter's own: 1 for networks stacked along the first.

        """
        ...


@dataclass(frozen=True)
class Job:
    """What networks are trained on, how, and who looks on.

    Attributes:
        images: [n, C, H, W], network inputs; or anything that `prepare` turns into them batch by batch
            (uint8 with `dataset.normalise`).
        labels: class indices [n], or probabilities [n, classes].
        recipe: the SGD settings.
        augmentation: one draw a batch, parameters independent for each image.
        prepare: see `images`.
        observe: sees every training step's logits; not for stacked networks.
        after_epoch: called for each network after each epoch.
        progress: told how many epochs of how many networks were just done.
        descent: makes a step's direction from the gradients; None: the gradient itself.

    Raises:
        ValueError: numbers of images and labels differ, or no images.

    """

    images: Tensor
    labels: Tensor
    recipe: Recipe
    augmentation: Augmentation | None = None
    prepare: Callable[[Tensor], Tensor] | None = None
    observe: Observer | None = None
    after_epoch: EpochHook | None = None
    progress: Progress | None = None
    descent: Descent | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels) or not len(self.images):
            raise ValueError(f"{len(self.images)} images and {len(self.labels)} labels; as many of both are needed")

    def direction(
        self, gradients: Callable[[], list[Tensor]], parameters: Sequence[Tensor], leading: int = 0
    ) -> list[Tensor]:
        """What a step follows: the gradients, or what the descent makes of them."""
        return gradients() if self.descent is None else self.descent(gradients, parameters, leading)

    def order(self, generator: Generator) -> Tensor:
        """One epoch's order of the images, [n]; unshuffled where one batch holds all."""
        count = len(self.images)
        if count <= self.recipe.batch:
            return torch.arange(count)
        return torch.randperm(count, generator=generator, device=generator.device)

    def inputs(self, images: Tensor, generator: Generator) -> Tensor:
        """Network inputs of a batch: prepared, then augmented by one draw."""
        images = self.prepare(images) if self.prepare else images
        if self.augmentation is None:
            return images
        size = (images.shape[-2], images.shape[-1])
        draw = self.augmentation.draw(generator, size, images=len(images), device=images.device)
        return self.augmentation.apply(draw, images)


def train(
    networks: Sequence[nn.Module],
    job: Job,
    generators: Sequence[Generator],
    *,
    strategy: Strategy = "auto",
    compiled: bool | None = None,
    threads_each: int | None = None,
) -> None:
    """Train networks of one architecture in place, all on the same set; they end in evaluation mode.

    Args:
        networks: on the device of the images; batch norm, if any, is in training mode meanwhile.
        job: the set, the recipe, and who looks on.
        generators: one a network: its shuffles and augmentation draws.
        strategy: how to run many; see the module. Results agree to rounding.
        compiled: compile the pass on a CPU; None: if the arithmetic is worth it.
        threads_each: arithmetic threads of each network under "threads"; None: its share. 1: same bits on any number.

    Raises:
        ValueError: numbers of networks and generators differ; a strategy is unknown or cannot do what is asked.

    """
    if len(networks) != len(generators):
        raise ValueError(f"{len(networks)} networks need as many generators, got {len(generators)}")
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {strategy!r}; valid: {', '.join(STRATEGIES)}")
    if not networks:
        return
    if strategy == "stacked" and (job.observe is not None or has_batch_norm(networks[0])):
        raise ValueError("networks with batch norm, or observed step by step, cannot be stacked")
    images, recipe = job.images, job.recipe
    for network in networks:
        network.train()
    chosen = choose(networks, images.device, job.observe) if strategy == "auto" else strategy
    channels, height, width = images.shape[1:]
    cost = measure(networks[0], (channels, height, width))
    on_cpu = images.device.type == "cpu"
    step = cost.training_flop * min(len(images), recipe.batch)
    if chosen == "stacked":
        with one_thread_if(on_cpu and step * len(networks) < SMALL_FLOP):
            _train_stacked(networks, generators, job, cost)
    else:
        if compiled is None:
            work = cost.training_flop * len(images) * recipe.epochs * len(networks)
            compiled = on_cpu and work >= COMPILE_FROM_FLOP
        gradient = BatchGradient(networks[0], (channels, height, width), compiled)
        if chosen == "threads":
            _train_threads(networks, generators, job, gradient, threads_each)
        else:
            with one_thread_if(on_cpu and step < SMALL_FLOP):
                for index, network in enumerate(networks):
                    _train_one(index, network, generators[index], job, gradient)
    for network in networks:
        network.eval()


def choose(networks: Sequence[nn.Module], device: torch.device, observe: Observer | None = None) -> Strategy:
    """The fastest way to train these networks on this device."""
    if len(networks) == 1:
        return "one by one"
    if device.type != "cpu":
        return "stacked" if observe is None and not has_batch_norm(networks[0]) else "one by one"
    convolutions = any(isinstance(module, nn.Conv2d) for module in networks[0].modules())
    return "threads" if convolutions else "one by one"


def sgd_step(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    buffers: list[Tensor] | None,
    rate: float,
    recipe: Recipe,
) -> list[Tensor] | None:
    """One step of SGD in place, as the framework's optimiser does it; returns the momentum buffers."""
    with torch.no_grad():
        steps = list(gradients)
        if recipe.weight_decay:
            steps = list(torch._foreach_add(steps, list(parameters), alpha=recipe.weight_decay))
        if recipe.momentum:
            if buffers is None:
                buffers = [step.clone() for step in steps]
            else:
                torch._foreach_mul_(buffers, recipe.momentum)
                torch._foreach_add_(buffers, steps)
            steps = buffers
        torch._foreach_add_(list(parameters), steps, alpha=-rate)
    return buffers


def _train_one(
    index: int,
    network: nn.Module,
    generator: Generator,
    job: Job,
    gradient: BatchGradient,
    stopped: threading.Event | None = None,
) -> None:
    parameters = [p for p in network.parameters() if p.requires_grad]
    buffers: list[Tensor] | None = None
    for epoch in range(job.recipe.epochs):
        if stopped is not None and stopped.is_set():
            return
        if epoch == job.recipe.full_rate_epochs:
            buffers = None
        order = job.order(generator).to(job.images.device, non_blocking=True)
        for indices in order.split(job.recipe.batch):
            whole = len(indices) == len(job.images)
            images = job.images if whole else job.images[indices]
            labels = job.labels if whole else job.labels[indices]
            seen: list[Tensor] = []
            inputs = job.inputs(images, generator)

            def gradients(inputs: Tensor = inputs, labels: Tensor = labels, seen: list[Tensor] = seen) -> list[Tensor]:
                found, logits = gradient(network, inputs, labels)
                seen.append(logits)
                return found

            direction = job.direction(gradients, parameters)
            if job.observe is not None:
                job.observe(index, indices, seen[0])
            buffers = sgd_step(parameters, direction, buffers, job.recipe.rate(epoch), job.recipe)
        if job.after_epoch is not None:
            job.after_epoch(index, epoch, parameters)
        if job.progress is not None:
            job.progress(1)


def _train_threads(
    networks: Sequence[nn.Module],
    generators: Sequence[Generator],
    job: Job,
    gradient: BatchGradient,
    threads_each: int | None,
) -> None:
    """Each network whole in one thread; the numbers of a network do not depend on the others."""
    stopped = threading.Event()

    def work(index: int) -> None:
        _train_one(index, networks[index], generators[index], job, gradient, stopped)

    with (
        shared_out(len(networks), threads_each) as (workers, set_share),
        ThreadPoolExecutor(workers, initializer=set_share) as pool,
    ):
        if gradient.compiled:
            _compile_first(networks[0], job, gradient)
        try:
            list(pool.map(work, range(len(networks))))
        except BaseException:
            stopped.set()
            raise


def _compile_first(network: nn.Module, job: Job, gradient: BatchGradient) -> None:
    """One gradient of each batch size, so that threads do not compile the same pass side by side."""
    count, batch = len(job.images), job.recipe.batch
    for size in {min(count, batch), count % batch} - {0}:
        images = job.images[:size]
        gradient(network, job.prepare(images) if job.prepare else images, job.labels[:size])


def _train_stacked(networks: Sequence[nn.Module], generators: Sequence[Generator], job: Job, cost: Cost) -> None:
    """Parameters [K, ...]; as many networks at a time as the memory holds."""
    kept = cost.outputs * min(len(job.images), job.recipe.batch)
    size = next(networks[0].parameters()).element_size()
    at_once = max(1, STACK_BYTES // (2 * kept * size))
    for start in range(0, len(networks), at_once):
        _train_stack(networks[start : start + at_once], generators[start : start + at_once], job, start)


def _train_stack(networks: Sequence[nn.Module], generators: Sequence[Generator], job: Job, first: int) -> None:
    functional = Functional(networks[0])
    rows = zip(*(network.parameters() for network in networks), strict=True)
    parameters = [torch.stack([p.detach() for p in row]).requires_grad_() for row in rows]
    buffers: list[Tensor] | None = None
    for epoch in range(job.recipe.epochs):
        if epoch == job.recipe.full_rate_epochs:
            buffers = None
        for images, labels in _stacked_batches(generators, job):

            def gradients(images: Tensor = images, labels: Tensor = labels) -> list[Tensor]:
                logits = functional.many(parameters, images)
                loss = cross_entropy(logits.flatten(0, 1), labels.flatten(0, 1), reduction="sum")
                return list(torch.autograd.grad(loss / images.shape[1], parameters))

            direction = job.direction(gradients, parameters, leading=1)
            buffers = sgd_step(parameters, direction, buffers, job.recipe.rate(epoch), job.recipe)
        if job.after_epoch is not None:
            for index in range(len(networks)):
                job.after_epoch(first + index, epoch, [p[index].detach() for p in parameters])
        if job.progress is not None:
            job.progress(len(networks))
    with torch.no_grad():
        for index, network in enumerate(networks):
            for p, stacked in zip(network.parameters(), parameters, strict=True):
                p.copy_(stacked[index])


def _stacked_batches(generators: Sequence[Generator], job: Job) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: images [K, b, C, H, W] and labels [K, b] or [K, b, classes]."""
    orders = torch.stack([job.order(generator) for generator in generators])
    orders = orders.to(job.images.device, non_blocking=True)
    for indices in orders.split(job.recipe.batch, dim=1):
        batches = [
            job.inputs(job.images[row], generator) for row, generator in zip(indices, generators, strict=True)
        ]
        yield torch.stack(batches), job.labels[indices]
