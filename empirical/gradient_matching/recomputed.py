"""Gradients whose graph never stands whole: it is built again when it is needed, a few classes at a time.

The value is computed without a graph. When a cotangent comes back, each chunk of classes builds its own
graph, is contracted with its part of the cotangent and is freed. The result is the same; the price is one
more pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Compute = Callable[[Tensor, slice, bool], list[Tensor]]
"""(images of the chunk, which classes these are, whether to build a graph) -> gradients of the chunk."""


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, compute: Compute, chunk: int) -> tuple[Tensor, ...]:
        ctx.save_for_backward(images)
        ctx.compute, ctx.chunk = compute, chunk
        with torch.enable_grad():
            parts = [compute(images[s].detach(), s, False) for s in _slices(len(images), chunk)]
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None, None]:
        (images,) = ctx.saved_tensors
        found = []
        for s in _slices(len(images), ctx.chunk):
            with torch.enable_grad():
                leaf = images[s].detach().requires_grad_()
                gradients = ctx.compute(leaf, s, True)
                found.append(torch.autograd.grad(gradients, leaf, [u[s] for u in cotangents])[0])
        return torch.cat(found), None, None


def _slices(count: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, count)) for start in range(0, count, chunk)]


def recomputed(images: Tensor, compute: Compute, chunk: int) -> list[Tensor]:
    """`compute(images, slice, True)` chunk by chunk along the first axis, [C, ...] each, without keeping a graph."""
    return list(_Recomputed.apply(images, compute, chunk))
