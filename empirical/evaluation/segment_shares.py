"""Which real samples an expert's steps are made of: each sample's share of how far the parameters went in a segment.

Trajectory matching makes a student go from theta_t to theta_{t+M}, the way that an expert went by plain SGD on the real
data. Every step is a mean over a batch, so the way is a sum over samples, and sample i's share of it, along it, is

    s_i = - sum over the steps k that i is in of  rate / |batch| <g_i(theta_k), d> / |d|^2,   d = theta_{t+M} - theta_t,

with sum_i s_i = 1 exactly: nothing of the way is left over. (Momentum and weight decay would spread a sample's part
over later steps; the published experts of MTT have neither.) Training is gone through twice, alike: once for the ends
of the segments, once for the shares along them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from empirical.evaluation.gradient_shares import samples_along


@dataclass(frozen=True)
class Plain:
    """Plain SGD.

    Attributes:
        epochs: over the data.
        rate: of the steps.
        batch: images a step; the last of an epoch may be short.

    """

    epochs: int
    rate: float = 0.01
    batch: int = 256


def segment_shares(
    network: nn.Module, images: Tensor, labels: Tensor, recipe: Plain, segments: Sequence[tuple[int, int]],
    generator: Generator,
) -> Tensor:
    """Shares of every sample in every segment, [segments, n]; each row sums to 1.

    Args:
        network: fresh, in evaluation mode; trained when this returns.
        images: [n, C, H, W] as the network takes them.
        labels: int64 [n].
        recipe: of its training.
        segments: (first epoch, last epoch), the second beyond the first, within the training.
        generator: of the order of the samples.

    Raises:
        ValueError: a segment is out of range, or nothing moved in it.

    """  # fmt: skip
    for first, last in segments:
        if not 0 <= first < last <= recipe.epochs:
            raise ValueError(f"a segment from epoch {first} to {last} is not within {recipe.epochs} epochs of training")
    orders = [torch.randperm(len(images), generator=generator) for _ in range(recipe.epochs)]
    parameters: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
    begun = [p.detach().clone() for p in parameters]
    ends = [begun]
    for order in orders:
        for batch in order.split(recipe.batch):
            _step(network, parameters, images[batch], labels[batch], recipe.rate)
        ends.append([p.detach().clone() for p in parameters])
    ways = [[b - a for a, b in zip(ends[first], ends[last], strict=True)] for first, last in segments]
    squares = [sum(float(part.double().square().sum()) for part in way) for way in ways]
    if not all(square > 0.0 for square in squares):
        raise ValueError("the parameters did not move in a segment, so no sample has a share of it")
    _set(parameters, begun)
    shares = torch.zeros(len(segments), len(images), dtype=images.dtype)
    for epoch, order in enumerate(orders):
        here = [k for k, (first, last) in enumerate(segments) if first <= epoch < last]
        for batch in order.split(recipe.batch):
            if here:
                along = samples_along(network, parameters, [ways[k] for k in here], images[batch], labels[batch])
                for k, projected in zip(here, along, strict=True):
                    shares[k, batch] -= (recipe.rate / len(batch) / squares[k]) * projected.detach().cpu()
            _step(network, parameters, images[batch], labels[batch], recipe.rate)
    return shares


@torch.no_grad()
def _set(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _step(network: nn.Module, parameters: list[Tensor], images: Tensor, labels: Tensor, rate: float) -> None:
    gradients = torch.autograd.grad(cross_entropy(network(images), labels), parameters)
    with torch.no_grad():
        torch._foreach_add_(parameters, gradients, alpha=-rate)
