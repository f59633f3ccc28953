"""From stored pixels to what a network sees, and back: mean / std normalisation, and its contract.

`Preprocessing` is what a data set holds and a synthetic set records; `Normalisation` is the usual one,
`empirical.data.whitening.Whitening` the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from empirical.runtime.devices import on_device


class Preprocessing(Protocol):
    """An invertible map between pixels in [0, 1] and network inputs, both [N, C, H, W]."""

    def apply(self, pixels: Tensor) -> Tensor:
        """Network input from floating pixels in [0, 1]."""
        ...

    def invert(self, inputs: Tensor) -> Tensor:
        """Pixels from network input: in [0, 1] for real images, unclipped for synthetic ones."""
        ...

    def describe(self) -> dict[str, Any]:
        """The recipe as plain JSON values, with its `kind`."""
        ...


@dataclass(frozen=True)
class Normalisation:
    """(pixels - mean) / std, channel by channel; pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels and std {len(self.std)}; they must agree")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive in every channel, got {self.std}")

    def _constants(self, like: Tensor) -> tuple[Tensor, Tensor]:
        def column(values: tuple[float, ...]) -> Tensor:
            return on_device(values, like.device, like.dtype).view(1, -1, 1, 1)

        return column(self.mean), column(self.std)

    def apply(self, pixels: Tensor) -> Tensor:
        """Normalised images from floating pixels in [0, 1]."""
        mean, std = self._constants(pixels)
        return (pixels - mean) / std

    def invert(self, inputs: Tensor) -> Tensor:
        """Pixels from normalised images."""
        mean, std = self._constants(inputs)
        return inputs * std + mean

    def describe(self) -> dict[str, Any]:
        """`{"kind": "normalisation", "mean": [...], "std": [...]}`."""
        return {"kind": "normalisation", "mean": list(self.mean), "std": list(self.std)}

    @staticmethod
    def from_description(description: Mapping[str, Any]) -> Normalisation:
        """The inverse of `describe`."""
        return Normalisation(tuple(map(float, description["mean"])), tuple(map(float, description["std"])))

    @staticmethod
    def measured(images: Tensor) -> Normalisation:
        """Channel mean and (population) standard deviation over all pixels of uint8 images [N, C, H, W].

        Exact: from the integer histogram of each channel. A constant channel gets std 1.
        """
        means: list[float] = []
        deviations: list[float] = []
        levels = torch.arange(256, dtype=torch.float64) / 255
        for channel in images.transpose(0, 1):
            weight = torch.bincount(channel.reshape(-1), minlength=256).double().cpu()
            weight /= weight.sum()
            mean = float(weight @ levels)
            means.append(mean)
            deviations.append(float((weight @ (levels - mean) ** 2).sqrt()) or 1.0)
        return Normalisation(tuple(means), tuple(deviations))


def to_pixels(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Floating pixels in [0, 1] from uint8 images."""
    return images.to(dtype) / 255


def to_uint8(pixels: Tensor) -> Tensor:
    """uint8 images from floating pixels, clipped to [0, 1] and rounded (for pictures and exports)."""
    return (pixels.detach().clamp(0, 1) * 255).round().to(torch.uint8)
