"""The evaluation augmentation of Dataset Condensation (Zhao, Mopuri & Bilen, ICLR 2021), used on MNIST.

Each image gets one of three operations, uniformly: a random window of the image padded by 4 with the batch's
channel mean; an independent scaling of height and width, nearest pixel, on a ground of zero; a rotation by
whole degrees, cubic, on a ground of the mean. For networks with batch norm the published program crops or
adds noise instead. The published program loops over images on the host; here a batch is at most three
samplings on the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from empirical.data.augmentation import Size, rotation
from empirical.runtime.devices import on_device

PADDING = 4
SCALES = (0.8, 1.2)
DEGREES = (-45, 44)
NOISE = 0.001

WITHOUT_BATCH_NORM = ("crop", "scale", "rotate")
WITH_BATCH_NORM = ("crop", "noise")


@dataclass(frozen=True)
class CondensationDraw:
    """One draw for G groups of n images, as plain data.

    Attributes:
        operations: names, one an image, group by group (G * n).
        parameters: [G * n, 2]: crop (rows, columns) in pixels; scale (height, width) factors; rotate
            (degrees, -).
        noise_seed: seed of the noise, for the images that get noise.

    """

    operations: tuple[str, ...]
    parameters: Tensor
    noise_seed: int


def _sample(images: Tensor, matrix: Tensor, shift: Tensor, mode: str) -> Tensor:
    theta = torch.cat([matrix, shift[:, :, None]], dim=-1).to(images.dtype)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _parameters(name: str, u: Tensor) -> Tensor:
    """Parameters [2] of one image from two uniform numbers."""
    if name == "crop":
        return (u * 2 * PADDING).floor().clamp(max=2 * PADDING - 1) - PADDING
    if name == "scale":
        return SCALES[0] + u * (SCALES[1] - SCALES[0])
    low, high = DEGREES
    return low + (u * (high - low + 1)).floor().clamp(max=high - low)


def _apply_one(name: str, images: Tensor, parameters: Tensor, mean: Tensor, seed: int) -> Tensor:
    """One operation on images [k, channels, H, W] with parameters [k, 2] and channel means [k, channels, 1,
    1].
    """
    height, width = images.shape[-2:]
    zero = torch.zeros_like(parameters)
    identity = torch.eye(2, device=images.device).expand(len(images), 2, 2)
    if name == "noise":
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
        return images + NOISE * noise.to(images)
    if name == "crop":
        # A whole number of pixels: nearest sampling is a copy.
        shift = 2 * parameters.flip(-1) / on_device([width, height], images.device)
        return _sample(images - mean, identity, shift, "nearest") + mean
    if name == "scale":
        return _sample(images, torch.diag_embed(1 / parameters.flip(-1)), zero, "nearest")
    turn = rotation(torch.deg2rad(parameters[:, 0]), (height, width))
    return _sample(images - mean, turn, zero, "bicubic") + mean


@dataclass(frozen=True)
class CondensationAugmentation:
    """The augmentation as an object with `draw` and `apply`, like `SiameseAugmentation`."""

    operations: Sequence[str] = WITHOUT_BATCH_NORM

    @property
    def name(self) -> str:
        """How the recipe of a stored set spells it."""
        return "condensation:" + "_".join(self.operations)

    def draw(
        self,
        generator: torch.Generator,
        size: Size,
        groups: int = 1,
        images: int | None = None,
        device: torch.device | str | None = None,
    ) -> CondensationDraw:
        """One operation and its parameters for each image.

        Args:
            generator: where everything random comes from.
            size: (height, width), unused; here so that all augmentations are drawn alike.
            groups: number of groups of images; each group has its own channel mean.
            images: number of images in a group; 1 if None.
            device: where the parameters are to lie.

        """
        count, source = groups * (images or 1), generator.device
        numbers = torch.rand(count, 2, generator=generator, device=source)
        chosen = torch.randint(len(self.operations), (count,), generator=generator, device=source).tolist()
        seed = int(torch.randint(2**31, (), generator=generator, device=source))
        names = tuple(self.operations[index] for index in chosen)
        parameters = torch.stack([_parameters(name, u) for name, u in zip(names, numbers, strict=True)])
        return CondensationDraw(names, parameters.to(device or source, non_blocking=True), seed)

    def apply(self, draw: CondensationDraw, images: Tensor) -> Tensor:
        """Augments images [G, n, channels, H, W], or [n, channels, H, W] for one group.

        Raises:
            ValueError: the draw is for another number of images.

        """
        if images.dim() == 4:
            return self.apply(draw, images[None])[0]
        flat = images.flatten(0, 1)
        if len(flat) != len(draw.operations):
            raise ValueError(f"a draw for {len(draw.operations)} images does not fit {len(flat)} images")
        mean = images.mean(dim=(1, 3, 4), keepdim=True).expand(-1, images.shape[1], -1, -1, -1).flatten(0, 1)
        order: list[int] = []
        parts = []
        for name in dict.fromkeys(draw.operations):
            members = [i for i, operation in enumerate(draw.operations) if operation == name]
            index = on_device(members, images.device)
            parts.append(_apply_one(name, flat[index], draw.parameters[index], mean[index], draw.noise_seed))
            order += members
        back = on_device(order, images.device).argsort()
        return torch.cat(parts)[back].view(images.shape)
