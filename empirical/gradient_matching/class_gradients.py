"""Gradients of the training loss with respect to all network parameters, one for each class, or one for all.

    class c: sum over its images b of weight_cb * cross-entropy(image_cb, label_cb; theta)

The weights are 1 / images of the class, unless given.

Three strategies compute the same numbers (tested to 1e-10 in float64):

    loop     one class after another. Without a graph, on a CPU: each class in a thread of its own, in
             micro-batches that fit the cache, channels last, compiled on request.
    vmap     `vmap` over classes of the gradient function, parameters shared.
    grouped  parameters repeated along a class axis, so that each layer is one grouped call.

`auto` takes vmap on a GPU, all classes at once in chunks that keep within the memory bound. On a CPU it takes
the loop, where one class's arithmetic fills the machine, except with a graph for batches so small that calls
cost more than arithmetic: there vmap (0.8 of the loop's time at 1 image a class of 3x32x32 and width 128, 0.4
at 1x16x16 and width 32; but 1.6 at 10 images of 3x32x32). `python -m benchmarks.gradient_matching` measures
it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from empirical.correction import Gradients
from empirical.gradient_matching.compiled_passes import announce_shape, compiled_for, shape_is_new
from empirical.gradient_matching.recomputed import recomputed
from empirical.networks.cost import Cost, measure
from empirical.runtime.threads import SMALL_FLOP, one_thread_if, shared_out
from empirical.training.gradient import is_batch_norm

Strategy = Literal["auto", "loop", "vmap", "grouped"]
STRATEGIES = ("auto", "loop", "vmap", "grouped")

CACHE = 16 * 2**20
"""Bytes that one layer's output of a micro-batch may take on a CPU."""
SMALL = 2**20
"""Bytes of one layer's output of a whole class batch under which calls cost more than arithmetic on a CPU."""


@dataclass(frozen=True)
class Execution:
    """How gradients are computed; never what they are.

    Attributes:
        strategy: "auto", "loop", "vmap" or "grouped".
        micro_batch: images a pass where no graph is kept; None: by device and size.
        compiled: compile the passes that keep no graph (worth it for long runs; without a compiler: as if
            False).
        memory: bytes that the graph of the synthetic side may take; what needs more is computed in chunks of
            classes whose graphs are built again for the second derivative.
        bfloat16: run the passes that keep no graph in mixed precision (changes the layer-wise distance by
            about 1e-3).
        workers: classes in work at once on a CPU without a graph; None: as many as arithmetic threads.

    """

    strategy: Strategy = "auto"
    micro_batch: int | None = None
    compiled: bool = False
    bfloat16: bool = False
    memory: int = 4 * 10**9
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"the strategy is one of {', '.join(STRATEGIES)}, not {self.strategy!r}")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"a micro-batch has at least 1 image, not {self.micro_batch}")


DEFAULT = Execution()


def _leaves(network: nn.Module) -> dict[str, Tensor]:
    """The network's parameters as fresh leaves that share its memory: nothing ever lands in the network's `.grad`."""
    return {name: p.detach().requires_grad_() for name, p in network.named_parameters()}


def weighted_loss(
    network: nn.Module, parameters: dict[str, Tensor], images: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """Sum over images of weight times cross-entropy."""
    logits = functional_call(network, parameters, (images,))
    return (weights * cross_entropy(logits, labels, reduction="none")).sum()


_costs: WeakKeyDictionary[nn.Module, dict[torch.Size, Cost]] = WeakKeyDictionary()


def _cost(network: nn.Module, images: Tensor) -> Cost:
    """Cost of one image [..., channels, height, width]; measured once a network and shape."""
    known = _costs.setdefault(network, {})
    shape = images.shape[-3:]
    if shape not in known:
        channels, height, width = shape
        known[shape] = measure(network, (channels, height, width))
    return known[shape]


def layer_bytes(network: nn.Module, images: Tensor) -> int:
    """Bytes of the largest layer output of one image [..., channels, height, width]."""
    return _cost(network, images).largest_output * images.element_size()


def is_small(network: nn.Module, images: Tensor) -> bool:
    """Whether a second-order pass over images [C, n, ...] is too little work for several threads."""
    flop = 3 * images.shape[:-3].numel() * _cost(network, images).training_flop
    return images.device.type == "cpu" and flop < SMALL_FLOP


def _kept_bytes(network: nn.Module, images: Tensor, graph: bool) -> int:
    """Bytes that one image keeps: all layer outputs, about six times over for a second-order graph."""
    outputs = _cost(network, images).outputs * images.element_size()
    return outputs * (6 if graph else 2)


def _micro_batch(network: nn.Module, images: Tensor, execution: Execution) -> int:
    if execution.micro_batch is not None:
        return execution.micro_batch
    if images.device.type == "cpu":
        return max(1, CACHE // layer_bytes(network, images))
    return max(1, execution.memory // _kept_bytes(network, images, False))


def _with_graph(network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor) -> list[Tensor]:
    """One gradient of the weighted loss of images [n, ...], differentiable with respect to the images."""
    parameters = _leaves(network)
    loss = weighted_loss(network, parameters, images, labels, weights)
    return list(torch.autograd.grad(loss, list(parameters.values()), create_graph=True))


def _without_graph(
    network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor, size: int, execution: Execution
) -> list[Tensor]:
    """The same without a graph, `size` images at a time."""
    parameters = _leaves(network)
    loss_of: Callable[..., Tensor] = (
        compiled_for(network, weighted_loss) if execution.compiled else weighted_loss
    )
    images = images.detach().contiguous(memory_format=torch.channels_last)
    total: list[Tensor] | None = None
    for x, y, w in zip(images.split(size), labels.split(size), weights.split(size), strict=True):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=execution.bfloat16):
            loss = loss_of(network, parameters, x, y, w)
        found = torch.autograd.grad(loss, list(parameters.values()))
        if total is None:
            total = [part.contiguous() for part in found]
        else:
            torch._foreach_add_(total, list(found))
    assert total is not None
    return total


Batch = tuple[Tensor, Tensor, Tensor]
"""Images [n, channels, height, width], labels [n], weights [n]."""


def _all_without_graph(
    network: nn.Module, batches: Sequence[Batch], execution: Execution
) -> list[list[Tensor]]:
    """`_without_graph` of several batches; on a CPU each whole in one thread, so that no thread waits in a layer."""
    size = _micro_batch(network, batches[0][0], execution)
    workers = min(execution.workers or torch.get_num_threads(), len(batches))
    if batches[0][0].device.type != "cpu" or workers == 1:
        return [_without_graph(network, *batch, size, execution) for batch in batches]
    # The very first one compiles, where that is wanted, before threads start. A functional call moves parameters
    # about in its network, so every thread has a network of its own, unless the call is compiled away.
    alone = execution.compiled and shape_is_new(network, batches[0][0])
    first = [_without_graph(network, *batches[0], size, execution)] if alone else []
    if alone:
        announce_shape(network, batches[0][0])
    compiled = execution.compiled and compiled_for(network, weighted_loss) is not weighted_loss
    execution = replace(execution, compiled=compiled)
    idle: SimpleQueue[nn.Module] = SimpleQueue()
    for worker in range(workers):
        idle.put(network if compiled or worker == 0 else copy.deepcopy(network))

    def work(batch: Batch) -> list[Tensor]:
        own = idle.get()
        try:
            return _without_graph(own, *batch, size, execution)
        finally:
            idle.put(own)

    # Each worker has its share of the threads, one at least; they are set for the process, hence restored.
    with shared_out(workers) as (_, set_share), ThreadPoolExecutor(workers, initializer=set_share) as pool:
        return first + list(pool.map(work, batches[len(first) :]))


def _loop(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    weights: Tensor,
    create_graph: bool,
    execution: Execution,
) -> list[Tensor]:
    batches = list(zip(images, labels, weights, strict=True))
    if create_graph:
        rows = [_with_graph(network, *batch) for batch in batches]
    else:
        rows = _all_without_graph(network, batches, execution)
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def _gradients_at_once(
    network: nn.Module, parameters: dict[str, Tensor], images: Tensor, labels: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """A gradient [C, *shape] a parameter, for images [C, n, ...]."""

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return weighted_loss(network, parameters, x, y, w)

    return vmap(grad(loss), in_dims=(None, 0, 0, 0))(parameters, images, labels, weights)


def _vmap(
    network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor, create_graph: bool, compiled: bool
) -> list[Tensor]:
    parameters = _leaves(network)
    if create_graph:
        return list(_gradients_at_once(network, parameters, images, labels, weights).values())
    call = compiled_for(network, _gradients_at_once) if compiled else _gradients_at_once
    constants = {name: p.detach() for name, p in parameters.items()}  # no graph of the gradient's own gradient
    return [g.detach() for g in call(network, constants, images.detach(), labels, weights).values()]


def _grouped(
    network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor, create_graph: bool
) -> list[Tensor]:
    classes = len(images)
    repeated = {name: p.expand(classes, *p.shape) for name, p in _leaves(network).items()}

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return weighted_loss(network, parameters, x, y, w)

    total = vmap(loss)(repeated, images, labels, weights).sum()
    return list(torch.autograd.grad(total, list(repeated.values()), create_graph=create_graph))


def _choose(network: nn.Module, images: Tensor, create_graph: bool, execution: Execution) -> Strategy:
    chosen = execution.strategy
    if chosen == "auto":
        small = create_graph and images.shape[1] * layer_bytes(network, images) <= SMALL
        chosen = "vmap" if small or images.device.type != "cpu" else "loop"
    # The framework's derivative of a vmapped gradient of layer norm is silently wrong (by some per cent).
    if chosen == "vmap" and create_graph and any(isinstance(m, nn.LayerNorm) for m in network.modules()):
        chosen = "grouped"
    return chosen


def _spread(
    network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Labels and weights as [C, n]."""
    count = images.shape[:2]
    labels = labels[:, None].expand(count) if labels.dim() == 1 else labels
    if weights is None:
        dtype = next(network.parameters()).dtype
        weights = torch.full(count, 1 / count[1], dtype=dtype, device=images.device)
    return labels, weights


def class_gradients(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    create_graph: bool,
    weights: Tensor | None = None,
    execution: Execution = DEFAULT,
) -> Gradients:
    """Gradient of the mean cross-entropy of each class's images with respect to all parameters.

    Args:
        network: images -> logits; not changed. Norm layers with running statistics belong in evaluation mode.
        images: [C, n, channels, height, width], normalised (and augmented).
        labels: [C, n], or [C]: one for all images of a class.
        create_graph: whether the result is to be differentiated with respect to the images.
        weights: [C, n], weight of each image in its class's loss; None: 1 / n. Weights of 0 let classes
            differ in size.
        execution: how to compute it.

    Returns:
        One tensor [C, *shape] a parameter, in the network's order; `leading` is 1.

    """
    labels, weights = _spread(network, images, labels, weights)
    strategy = _choose(network, images, create_graph, execution)

    def compute(x: Tensor, classes: slice, graph: bool) -> list[Tensor]:
        arguments = network, x, labels[classes], weights[classes], graph
        if strategy == "loop" and not graph:
            return _loop(*arguments, execution)
        mixed = torch.autocast(x.device.type, torch.bfloat16, enabled=execution.bfloat16 and not create_graph)
        with mixed, one_thread_if(is_small(network, x)):
            if strategy == "loop":
                return _loop(*arguments, execution)
            if strategy == "vmap":
                return _vmap(*arguments, execution.compiled)
            return _grouped(*arguments)

    chunk = max(1, execution.memory // (images.shape[1] * _kept_bytes(network, images, create_graph)))
    if chunk >= len(images) or (strategy == "loop" and not create_graph):
        return Gradients(compute(images, slice(None), create_graph), 1)
    if create_graph:
        return Gradients(recomputed(images, compute, chunk), 1)
    parts = [compute(images[i : i + chunk], slice(i, i + chunk), False) for i in range(0, len(images), chunk)]
    return Gradients([torch.cat(column) for column in zip(*parts, strict=True)], 1)


def joint_gradient(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    create_graph: bool,
    weights: Tensor | None = None,
    execution: Execution = DEFAULT,
) -> Gradients:
    """The mean over classes of the class gradients, by one pass over all images together.

    Arguments as in `class_gradients`.

    Returns:
        One tensor of the parameter's shape a parameter; `leading` is 0.

    """
    labels, weights = _spread(network, images, labels, weights)
    if create_graph and images.shape[:2].numel() * _kept_bytes(network, images, True) > execution.memory:
        each = class_gradients(network, images, labels, True, weights, execution)
        return Gradients([g.mean(0) for g in each])
    x, y, w = images.flatten(0, 1), labels.flatten(), weights.flatten() / len(images)
    if create_graph:
        with one_thread_if(is_small(network, images)):
            return Gradients(_with_graph(network, x, y, w))
    parts = execution.workers or torch.get_num_threads() if x.device.type == "cpu" else 1
    batches = list(zip(x.chunk(parts), y.chunk(parts), w.chunk(parts), strict=True))
    rows = _all_without_graph(network, batches, execution)
    return Gradients([torch.stack(column).sum(0) for column in zip(*rows, strict=True)])


def sample_gradients(
    network: nn.Module, images: Tensor, labels: Tensor, create_graph: bool, execution: Execution = DEFAULT
) -> Gradients:
    """Gradient of the cross-entropy of every single image: tensors [C, n, *shape]; `leading` is 2."""
    labels, _ = _spread(network, images, labels, None)
    flat = class_gradients(
        network, images.flatten(0, 1)[:, None], labels.flatten()[:, None], create_graph, execution=execution
    )
    return Gradients([g.unflatten(0, images.shape[:2]) for g in flat], 2)


def freeze_norms(network: nn.Module, images: Sequence[Tensor] | Tensor) -> None:
    """Sets running statistics by one training-mode pass, then freezes them; does nothing without batch norm.

    Args:
        network: changed: batch-norm layers take in the statistics of the images, and stand in evaluation mode
            after.
        images: [n, channels, height, width], 16 real images a class in the published runs.

    """
    norms = [m for m in network.modules() if is_batch_norm(m)]
    if not norms:
        return
    for norm in norms:
        norm.train()
    with torch.no_grad():
        network(images)
    for norm in norms:
        norm.eval()
