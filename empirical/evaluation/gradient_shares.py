"""Which samples a mean gradient is made of: the share of each real sample in what a matching loss looks at.

A matching loss compares the gradient of synthetic samples with the mean gradient g of n real samples of a class. Sample
i's share of it, along it, is

    s_i = <g_i, v> / n,    sum_i s_i = 1,

with v = g / |g|^2 where the gradient counts as one vector (`as_one_vector`), and, for a loss that gives every row of
weights (the weights into one output) the same say, as the layer-wise cosine distance of DC does, the mean over rows of
s_i within the row (`row_by_row`). Shares may be negative: such samples pull against their class.

No gradient of a single sample is formed: with weights w_i on the samples' losses, <g_i, v> is the derivative with
respect to w_i of <gradient of sum_i w_i l_i, v>, so one second backward pass gives it for all samples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Direction = Callable[[Sequence[Tensor]], list[Tensor]]
"""From the mean gradient (one tensor a parameter) the v of the shares, of the same shapes; <g, v> = 1."""
CHUNK = 256
"""Images of one pass."""


def as_one_vector(gradient: Sequence[Tensor]) -> list[Tensor]:
    """The gradient over its squared norm, g / |g|^2, over all parameters; zero where g is."""
    square = sum(float(g.double().square().sum()) for g in gradient)
    return [g / square if square else torch.zeros_like(g) for g in gradient]


def row_by_row(gradient: Sequence[Tensor]) -> list[Tensor]:
    """g_r / |g_r|^2 / rows for each row r of the weights (axis 0 of parameters of two axes and more).

    Biases and the scales of norms have no row and no say, as in the distance; nor do rows without gradient.
    """
    squares = [g.flatten(1).square().sum(1) if g.dim() > 1 else g.new_zeros(len(g)) for g in gradient]
    rows = max(1, sum(int((s > 0).sum()) for s in squares))
    scales = [torch.where(s > 0, 1.0 / (s * rows), 0.0) for s in squares]
    return [g * scale.reshape(-1, *[1] * (g.dim() - 1)) for g, scale in zip(gradient, scales, strict=True)]


def gradient_shares(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    directions: Mapping[str, Direction],
    chunk: int = CHUNK,
) -> dict[str, Tensor]:
    """The share of each sample in the mean gradient of all of them, one answer a direction.

    Args:
        network: in evaluation mode (under batch statistics a sample has no gradient of its own).
        images: [n, C, H, W], as the network takes them; of one class, as matching losses take them.
        labels: int64 [n].
        directions: by name, what the loss makes of a mean gradient.
        chunk: images of one pass.

    Returns:
        By the same names, shares [n]; each sums to 1 (to 0 where the mean gradient is zero).

    Raises:
        ValueError: no images, another number of labels, or a network in training mode.

    """
    if not len(images) or labels.shape != images.shape[:1]:
        raise ValueError(f"{len(images)} images need as many labels, at least one; got {list(labels.shape)}")
    if network.training:
        raise ValueError("shares are of a network in evaluation mode; call network.eval() first")
    parameters: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
    mean = _mean_gradient(network, parameters, images, labels, chunk)
    along = [direction(mean) for direction in directions.values()]
    parts = [
        samples_along(network, parameters, along, x, y)
        for x, y in zip(images.split(chunk), labels.split(chunk), strict=True)
    ]
    columns = zip(*parts, strict=True)
    return {name: torch.cat(column) / len(images) for name, column in zip(directions, columns, strict=True)}


def _mean_gradient(
    network: nn.Module, parameters: list[Tensor], images: Tensor, labels: Tensor, chunk: int
) -> list[Tensor]:
    total = [torch.zeros_like(p) for p in parameters]
    for x, y in zip(images.split(chunk), labels.split(chunk), strict=True):
        loss = cross_entropy(network(x), y, reduction="sum") / len(images)
        torch._foreach_add_(total, torch.autograd.grad(loss, parameters))
    return total


def samples_along(
    network: nn.Module,
    parameters: Sequence[Tensor],
    directions: Sequence[Sequence[Tensor]],
    images: Tensor,
    labels: Tensor,
) -> list[Tensor]:
    """<g_i, v> of each sample i, [n], for each direction v."""
    losses = cross_entropy(network(images), labels, reduction="none")
    weights = torch.ones_like(losses).requires_grad_()
    gradient = torch.autograd.grad(weights @ losses, parameters, create_graph=True)
    found = []
    for v in directions:
        projection = torch.stack([(g * part).sum() for g, part in zip(gradient, v, strict=True)]).sum()
        found.append(torch.autograd.grad(projection, weights, retain_graph=True)[0])
    return found
