"""The ConvNet of the field (Gidaris & Komodakis, CVPR 2018): depth x [conv 3x3, norm, activation, pool],
linear.

Depth 3, width 128, instance norm, ReLU and average pooling is what gradient and trajectory matching use at 28
and 32 pixels, depth 4 at 64. The first convolution pads by 3 if the input has one channel, whatever its size
(28 -> 32).
"""

from torch import Tensor, nn

from empirical.networks.blocks import Map, activation, convolved, halved, norm, pooling
from empirical.networks.registry import Classifier, Shape, register


class Block(nn.Module):
    """Convolution, norm, activation, pooling; its parameters stand in this order."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module, activation: nn.Module, pooling: nn.Module):
        super().__init__()
        self.conv, self.norm, self.activation, self.pool = convolution, norm, activation, pooling

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [n, in, h, w] -> [n, out, h', w']."""
        return self.pool(self.activation(self.norm(self.conv(maps))))


def _sizes(shape: Shape, depth: int, pooled: bool) -> list[Map]:
    """Map size behind the convolution of each block, and at last that before the linear layer."""
    size, sizes = shape[1:], []
    for block in range(depth):
        size = convolved(size, kernel=3, padding=3 if shape[0] == 1 and block == 0 else 1)
        sizes.append(size)
        size = halved(size) if pooled else size
    return [*sizes, size]


class ConvNet(Classifier):
    """See the module's text. Raises ValueError if `depth` blocks leave no pixel, naming the largest depth."""

    def __init__(
        self,
        shape: Shape,
        classes: int,
        width: int = 128,
        depth: int = 3,
        activation_name: str = "relu",
        norm_name: str = "instance",
        pooling_name: str = "average",
    ):
        super().__init__()
        if depth < 1 or width < 1:
            raise ValueError(f"depth and width of a ConvNet are at least 1, not {depth} and {width}")
        pooled = pooling_name != "none"
        sizes = _sizes(shape, depth, pooled)
        if min(sizes[-1]) < 1:
            largest = max((d for d in range(1, depth) if min(_sizes(shape, d, pooled)[-1]) >= 1), default=0)
            raise ValueError(
                f"a ConvNet of depth {depth} leaves no pixel of a {shape[0]}x{shape[1]}x{shape[2]} image; "
                + (f"the largest depth is {largest}" if largest else "the image is too small for any depth")
            )
        blocks = []
        for index, size in enumerate(sizes[:-1]):
            first = index == 0
            convolution = nn.Conv2d(
                shape[0] if first else width, width, 3, padding=3 if first and shape[0] == 1 else 1
            )
            blocks.append(
                Block(
                    convolution,
                    norm(norm_name, width, size),
                    activation(activation_name),
                    pooling(pooling_name),
                )
            )
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(width * sizes[-1][0] * sizes[-1][1], classes)

    def features(self, images: Tensor) -> Tensor:
        """Pooled maps of the last block, flattened, [n, width * height * width]."""
        return self.blocks(images).flatten(1)


@register("convnet")
def convnet(
    shape: Shape,
    classes: int,
    width: int = 128,
    depth: int = 3,
    activation: str = "relu",
    norm: str = "instance",
    pooling: str = "average",
) -> ConvNet:
    """ConvNet of any width and depth."""
    return ConvNet(shape, classes, width, depth, activation, norm, pooling)


@register("convnetd4")
def convnetd4(
    shape: Shape,
    classes: int,
    width: int = 128,
    activation: str = "relu",
    norm: str = "instance",
    pooling: str = "average",
) -> ConvNet:
    """ConvNet of four blocks, the field's choice for 64x64 images."""
    return ConvNet(shape, classes, width, 4, activation, norm, pooling)
