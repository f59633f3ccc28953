"""The gradient of a batch's mean cross-entropy, fast: micro-batches that fit the cache, compiled on request.

On a CPU the gradient is summed over micro-batches whose largest activation stays in the cache (mean over the
batch = sum over micro-batches / batch, so the numbers agree to rounding); networks with batch norm see the
batch whole. Measured by `python -m benchmarks.network_training`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from empirical.networks.cost import measure
from empirical.runtime.compiler import compiling

CACHE_BYTES = 5 << 20
"""Largest activation of a micro-batch on a CPU."""

Forward = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
_log = logging.getLogger(__name__)


def is_batch_norm(module: nn.Module) -> bool:
    """Whether images of a batch see each other in this layer, in training mode."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def has_batch_norm(network: nn.Module) -> bool:
    """Whether images of a batch see each other in training mode."""
    return any(is_batch_norm(module) for module in network.modules())


def micro_batch(
    network: nn.Module, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
) -> int:
    """Images in one pass: what the cache holds on a CPU, no limit elsewhere or under batch norm."""
    if device.type != "cpu" or has_batch_norm(network):
        return 1 << 62
    return max(1, CACHE_BYTES // (measure(network, shape).largest_output * dtype.itemsize))


def even_sizes(count: int, limit: int) -> list[int]:
    """`count` cut into the fewest parts of at most `limit`, whose sizes differ by at most one."""
    parts = -(-count // limit)
    return [count // parts + (part < count % parts) for part in range(parts)]


def _forward(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss and logits."""
    logits = network(images)
    return cross_entropy(logits, labels, reduction="sum"), logits


@functools.cache
def _compiled_forward() -> Forward:
    """Compiled once an architecture and batch size: the parameters of a network are arguments to it."""
    return compiling(_forward)


class BatchGradient:
    """Callable `(network, images, labels) -> (gradients, logits)` for networks of one architecture.

    Args:
        template: any of the networks; not changed.
        shape: (channels, height, width) of an image.
        compiled: compile the pass; a compiler that is absent or fails is replaced by the plain pass.

    """

    def __init__(self, template: nn.Module, shape: tuple[int, int, int], compiled: bool = False):
        parameter = next(template.parameters())
        self._limit = micro_batch(template, shape, parameter.dtype, parameter.device)
        self.compiled = compiled and not has_batch_norm(template)

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[list[Tensor], Tensor]:
        """Gradient of mean cross-entropy for every trainable parameter, and detached logits [n, classes].

        `labels`: class indices [n] or probabilities [n, classes].
        """
        parameters = [p for p in network.parameters() if p.requires_grad]
        sizes = even_sizes(len(images), self._limit)
        total: list[Tensor] | None = None
        logits = []
        for x, y in zip(images.split(sizes), labels.split(sizes), strict=True):
            loss, out = self._pass(network, x, y)
            found = torch.autograd.grad(loss / len(images), parameters)
            logits.append(out.detach())
            if total is None:
                total = list(found)
            else:
                torch._foreach_add_(total, found)
        assert total is not None
        return total, logits[0] if len(logits) == 1 else torch.cat(logits)

    def _pass(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.compiled:
            try:
                return _compiled_forward()(network, images, labels)
            except Exception as error:  # the compiler raises what it likes
                _log.info("compiling failed, going on without: %s", str(error).partition("\n")[0])
                self.compiled = False
        return _forward(network, images, labels)
