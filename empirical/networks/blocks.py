"""Pieces that the networks share: activations, norms, poolings, and the arithmetic of map sizes."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import nn

from empirical.runtime.registry import unknown

T = TypeVar("T")
Map = tuple[int, int]


def choose(what: str, choices: Mapping[str, T], name: str) -> T:
    """The choice of that name.

    Raises:
        ValueError: no such name; the sentence gives the nearest one and all.

    """
    if name in choices:
        return choices[name]
    raise unknown(what, name, choices)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": lambda: nn.LeakyReLU(0.01),
    "sigmoid": nn.Sigmoid,
    "swish": nn.SiLU,
}
_NORMS: dict[str, Callable[[int, Map], nn.Module]] = {
    "instance": lambda channels, size: nn.GroupNorm(channels, channels),
    "batch": lambda channels, size: nn.BatchNorm2d(channels),
    "layer": lambda channels, size: nn.LayerNorm([channels, *size]),
    "group": lambda channels, size: nn.GroupNorm(4, channels),
    "none": lambda channels, size: nn.Identity(),
}
_POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "average": lambda: nn.AvgPool2d(2),
    "max": lambda: nn.MaxPool2d(2),
    "none": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """relu, leaky-relu (slope 0.01), sigmoid or swish."""
    return choose("activation", _ACTIVATIONS, name)()


def norm(name: str, channels: int, size: Map) -> nn.Module:
    """Instance (one group a channel, affine, no running statistics), batch, layer, group (4 groups) or none.

    Raises:
        ValueError: unknown name; group norm of a width that 4 does not divide; instance norm of one pixel,
            which would erase its input.

    """
    make = choose("norm", _NORMS, name)
    if name == "instance" and size[0] * size[1] == 1:
        raise ValueError("instance norm over one pixel erases it: the images are too small for this network")
    if name == "group" and channels % 4:
        raise ValueError(f"group norm has 4 groups, which do not divide a width of {channels}")
    return make(channels, size)


def pooling(name: str) -> nn.Module:
    """Average or max over 2x2, or none."""
    return choose("pooling", _POOLINGS, name)()


def convolved(size: Map, kernel: int, padding: int, stride: int = 1) -> Map:
    """Size of the map after a convolution."""
    height, width = ((side + 2 * padding - kernel) // stride + 1 for side in size)
    return height, width


def halved(size: Map) -> Map:
    """Size of the map after a 2x2 pooling."""
    return size[0] // 2, size[1] // 2


def require_map(size: Map, network: str, shape: tuple[int, int, int]) -> None:
    """Raises ValueError if no pixel of the map is left."""
    if min(size) < 1:
        channels, height, width = shape
        raise ValueError(
            f"images of {channels}x{height}x{width} are too small for {network}: no pixel of its map is left"
        )
