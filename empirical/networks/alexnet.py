"""The small-image AlexNet of the field: five convolutions, three max-poolings, one linear layer; no norm, no
dropout.
"""

from torch import Tensor, nn

from empirical.networks.blocks import activation as make_activation
from empirical.networks.blocks import convolved, halved, require_map
from empirical.networks.registry import Classifier, Shape, register


class AlexNet(Classifier):
    """The first convolution pads by 4 if the input has one channel (28 -> 32), else by 2."""

    def __init__(self, shape: Shape, classes: int, activation: str):
        super().__init__()
        padding = 4 if shape[0] == 1 else 2
        size = halved(halved(halved(convolved(shape[1:], 5, padding))))
        require_map(size, "AlexNet", shape)
        self.maps = nn.Sequential(
            nn.Conv2d(shape[0], 128, 5, padding=padding),
            make_activation(activation),
            nn.MaxPool2d(2),
            nn.Conv2d(128, 192, 5, padding=2),
            make_activation(activation),
            nn.MaxPool2d(2),
            nn.Conv2d(192, 256, 3, padding=1),
            make_activation(activation),
            nn.Conv2d(256, 192, 3, padding=1),
            make_activation(activation),
            nn.Conv2d(192, 192, 3, padding=1),
            make_activation(activation),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(192 * size[0] * size[1], classes)

    def features(self, images: Tensor) -> Tensor:
        """Last pooled maps, flattened."""
        return self.maps(images).flatten(1)


@register("alexnet")
def alexnet(shape: Shape, classes: int, activation: str = "relu") -> AlexNet:
    """AlexNet for small images."""
    return AlexNet(shape, classes, activation)
