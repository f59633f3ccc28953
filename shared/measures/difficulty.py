"""How hard a sample is for a trained model, or for an ensemble: one number a sample.

    misclassification_rate   expected over models of 1[argmax f(x) != y]                      (Definition 1)
    gradn                    expected over models of |grad_theta l(f(x; theta), y)|_2         (Definition 2)

of Wang et al., arXiv 2408.12483 (the second is GraNd of Paul et al., 2021), and loss, margin, EL2N beside
them. Models are any `nn.Module`s from images to logits; they are put in evaluation mode (under batch
statistics a sample has no gradient of its own) and left as they were found. Samples go through in chunks
that keep to a memory budget.

No number comes from nothing: images that are not finite and labels that are no class of the model are refused; on a
device where asking would make the host wait, such samples get NaN. Logits that are not finite give NaN too.

Gradient norms are exact and need no per-sample gradient: one backward pass gives each layer's output
derivatives d, and with the layer's inputs a the squared norm of a sample's weight gradient follows. Linear:
|a|^2 |d|^2. Convolution, over positions p and q: |sum_p d_p a_p'|^2, or sum_pq <a_p, a_q> <d_p, d_q> where
that is smaller. Affine norms: directly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

Models = nn.Module | Sequence[nn.Module]
MEMORY = 1 << 30
"""Default memory budget in bytes."""

_Norm = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._NormBase)
_DIRECT = (nn.Linear, nn.Conv2d, *_Norm)


def misclassification_rate(models: Models, images: Tensor, labels: Tensor, memory: int = MEMORY) -> Tensor:
    """Share of the models that put sample i into a wrong class, [n] in {0, 1/K, ..., 1}.

    Args:
        models: K networks, or one.
        images: [n, ...], as the networks take them.
        labels: int64 [n].
        memory: budget in bytes.

    Raises:
        ValueError: no models, or as many labels as images are not given; on a CPU also: an image is not finite, or a
            label is no class of a model.

    """
    return _mean_over_logits(models, images, labels, memory, lambda z, y: (z.argmax(1) != y).to(z.dtype))


def loss(models: Models, images: Tensor, labels: Tensor, memory: int = MEMORY) -> Tensor:
    """Mean over models of the cross-entropy of each sample, [n]. Arguments as in `misclassification_rate`."""
    return _mean_over_logits(
        models, images, labels, memory, lambda z, y: functional.cross_entropy(z, y, reduction="none")
    )


def margin(models: Models, images: Tensor, labels: Tensor, memory: int = MEMORY) -> Tensor:
    """Mean over models of (logit of the true class - largest other logit), [n]; negative: misclassified."""

    def of(logits: Tensor, y: Tensor) -> Tensor:
        true = logits.gather(1, y[:, None])
        others = logits.scatter(1, y[:, None], -torch.inf)
        return (true - others.max(1, keepdim=True).values)[:, 0]

    return _mean_over_logits(models, images, labels, memory, of)


def el2n(models: Models, images: Tensor, labels: Tensor, memory: int = MEMORY) -> Tensor:
    """Mean over models of |softmax(f(x)) - one-hot(y)|_2 (Paul et al., 2021), [n]."""

    def of(logits: Tensor, y: Tensor) -> Tensor:
        return (logits.softmax(1) - functional.one_hot(y, logits.shape[1])).norm(dim=1)

    return _mean_over_logits(models, images, labels, memory, of)


def gradn(models: Models, images: Tensor, labels: Tensor, memory: int = MEMORY) -> Tensor:
    """Mean over models of the 2-norm of each sample's loss gradient, [n]; as `misclassification_rate`.

    Over all parameters, one-dimensional ones included; not squared, not normalised.
    """
    ensemble = _checked(models, images, labels)
    return sum_over(gradient_norms(model, images, labels, memory) for model in ensemble) / len(ensemble)


def gradient_norms(model: nn.Module, images: Tensor, labels: Tensor, memory: int = MEMORY) -> Tensor:
    """2-norm over all parameters of the gradient of each sample's cross-entropy, for one model, [n].

    Exact for networks of Linear, Conv2d, GroupNorm, LayerNorm, BatchNorm and InstanceNorm layers, each used
    once; any other network takes the slower way, one gradient a sample (`torch.func`).
    """
    (model,) = _checked(model, images, labels)
    with _evaluation(model):
        cost, classes = _survey(model, images[:1])
        labels, usable = _usable(images, labels, classes)
        found = _norms_at_once(model, images, labels, memory // cost) if _supported(model) else None
        if found is None:
            found = _norms_one_by_one(model, images, labels, memory)
        return torch.where(usable, found, torch.nan)


def _norms_at_once(model: nn.Module, images: Tensor, labels: Tensor, chunk: int) -> Tensor | None:
    """[n], `chunk` samples at a time; None if a layer is used twice: its gradient is a sum whose norm is not a sum."""
    size = max(1, chunk)
    parts = []
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        squares = _squared_norms(model, x, y)
        if squares is None:
            return None
        parts.append(squares.clamp_min(0).sqrt())
    return torch.cat(parts)


def sum_over(terms: Iterator[Tensor]) -> Tensor:
    """Sum of tensors, at least one."""
    total = next(terms).clone()
    for term in terms:
        total += term
    return total


def _checked(models: Models, images: Tensor, labels: Tensor) -> list[nn.Module]:
    ensemble = [models] if isinstance(models, nn.Module) else list(models)
    if not ensemble:
        raise ValueError("an ensemble of at least one model is needed")
    if labels.shape != images.shape[:1] or not len(images):
        raise ValueError(f"{len(images)} images need as many labels, at least one; got {list(labels.shape)}")
    if labels.dtype.is_floating_point or labels.dtype in (torch.bool, torch.complex64, torch.complex128):
        raise ValueError(f"labels are numbers of classes, integers [n], not {labels.dtype}")
    return ensemble


def _usable(images: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Labels that are classes, int64 [n], and which samples had such a label and a finite image, [n].

    Raises:
        ValueError: on a CPU, where it costs nothing to ask: one had not.

    """
    finite = images.isfinite().reshape(len(images), -1).all(1)
    known = (labels >= 0) & (labels < classes)
    if images.device.type == "cpu":
        if not bool(finite.all()):
            raise ValueError(f"{int((~finite).sum())} of {len(images)} images are not finite; no difficulty is known")
        if not bool(known.all()):
            raise ValueError(
                f"labels are not 0 .. {classes - 1}, the classes of the model: "
                f"smallest {int(labels.min())}, largest {int(labels.max())}"
            )
    return labels.long().clamp(0, classes - 1), finite & known


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def _mean_over_logits(
    models: Models, images: Tensor, labels: Tensor, memory: int, of: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    ensemble = _checked(models, images, labels)

    def of_chunk(logits: Tensor, y: Tensor) -> Tensor:
        return torch.where(logits.isfinite().all(1), of(logits, y), torch.nan)

    def of_model(model: nn.Module) -> Tensor:
        with _evaluation(model):
            cost, classes = _survey(model, images[:1])
            known, usable = _usable(images, labels, classes)
            size = max(1, memory // cost)
            pairs = zip(images.split(size), known.split(size), strict=True)
            return torch.where(usable, torch.cat([of_chunk(model(x), y) for x, y in pairs]), torch.nan)

    return sum_over(of_model(model) for model in ensemble) / len(ensemble)


# --- per-sample gradient norms ------------------------------------------------------------------------------


class _Tap:
    """Records, for every layer with parameters, its input and where in the graph its output is made."""

    def __init__(self, layers: Sequence[nn.Module]):
        self.inputs: dict[nn.Module, Tensor] = {}
        self.versions: dict[nn.Module, int] = {}
        self.outputs: dict[nn.Module, torch.autograd.graph.GradientEdge] = {}
        self.repeated = False
        self._handles = [layer.register_forward_hook(self._record) for layer in layers]

    def _record(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        self.repeated |= layer in self.inputs
        self.inputs[layer] = inputs[0].detach()
        self.versions[layer] = inputs[0]._version
        if not output.requires_grad:
            leaf = output.detach().requires_grad_()
            self.outputs[layer] = torch.autograd.graph.get_gradient_edge(leaf)
            return leaf.clone()  # what follows may work in place
        # an edge, not the tensor: what works in place on the output (`relu_`, `+=`) does not move it
        self.outputs[layer] = torch.autograd.graph.get_gradient_edge(output)
        return output

    def intact(self) -> bool:
        """Whether every layer ran once and its input is still what it saw."""
        return not self.repeated and all(self.inputs[k]._version == v for k, v in self.versions.items())

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def _supported(model: nn.Module) -> bool:
    """Every parameter belongs to one layer whose gradient norm is known in closed form."""
    owners = [module for module in model.modules() if list(module.parameters(recurse=False))]
    parameters = [p for module in owners for p in module.parameters(recurse=False)]
    statistics = [m for m in owners if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return (
        all(isinstance(module, _DIRECT) for module in owners)
        and len(parameters) == len({id(p) for p in parameters})
        and all(m.track_running_stats for m in statistics)
    )


def _squared_norms(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor | None:
    """[n]; None if a layer ran twice, or not at all, or its input was overwritten."""
    layers = [module for module in model.modules() if list(module.parameters(recurse=False))]
    tap = _Tap(layers)
    try:
        with torch.enable_grad():
            total = functional.cross_entropy(model(images.detach()), labels, reduction="sum")
    finally:
        tap.close()
    if not tap.intact() or len(tap.inputs) < len(layers):
        return None
    derivatives = torch.autograd.grad(total, [tap.outputs[layer] for layer in layers])
    pairs = zip(layers, derivatives, strict=True)
    return sum_over(_layer_square(layer, tap.inputs[layer], d.detach()) for layer, d in pairs)


@torch.no_grad()
def _layer_square(layer: nn.Module, a: Tensor, d: Tensor) -> Tensor:
    """Squared norm of each sample's gradient with respect to the layer's own weight and bias, [n]."""
    if isinstance(layer, nn.Linear):
        weight, bias = _matrix_square(*(t.reshape(len(t), 1, -1, t.shape[-1]) for t in (a, d)))
    elif isinstance(layer, nn.Conv2d):
        weight, bias = _matrix_square(_patches(layer, a), d.unflatten(1, (layer.groups, -1)).flatten(3).mT)
    else:
        normal, axes = _normalised(layer, a)
        weight, bias = ((t.sum(axes) if axes else t).flatten(1).square().sum(1) for t in (normal * d, d))
    return weight if getattr(layer, "bias", None) is None else weight + bias


def _matrix_square(a: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Squared norms of sum_p d_p a_p' and of sum_p d_p; a [n, groups, p, in], d [n, groups, p, out]."""
    positions, size = a.shape[2], a.shape[3] * d.shape[3]
    if positions**2 < size:
        weight = ((a @ a.mT) * (d @ d.mT)).sum((1, 2, 3))
    else:
        weight = (d.mT @ a).square().sum((1, 2, 3))
    return weight, d.sum(2).square().sum((1, 2))


def _patches(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """What each output position of a convolution sees, [n, groups, positions, in / groups * kh * kw]."""
    sides = layer._reversed_padding_repeated_twice
    a = functional.pad(a, sides, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    columns = functional.unfold(a, layer.kernel_size, layer.dilation, 0, layer.stride)
    return columns.unflatten(1, (layer.groups, -1)).mT


def _normalised(layer: nn.Module, a: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Input of the affine map of a norm layer, and the axes over which its weight is shared."""
    if isinstance(layer, nn.LayerNorm):
        shared = range(1, a.dim() - len(layer.normalized_shape))
        return functional.layer_norm(a, layer.normalized_shape, eps=layer.eps), tuple(shared)
    axes = tuple(range(2, a.dim()))
    if isinstance(layer, nn.GroupNorm):
        return functional.group_norm(a, layer.num_groups, eps=layer.eps), axes
    assert isinstance(layer, nn.modules.batchnorm._NormBase)
    if layer.track_running_stats:
        assert layer.running_mean is not None and layer.running_var is not None
        return functional.batch_norm(a, layer.running_mean, layer.running_var, eps=layer.eps), axes
    return functional.instance_norm(a, eps=layer.eps), axes


@torch.no_grad()
def _survey(model: nn.Module, image: Tensor) -> tuple[int, int]:
    """Rough memory in bytes that one sample takes (activations, their derivatives, the largest unfolded input), and
    the number of classes.
    """
    kept, largest = [image.numel()], [0]

    def visit(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor):
            kept.append(output.numel())
        if isinstance(module, nn.Conv2d) and isinstance(output, Tensor):
            positions, size = output[0, 0].numel(), module.weight.numel()
            window = math.prod(module.kernel_size) * module.in_channels
            largest.append(2 * positions * window + min(positions**2 * 2, size))

    handles = [m.register_forward_hook(visit) for m in model.modules() if not list(m.children())]
    try:
        logits: Tensor = model(image)
    finally:
        for handle in handles:
            handle.remove()
    return image.element_size() * (3 * sum(kept) + max(largest)), logits.shape[1]


def _norms_one_by_one(model: nn.Module, images: Tensor, labels: Tensor, memory: int) -> Tensor:
    """The same by explicit per-sample gradients, vectorised over chunks."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    buffers = {name: b.detach() for name, b in model.named_buffers()}

    def sample_loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, (values, buffers), (x[None],))
        return functional.cross_entropy(logits, y[None])

    gradients = torch.func.vmap(torch.func.grad(sample_loss), in_dims=(None, 0, 0))
    weights = sum(p.numel() * p.element_size() for p in parameters.values())
    size = max(1, memory // (_survey(model, images[:1])[0] + 3 * weights))
    parts = []
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        found = gradients(parameters, x, y).values()
        parts.append(sum_over(g.flatten(1).square().sum(1) for g in found).sqrt())
    return torch.cat(parts)
