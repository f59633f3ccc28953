"""What an experiment will cost: arithmetic by part, memory, and the time it takes at this device's measured
speed.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from empirical.config import Settings
from empirical.data.datasets import Dataset
from empirical.gradient_matching.class_gradients import Execution, joint_gradient
from empirical.gradient_matching.methods import METHODS
from empirical.network_cost import Cost, measure
from empirical.trajectory_matching.settings import METHODS as TRAJECTORIES

SECOND_ORDER = 3
"""Arithmetic of a gradient's gradient over that of a gradient (forward and backward)."""
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


def _distillation(settings: Settings, dataset: Dataset, image: Cost) -> dict[str, float]:
    """Of one distillation."""
    steps, epochs = settings.matching_steps or 0, settings.network_epochs or 0
    synthetic = dataset.classes * settings.ipc
    real = sum(min(settings.batch_real, size) for size in dataset.train.class_sizes)
    updates = settings.iterations * steps
    training = settings.iterations * (steps - 1) * epochs * synthetic
    return {
        "real gradients": updates * real * image.training_flop,
        "synthetic gradients": updates * synthetic * image.training_flop * SECOND_ORDER,
        "network training": training * image.training_flop,
    }


def estimate(
    settings: Settings, dataset: Dataset, network: nn.Module, distillations: int, compared: bool, experts: int = 0
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
    image = measure(network, dataset.shape)
    synthetic = dataset.classes * settings.ipc
    testing = 2 * image.multiply_adds * len(dataset.test)
    evaluated = distillations + (1 if compared else 0)
    parts: dict[str, float] = {}
    if settings.method in METHODS:
        parts = {name: distillations * flop for name, flop in _distillation(settings, dataset, image).items()}
    own = settings.trajectory
    if settings.method in TRAJECTORIES:
        passes = settings.iterations * (own.syn_steps or 1) * min(own.batch_syn or synthetic, synthetic)
        parts["trajectories"] = distillations * passes * image.training_flop * (1 + SECOND_ORDER)
        gradients = 2 if TRAJECTORIES[settings.method].experts == "flat" else 1
        trained = gradients * experts * (own.expert_training_epochs or 1) * len(dataset.train)
        parts["experts"] = float(trained * image.training_flop)
        evaluated += distillations * (settings.iterations // (own.eval_it or settings.iterations))
    on_whole = {"herding": settings.feature_epochs, "forgetting": settings.forgetting_epochs}
    if settings.method in on_whole:
        epochs = on_whole[settings.method]
        parts["coreset"] = distillations * epochs * len(dataset.train) * image.training_flop
    if settings.method == "whole":
        evaluated = 0
    each = ((settings.eval_epochs or 0) + 1) * synthetic * image.training_flop + testing
    parts["evaluation"] = evaluated * settings.eval_networks * each
    if compared or settings.method == "whole":
        whole = settings.whole_epochs * len(dataset.train) * image.training_flop + testing
        parts["whole data"] = settings.eval_networks * whole
    size = 4
    data = dataset.train.images.numel() + dataset.test.images.numel()
    graph = min(settings.memory_budget * 1e9, synthetic * graph_bytes(image))
    batches = dataset.classes * settings.batch_real * dataset.train.images[0].numel() * size * 3
    return Estimate({k: v for k, v in parts.items() if v}, data + graph + batches)


def graph_bytes(image: Cost) -> int:
    """Of one image's second-order pass: no chunk can be smaller."""
    return image.outputs * 4 * 2 * SECOND_ORDER


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
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        rows = dict(
            line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        )
        return float(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return math.inf
