"""What trained networks say about images: in chunks, in evaluation mode, without a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from empirical.runtime.threads import shared_out
from empirical.training.gradient import micro_batch

GPU_CHUNK = 2048
"""Images in one pass where the cache is no limit."""


@contextmanager
def in_evaluation_mode(network: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode; afterwards each layer is in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield network.eval()
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def in_chunks(
    function: Callable[[Tensor], Tensor],
    images: Tensor,
    prepare: Callable[[Tensor], Tensor] | None,
    size: int,
) -> Tensor:
    """`function(prepare(images))`, `size` images at a time."""
    return torch.cat([function(prepare(part) if prepare else part) for part in images.split(size)])


def chunk_size(network: nn.Module, images: Tensor) -> int:
    """Images of one pass: as many as the cache holds on a CPU."""
    channels, height, width = images.shape[1:]
    dtype = next(network.parameters()).dtype
    return min(micro_batch(network, (channels, height, width), dtype, images.device), GPU_CHUNK)


def logits(
    network: nn.Module, images: Tensor, prepare: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """[n, classes]; `prepare` turns stored images [n, C, H, W] into network inputs, chunk by chunk."""
    with in_evaluation_mode(network):
        return in_chunks(network, images, prepare, chunk_size(network, images))


def accuracy(
    network: nn.Module, images: Tensor, labels: Tensor, prepare: Callable[[Tensor], Tensor] | None = None
) -> float:
    """Share of images [n, C, H, W] whose largest logit is that of their label [n], in [0, 1]."""
    return float((logits(network, images, prepare).argmax(1) == labels).double().mean())


def accuracies(
    networks: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    prepare: Callable[[Tensor], Tensor] | None = None,
    threads_each: int | None = None,
) -> list[float]:
    """`accuracy` of each network; on a CPU the networks share out the threads, or have `threads_each`."""
    if images.device.type != "cpu" or (len(networks) == 1 and threads_each is None):
        return [accuracy(network, images, labels, prepare) for network in networks]
    with (
        shared_out(len(networks), threads_each) as (workers, set_share),
        ThreadPoolExecutor(workers, initializer=set_share) as pool,
    ):
        return list(pool.map(lambda network: accuracy(network, images, labels, prepare), networks))
