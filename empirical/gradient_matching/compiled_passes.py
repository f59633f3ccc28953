"""Compiled losses and gradients for the passes that keep no graph; where no compiler works, the plain function.

One compiled function a network object: parameters go in as arguments, so a network that is drawn again is not
compiled again. A compiler that fails (no C++ toolchain, an operation it does not know) is tried once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from empirical.runtime.compiler import compiling

Function = Callable[..., Any]
_cache: WeakKeyDictionary[nn.Module, dict[Function, Function]] = WeakKeyDictionary()
_shapes: WeakKeyDictionary[nn.Module, set[torch.Size]] = WeakKeyDictionary()
_log = logging.getLogger(__name__)


def compiled_for(network: nn.Module, function: Function) -> Function:
    """`function(network, parameters, images, labels, weights)`, compiled at its first call for this network.

    The result equals the function's up to rounding. If compiling fails, the log says why and the plain function is
    used.
    """
    known = _cache.setdefault(network, {})
    if function in known:
        return known[function]
    compiled = compiling(function)

    def first(*arguments: Any) -> Any:
        try:
            value = compiled(*arguments)
            known[function] = compiled
        except Exception as error:  # the compiler raises what it likes
            _log.info("compiling failed, going on without: %s", str(error).splitlines()[0])
            value, known[function] = function(*arguments), function
        return value

    return first


def shape_is_new(network: nn.Module, images: Tensor) -> bool:
    """Whether no batch of this shape has been announced for this network.

    A first pass may compile, which one thread has to do alone; those after it may run side by side.
    """
    return images.shape not in _shapes.get(network, ())


def announce_shape(network: nn.Module, images: Tensor) -> None:
    """Batches of this shape went through this network."""
    _shapes.setdefault(network, set()).add(images.shape)
