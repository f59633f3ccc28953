"""VGG-11 with norm and a single linear layer.

On images under 32 pixels the five poolings would leave one pixel for the last norm layers, and instance norm
erases a map of one pixel. A pooling that would do so is left out; at 28 and 32 pixels this changes nothing.
"""

from torch import Tensor, nn

from empirical.networks.blocks import activation as make_activation
from empirical.networks.blocks import convolved, halved, pooling, require_map
from empirical.networks.blocks import norm as make_norm
from empirical.networks.registry import Classifier, Shape, register

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class VGG(Classifier):
    """Stages of [conv 3x3 pad 1 (first pad 3 if there is one channel), norm, activation], each ended by a
    pooling.
    """

    def __init__(self, shape: Shape, classes: int, activation: str, norm: str, pooling_name: str):
        super().__init__()
        layers: list[nn.Module] = []
        channels, size = shape[0], shape[1:]
        for stage, widths in enumerate(STAGES):
            for width in widths:
                padding = 3 if shape[0] == 1 and not layers else 1
                size = convolved(size, 3, padding)
                layers += [
                    nn.Conv2d(channels, width, 3, padding=padding),
                    make_norm(norm, width, size),
                    make_activation(activation),
                ]
                channels = width
            last = stage == len(STAGES) - 1
            if min(size) >= (2 if last else 4):
                layers.append(pooling(pooling_name))
                size = halved(size) if pooling_name != "none" else size
        require_map(size, "VGG-11", shape)
        self.maps = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * size[0] * size[1], classes)

    def features(self, images: Tensor) -> Tensor:
        """Last pooled maps, flattened; 512 numbers at 28 and 32 pixels."""
        return self.maps(images).flatten(1)


@register("vgg11")
def vgg11(
    shape: Shape, classes: int, activation: str = "relu", norm: str = "instance", pooling: str = "max"
) -> VGG:
    """VGG-11."""
    return VGG(shape, classes, activation, norm, pooling)
