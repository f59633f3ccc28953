"""Distances between two gradients of the same network, and their sums over classes.

A gradient is a list with one tensor a parameter, in the network's order, with or without a leading class axis.

    layer-wise: sum of 1 - <A_r, B_r> / (|A_r| |B_r| + 1e-6) over the rows r (output units) of every parameter of two
                or more dimensions
    mse:        squared Euclidean distance of the whole gradients as vectors
    cosine:     1 - <a, b> / (|a| |b| + 1e-6) of the whole gradients as vectors

The layer-wise distance is that of Zhao, Mopuri & Bilen (ICLR 2021). One-dimensional parameters (biases,
affine norms) count nothing in it. The 1e-6 is not small: products of row norms at a fresh network are of its
order, so a gradient's distance to itself is not 0, and rescaling both gradients changes it. Published results
have it, so it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

EPSILON = 1e-6

Distance = Callable[..., Tensor]
"""(synthetic gradients, real gradients, leading=None) -> one distance for each leading index."""


def _leading(synthetic: Sequence[Tensor], leading: int | None) -> int:
    return getattr(synthetic, "leading", 0) if leading is None else leading


def _cosine_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 - cosine over the last axis; 1 for a zero vector, where the derivative of its norm is taken as 0."""
    norms = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    return 1 - (a * b).sum(-1) / (norms + EPSILON)


def layerwise(synthetic: Sequence[Tensor], real: Sequence[Tensor], leading: int | None = None) -> Tensor:
    """Sum over parameters and output rows of one minus the cosine.

    Args:
        synthetic: one tensor a parameter, [*leading, *parameter shape]; the distance is differentiable in
            them.
        real: the same for the real data, held constant by the caller.
        leading: number of leading (class) axes; None: what the synthetic `Gradients` say, 0 for any other
            list.

    Returns:
        Distances, with the shape of the leading axes (a scalar without).

    """
    lead = _leading(synthetic, leading)
    parts = [
        _cosine_loss(a.flatten(lead + 1), b.flatten(lead + 1)).sum(-1)
        for a, b in zip(synthetic, real, strict=True)
        if a.dim() - lead > 1
    ]
    if not parts:
        raise ValueError("the layer-wise distance needs a parameter of two or more dimensions")
    return torch.stack(parts).sum(0)


def mse(synthetic: Sequence[Tensor], real: Sequence[Tensor], leading: int | None = None) -> Tensor:
    """Squared Euclidean distance of the whole gradients; arguments and result as in `layerwise`."""
    lead, pairs = _leading(synthetic, leading), zip(synthetic, real, strict=True)
    return torch.stack([(a - b).flatten(lead).square().sum(-1) for a, b in pairs]).sum(0)


def cosine(synthetic: Sequence[Tensor], real: Sequence[Tensor], leading: int | None = None) -> Tensor:
    """One minus the cosine of the whole gradients; arguments and result as in `layerwise`."""
    lead = _leading(synthetic, leading)
    a = torch.cat([g.flatten(lead) for g in synthetic], dim=-1)
    b = torch.cat([g.flatten(lead) for g in real], dim=-1)
    return _cosine_loss(a, b)


DISTANCES: dict[str, Distance] = {"layerwise": layerwise, "mse": mse, "cosine": cosine}
