"""ResNet-18 and ResNet-34 for small images: 3x3 stem of stride 1, no bias in convolutions, average over the
last map.

The published networks pool 4x4 at the end, which is the whole map at 28 and 32 pixels; here it is the whole
map at every size. On images under 16 pixels a stride that would leave one pixel to an instance norm is left
out.
"""

from torch import Tensor, nn

from empirical.networks.blocks import Map, convolved
from empirical.networks.blocks import activation as make_activation
from empirical.networks.blocks import norm as make_norm
from empirical.networks.registry import Classifier, Shape, register


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with norm, added to a shortcut (1x1 convolution, norm) where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int, size: Map, activation: str, norm: str):
        super().__init__()
        after = convolved(size, 3, 1, stride)
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = make_norm(norm, width, after)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = make_norm(norm, width, after)
        self.activation = make_activation(activation)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), make_norm(norm, width, after)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [n, in, h, w] -> [n, width, h / stride, w / stride]."""
        out = self.norm2(self.conv2(self.activation(self.norm1(self.conv1(maps)))))
        return self.activation(out + self.shortcut(maps))


class ResNet(Classifier):
    """Four stages of basic blocks at width, 2 width, 4 width, 8 width; stride 2 at the start of stages 2 to
    4.
    """

    def __init__(
        self, shape: Shape, classes: int, blocks: tuple[int, ...], width: int, activation: str, norm: str
    ):
        super().__init__()
        size = shape[1:]
        stem = [
            nn.Conv2d(shape[0], width, 3, padding=1, bias=False),
            make_norm(norm, width, size),
            make_activation(activation),
        ]
        body, channels = [], width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 and min(size) > 2 else 1
                body.append(BasicBlock(channels, width << stage, stride, size, activation, norm))
                channels, size = width << stage, convolved(size, 3, 1, stride)
        self.maps = nn.Sequential(*stem, *body)
        self.classifier = nn.Linear(channels, classes)

    def features(self, images: Tensor) -> Tensor:
        """Mean over the last map, [n, 8 width]."""
        return self.maps(images).mean(dim=(-2, -1))


@register("resnet18")
def resnet18(
    shape: Shape, classes: int, width: int = 64, activation: str = "relu", norm: str = "instance"
) -> ResNet:
    """ResNet-18."""
    return ResNet(shape, classes, (2, 2, 2, 2), width, activation, norm)


@register("resnet34")
def resnet34(
    shape: Shape, classes: int, width: int = 64, activation: str = "relu", norm: str = "instance"
) -> ResNet:
    """ResNet-34."""
    return ResNet(shape, classes, (3, 4, 6, 3), width, activation, norm)
