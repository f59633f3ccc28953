"""Names of networks and how to build one of them for a given image shape.

A new network is one file with one factory under `@register("name")`; the factory takes the image shape and
the number of classes, and, as keywords with defaults, the variants it knows. Import the file (a user's own by
`--plugin FILE`) and the name is known.
"""

import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from empirical.networks.initialisation import initialise
from empirical.runtime.memory import refuse_too_large
from empirical.runtime.registry import Registry, unknown

Shape = tuple[int, int, int]


class Classifier(nn.Module):
    """What every network of the registry is: images [n, channels, height, width] -> logits [n, classes].

    A subclass defines `features` and sets `classifier`, its last linear layer. Parameters stand in the order
    of the forward pass, `classifier.weight` and `classifier.bias` last.
    """

    classifier: nn.Linear

    def features(self, images: Tensor) -> Tensor:
        """Activations before the last linear layer, [n, features]; flattened as channel, row, column."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Logits, [n, classes]."""
        return self.classifier(self.features(images))


_ALWAYS_FITS = 1024
"""Up to this width, depth and number of classes no network is too large."""
Factory = Callable[..., Classifier]
_factories: Registry[Factory] = Registry("network")


def register(name: str) -> Callable[[Factory], Factory]:
    """Decorator: makes `build(name, ...)` call the decorated factory `(shape, classes, **variant) ->
    Classifier`.

    Raises:
        ValueError: the name is taken by another function (the same file may be imported again), or is no name.

    """

    def decorate(factory: Factory) -> Factory:
        _factories.add(name, factory)
        return factory

    return decorate


def names() -> list[str]:
    """The registered names, sorted."""
    return sorted(_factories)


def _factory(name: str) -> Factory:
    factory = _factories.find(name)
    if factory is None:
        raise unknown("network", name, names())
    return factory


def variants(name: str) -> dict[str, object]:
    """The variants that a network knows (width, depth, activation, norm, pooling), with their defaults.

    Raises:
        ValueError: unknown name.

    """
    parameters = inspect.signature(_factory(name)).parameters
    return {key: p.default for key, p in parameters.items() if key not in ("shape", "classes")}


def _refuse_too_wide(factory: Factory, shape: Shape, classes: int, variant: Mapping[str, object]) -> None:
    """Counts the parameters on the device that holds no numbers; ValueError if they do not fit into memory."""
    if not any(isinstance(value, int) and value > _ALWAYS_FITS for value in (classes, *variant.values())):
        return
    with torch.device("meta"):
        parameters = sum(p.numel() for p in factory(shape, classes, **variant).parameters())
    asked = ", ".join(f"{key} {value}" for key, value in variant.items())
    refuse_too_large(4.0 * parameters, f"a network of {parameters:.3g} parameters ({asked})", "a smaller --width")


def build(
    name: str, shape: Shape, classes: int = 10, generator: torch.Generator | None = None, **variant: object
) -> Classifier:
    """A network of the given name for images of one shape, with the framework's default initialisation.

    Args:
        name: one of `names()`; case, hyphens and underscores do not matter ("ResNet-18" is "resnet18").
        shape: (channels, height, width) of an image.
        classes: number of logits.
        generator: where the initial weights are drawn from; without one they are those of seed 0. The global
            generator is neither read nor moved.
        variant: width, depth, activation, norm, pooling, as far as the network knows them.

    Raises:
        ValueError: unknown name or variant, or images too small for the network.

    """
    factory, known = _factory(name), variants(name)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"an image shape is (channels, height, width), all at least 1, not {tuple(shape)}")
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, not {classes}")
    unknown = [key for key in variant if key not in known]
    if unknown:
        raise ValueError(
            f"network {name!r} has no variant {unknown[0]!r}; it knows: {', '.join(known) or 'none'}"
        )
    _refuse_too_wide(factory, shape, classes, variant)
    with torch.random.fork_rng(devices=[]):
        network = factory(shape, classes, **variant)
    initialise(network, generator or torch.Generator().manual_seed(0))
    return network
