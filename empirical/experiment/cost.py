"""What an experiment will cost: arithmetic by part, memory, and the time it takes at this device's measured
speed.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from empirical.data.datasets import Dataset
from empirical.experiment.experts import TrajectoryMatchingSettings, expert_kind
from empirical.experiment.families import family_of, method_named
from empirical.experiment.gradient_matching import graph_bytes
from empirical.gradient_matching.class_gradients import Execution, joint_gradient
from empirical.networks.cost import measure
from empirical.runtime.memory import free_bytes
from empirical.settings.settings import Resolved

LONG = 600.0
"""Seconds from which a run says beforehand what is smaller, and experts are not made unasked."""
TIMED_IMAGES = 64
TIMED_SECONDS = 0.5


@dataclass(frozen=True)
class Estimate:
    """Arithmetic of each part in floating-point operations, and memory in bytes."""

    flop: Mapping[str, float]
    memory: float

    @property
    def total(self) -> float:
        """All arithmetic."""
        return sum(self.flop.values())

    def seconds(self, flop_per_second: float) -> dict[str, float]:
        """Time of each part."""
        return {part: flop / flop_per_second for part, flop in self.flop.items()}


def estimate(
    settings: Resolved, dataset: Dataset, network: nn.Module, distillations: int, compared: bool, experts: int = 0
) -> Estimate:
    """Of a whole experiment.

    Args:
        settings: resolved.
        dataset: the real data.
        network: the architecture.
        distillations: how many sets are distilled (or chosen) and evaluated.
        compared: whether random images and the whole training set are evaluated too.
        experts: how many are still to be trained.

    """
    image, makes = measure(network, dataset.shape), "set" in method_named(settings.method).tags
    synthetic = dataset.classes * settings.ipc
    testing = 2 * image.multiply_adds * len(dataset.test)
    work = family_of(settings).work(settings, dataset, image)
    parts = {name: distillations * flop for name, flop in work.flop.items()}
    if isinstance(settings, TrajectoryMatchingSettings):
        gradients = 2 if expert_kind(settings.method) == "flat" else 1
        trained = gradients * experts * settings.trajectory.expert_training_epochs * len(dataset.train)
        parts["experts"] = float(trained * image.training_flop)
    if makes:
        evaluated = distillations * (1 + work.evaluations) + (1 if compared else 0)
        each = (settings.eval_epochs + 1) * synthetic * image.training_flop + testing
        parts["evaluation"] = evaluated * settings.eval_networks * each
    if compared or not makes:
        whole = settings.whole_epochs * len(dataset.train) * image.training_flop + testing
        parts["whole data"] = settings.eval_networks * whole
    size = 4
    data = dataset.train.images.numel() + dataset.test.images.numel()
    graph = min(settings.memory_budget * 1e9, synthetic * graph_bytes(image))
    batches = dataset.classes * settings.batch_real * dataset.train.images[0].numel() * size * 3
    return Estimate({k: v for k, v in parts.items() if v}, data + graph + batches)


def speed(network: nn.Module, dataset: Dataset) -> float:
    """Floating-point operations a second that this device reaches on real gradients of this network;
    measured.
    """
    images = dataset.normalise(dataset.train.images[:TIMED_IMAGES])
    labels = dataset.train.labels[:TIMED_IMAGES]
    flop = len(images) * measure(network, dataset.shape).training_flop

    def once() -> float:
        begun = time.perf_counter()
        joint_gradient(network, images[None], labels[None], False, execution=Execution("loop"))
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        return time.perf_counter() - begun

    times = [once()]
    while sum(times) < TIMED_SECONDS or len(times) < 4:
        times.append(once())
    return flop / min(times[1:])


def available(device: torch.device) -> float:
    """Free bytes of memory on a device; infinite where the system does not say."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_bytes()
