"""Compiled losses for the passes that keep no graph; where no compiler works, the loss itself.

One compiled function a network object: parameters go in as arguments, so a network that is drawn again is not
compiled again. A compiler that fails (no C++ toolchain, an operation it does not know) is tried once.
"""

import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

Loss = Callable[..., Tensor]
_cache: WeakKeyDictionary[nn.Module, Loss] = WeakKeyDictionary()
_shapes: WeakKeyDictionary[nn.Module, set[torch.Size]] = WeakKeyDictionary()
_log = logging.getLogger(__name__)


def compiled_loss(network: nn.Module, loss: Loss) -> Loss:
    """`loss(network, parameters, images, labels, weights)`, compiled at its first call for this network.

    The result equals the loss up to rounding. If compiling fails, the log says why and the plain loss is
    used.
    """
    if network in _cache:
        return _cache[network]
    compiled = torch.compile(loss, dynamic=False)

    def first(*arguments: Any) -> Tensor:
        try:
            value = compiled(*arguments)
            _cache[network] = compiled
        except Exception as error:  # the compiler raises what it likes
            _log.info("compiling failed, going on without: %s", str(error).splitlines()[0])
            value, _cache[network] = loss(*arguments), loss
        return value

    return first


def first_of_shape(network: nn.Module, images: Tensor) -> bool:
    """Whether no batch of this shape has been announced for this network; announces it.

    A first pass may compile, which one thread has to do alone; those after it may run side by side.
    """
    known = _shapes.setdefault(network, set())
    new = images.shape not in known
    known.add(images.shape)
    return new
