"""Differentiable siamese augmentation (Zhao & Bilen, ICML 2021): a draw is data, and applying it is a pure
function.

`draw` takes everything random from one explicit generator: one operation a group of images and its
parameters, either one set shared by the whole group (siamese use: apply the same draw to the real and to the
synthetic batch of a class) or one set an image (network training and evaluation). Groups are classes in
gradient matching and networks in evaluation; all are drawn and augmented in one call. Gradients flow to the
images through every operation.

Images are normalised; what is shifted in from outside or cut out is 0, the data set's mean colour.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from empirical.runtime.devices import on_device
from empirical.runtime.registry import Registry

Strategy = tuple[str, ...]
Size = tuple[int, int]

SCALE = 1.2
"""Scale factors lie in 1/1.2 .. 1.2."""
ROTATION = 15.0
"""Angles lie in -15 .. 15 degrees."""


@dataclass(frozen=True)
class Draw:
    """One augmentation draw, as plain data: it can be kept, moved and applied again.

    Attributes:
        operations: name of the operation of each of the G groups ("none" leaves the group as it is).
        parameters: [G, m, 3], what each operation needs (see `OPERATIONS`); m is 1 (shared by all images of a
            group) or the number of images in a group.

    """

    operations: tuple[str, ...]
    parameters: Tensor


# Each operation has two halves. The first turns uniform numbers u [..., 3] and the image size into parameters
# of the same shape; the second maps images [b, c, H, W] with parameters [b, 3] to images. In the second, b
# counts parameter sets and c whatever shares one, channels of several images included, except for operations
# that need to know images (`color`).


def _stack(*columns: Tensor) -> Tensor:
    zero = torch.zeros_like(columns[0])
    return torch.stack([*columns, *[zero] * (3 - len(columns))], dim=-1)


def _integer(u: Tensor, count: int) -> Tensor:
    """Uniform on {0, ..., count - 1}; u times count may round up to count, hence the clamp."""
    return (u * count).floor().clamp(max=count - 1)


def _side(length: int, share: float) -> int:
    return int(length * share + 0.5)


def _color_parameters(u: Tensor, size: Size) -> Tensor:
    return _stack(u[..., 0] - 0.5, 2 * u[..., 1], 0.5 + u[..., 2])


def _color(images: Tensor, parameters: Tensor) -> Tensor:
    """Brightness, saturation, contrast of images [b, n, channels, H, W]: an offset and two factors about a
    mean.
    """
    offset, saturation, contrast = parameters[:, :, None, None, None].unbind(-1)
    images = images + offset
    grey = images.mean(dim=2, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = images.mean(dim=(2, 3, 4), keepdim=True)
    return mean + contrast * (images - mean)


def _crop_parameters(u: Tensor, size: Size) -> Tensor:
    shifts = [_side(side, 1 / 8) for side in size]
    return _stack(*(_integer(u[..., axis], 2 * shift + 1) - shift for axis, shift in enumerate(shifts)))


def _crop(images: Tensor, parameters: Tensor) -> Tensor:
    """Output pixel (y, x) is input pixel (y + rows, x + columns), or 0 outside."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) + parameters[:, 0:1].long()
    columns = torch.arange(width, device=images.device) + parameters[:, 1:2].long()
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    index = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    index = index.flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view(images.shape) * inside[:, None]


def _cutout_parameters(u: Tensor, size: Size) -> Tensor:
    """First row and column of the hole, which may lie outside; its centre is uniform on the pixel grid."""
    sides = [_side(length, 1 / 2) for length in size]
    centres = [_integer(u[..., axis], size[axis] + (1 - sides[axis] % 2)) for axis in (0, 1)]
    return _stack(*(centre - side // 2 for centre, side in zip(centres, sides, strict=True)))


def _cutout(images: Tensor, parameters: Tensor) -> Tensor:
    hole = []
    for axis, length in enumerate(images.shape[-2:]):
        distance = torch.arange(length, device=images.device) - parameters[:, axis : axis + 1]
        hole.append((distance >= 0) & (distance < _side(length, 1 / 2)))
    return images * ~(hole[0][:, :, None] & hole[1][:, None, :])[:, None]


def _flip_parameters(u: Tensor, size: Size) -> Tensor:
    return _stack((u[..., 0] < 0.5).to(u.dtype))


def _flip(images: Tensor, parameters: Tensor) -> Tensor:
    return torch.where(parameters[:, 0, None, None, None] > 0, images.flip(-1), images)


def _affine(images: Tensor, matrix: Tensor, mode: str = "bilinear") -> Tensor:
    """Output pixel at p is the input at matrix p; coordinates run over -1 .. 1 from edge to edge."""
    theta = functional.pad(matrix, (0, 1)).to(images.dtype)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _scale_parameters(u: Tensor, size: Size) -> Tensor:
    return _stack(*(1 / SCALE + u[..., axis] * (SCALE - 1 / SCALE) for axis in (0, 1)))


def _scale(images: Tensor, parameters: Tensor) -> Tensor:
    """A factor for columns and one for rows; above 1 the picture shrinks."""
    return _affine(images, torch.diag_embed(parameters[:, :2]))


def _rotate_parameters(u: Tensor, size: Size) -> Tensor:
    return _stack(torch.deg2rad((2 * u[..., 0] - 1) * ROTATION))


def rotation(angles: Tensor, size: Size) -> Tensor:
    """Matrices [b, 2, 2] that turn images of (height, width) pixels by angles [b] in radians about their
    centre.
    """
    cosine, sine, aspect = angles.cos(), angles.sin(), size[0] / size[1]
    return torch.stack([cosine, -sine * aspect, sine / aspect, cosine], dim=-1).unflatten(-1, (2, 2))


def _rotate(images: Tensor, parameters: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    return _affine(images, rotation(parameters[:, 0], (height, width)))


Parameters = Callable[[Tensor, Size], Tensor]
Apply = Callable[[Tensor, Tensor], Tensor]


class Operation(NamedTuple):
    """The two halves of an operation, and whether the second needs to know images (see `register`)."""

    parameters: Parameters
    apply: Apply
    whole_images: bool = False


OPERATIONS: Registry[Operation] = Registry("augmentation")
"""Parameters: color (brightness offset, saturation factor, contrast factor); crop (rows, columns) in pixels;
cutout (first row, first column); flip (1 or 0); scale (factor along columns, along rows); rotate (angle in
radians)."""
_NOT_OPERATIONS = ("none", "condensation")


def uniform(u: Tensor, size: Size) -> Tensor:
    """Parameters that are the uniform numbers themselves, [..., 3] in [0, 1)."""
    return u


def register(name: str, parameters: Parameters = uniform, whole_images: bool = False) -> Callable[[Apply], Apply]:
    """Decorator: makes the decorated function the operation `name` of strategies such as `color_crop_name`.

    The function is pure and differentiable: (images, parameters) -> images of the same shape. It is given maps
    [b, c, H, W] with one parameter set each, [b, 3], where c is whatever shares a set (channels, perhaps of several
    images); or, with `whole_images`, images [g, n, channels, H, W] with parameters [g, m, 3], m being 1 or n.

    Args:
        name: one word in small letters and digits.
        parameters: from uniform numbers [..., 3] and the image size (height, width) to parameters of the same shape.
        whole_images: which of the two the function takes.

    Raises:
        ValueError: the name is taken by another function (the same file may be imported again), or is no such word.

    """
    if not re.fullmatch(r"[a-z0-9]+", name) or name in _NOT_OPERATIONS:
        raise ValueError(
            f"{name!r} cannot name an augmentation: it takes one word of small letters and digits "
            f"(strategies join words by _), other than {' and '.join(_NOT_OPERATIONS)}"
        )

    def decorate(apply: Apply) -> Apply:
        OPERATIONS.add(name, Operation(parameters, apply, whole_images), apply)
        return apply

    return decorate


register("color", _color_parameters, whole_images=True)(_color)
register("crop", _crop_parameters)(_crop)
register("cutout", _cutout_parameters)(_cutout)
register("flip", _flip_parameters)(_flip)
register("scale", _scale_parameters)(_scale)
register("rotate", _rotate_parameters)(_rotate)

WITH_FLIP: Strategy = ("color", "crop", "cutout", "flip", "scale", "rotate")
WITHOUT_FLIP: Strategy = ("color", "crop", "cutout", "scale", "rotate")


def parse_strategy(text: str) -> Strategy:
    """The operations of a list like "color_crop_cutout_flip_scale_rotate"; "none" or "" is the empty
    strategy.

    Raises:
        ValueError: an unknown operation, or one named twice.

    """
    if text in ("", "none"):
        return ()
    operations = tuple(text.lower().replace("-", "_").split("_"))
    for operation in operations:
        if operation not in OPERATIONS:
            raise ValueError(
                f"unknown augmentation {operation!r} in {text!r}; the nearest is {OPERATIONS.nearest(operation)!r}, "
                f"all are: {', '.join(OPERATIONS)}"
            )
        if operations.count(operation) > 1:
            raise ValueError(f"augmentation {operation!r} stands twice in {text!r}")
    return operations


def default_strategy(flip: bool) -> Strategy:
    """All six operations where a mirrored image keeps its label, all but the flip for digits and unknown
    sets.
    """
    return WITH_FLIP if flip else WITHOUT_FLIP


def draw(
    generator: torch.Generator,
    strategy: Sequence[str],
    size: Size,
    groups: int = 1,
    images: int | None = None,
    device: torch.device | str | None = None,
) -> Draw:
    """One operation, uniform over the strategy, and its parameters, for each of several groups of images.

    Args:
        generator: where everything random comes from. On the CPU it costs a GPU no synchronisation.
        strategy: names of operations; an empty one draws "none".
        size: (height, width) of the images in pixels.
        groups: how many groups, each with an operation of its own.
        images: None: one parameter set a group (siamese); a number: one for each of so many images of a
            group.
        device: where the parameters are to lie; the generator's device if None.

    """
    numbers = torch.rand(groups, images or 1, 3, generator=generator, device=generator.device)
    if not strategy:
        return Draw(("none",) * groups, numbers.to(device or generator.device, non_blocking=True))
    chosen = torch.randint(len(strategy), (groups,), generator=generator, device=generator.device).tolist()
    operations = tuple(strategy[index] for index in chosen)
    parameters = torch.stack(
        [OPERATIONS[name].parameters(u, size) for name, u in zip(operations, numbers, strict=True)]
    )
    return Draw(operations, parameters.to(device or generator.device, non_blocking=True))


def _apply_one(name: str, images: Tensor, parameters: Tensor) -> Tensor:
    """One operation on images [k, n, channels, H, W] with parameters [k, m, 3]."""
    if name == "none":
        return images
    parameters, operation = parameters.to(images.dtype), OPERATIONS[name]
    if not operation.whole_images:
        sets, shared = parameters.shape[:2].numel(), images.shape[1] // parameters.shape[1]
        maps = images.reshape(sets, shared * images.shape[2], *images.shape[3:])
        changed = operation.apply(maps, parameters.flatten(0, 1))
        return _same_shape(name, changed, maps).reshape(images.shape)
    return _same_shape(name, operation.apply(images, parameters), images)


def _same_shape(name: str, changed: Tensor, images: Tensor) -> Tensor:
    if changed.shape != images.shape:
        raise ValueError(
            f"augmentation {name} turned {list(images.shape)} into {list(changed.shape)}; the shape of images must stay"
        )
    return changed


def apply(draw: Draw, images: Tensor) -> Tensor:
    """Augments images by a draw; pure and differentiable with respect to the images.

    Args:
        draw: of G groups.
        images: [G, n, channels, height, width], or [n, channels, height, width] if G is 1; normalised.

    Returns:
        Images of the same shape.

    Raises:
        ValueError: the number of groups, or of images in a group, is not that of the draw.

    """
    if images.dim() == 4:
        return apply(draw, images[None])[0]
    groups, count = images.shape[:2]
    if len(draw.operations) != groups or draw.parameters.shape[1] not in (1, count):
        raise ValueError(
            f"a draw for {len(draw.operations)} groups of {draw.parameters.shape[1]} parameter sets "
            f"does not fit {groups} groups of {count} images"
        )
    members: dict[str, list[int]] = {}
    for group, name in enumerate(draw.operations):
        members.setdefault(name, []).append(group)
    if len(members) == 1:
        return _apply_one(draw.operations[0], images, draw.parameters)
    order = [group for groups_ in members.values() for group in groups_]
    parts = []
    for name, groups_ in members.items():
        index = on_device(groups_, images.device)
        parts.append(_apply_one(name, images[index], draw.parameters[index]))
    back = on_device(order, images.device).argsort()
    return torch.cat(parts)[back]


@dataclass(frozen=True)
class SiameseAugmentation:
    """A strategy as an object that training, evaluation and matching can be given: `draw`, then `apply`."""

    strategy: Strategy

    @property
    def name(self) -> str:
        """How the recipe of a stored set spells it."""
        return "_".join(self.strategy) or "none"

    def draw(
        self,
        generator: torch.Generator,
        size: Size,
        groups: int = 1,
        images: int | None = None,
        device: torch.device | str | None = None,
    ) -> Draw:
        """See the function `draw`."""
        return draw(generator, self.strategy, size, groups, images, device)

    def apply(self, draw: Draw, images: Tensor) -> Tensor:
        """See the function `apply`."""
        return apply(draw, images)
