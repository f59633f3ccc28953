"""LeNet-5 as the field evaluates on it: ReLU, max-pooling, first convolution padded by 2 if there is one
channel.
"""

from torch import Tensor, nn

from empirical.networks.blocks import activation as make_activation
from empirical.networks.blocks import convolved, halved, require_map
from empirical.networks.registry import Classifier, Shape, register


class LeNet(Classifier):
    """Two convolutions 5x5 (6 and 16 maps), each with activation and max-pooling; linear 120, 84, classes."""

    def __init__(self, shape: Shape, classes: int, activation: str):
        super().__init__()
        padding = 2 if shape[0] == 1 else 0
        size = halved(convolved(halved(convolved(shape[1:], 5, padding)), 5, 0))
        require_map(size, "LeNet", shape)
        self.maps = nn.Sequential(
            nn.Conv2d(shape[0], 6, 5, padding=padding),
            make_activation(activation),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            make_activation(activation),
            nn.MaxPool2d(2),
        )
        self.hidden = nn.Sequential(
            nn.Linear(16 * size[0] * size[1], 120),
            make_activation(activation),
            nn.Linear(120, 84),
            make_activation(activation),
        )
        self.classifier = nn.Linear(84, classes)

    def features(self, images: Tensor) -> Tensor:
        """Second hidden layer, [n, 84]."""
        return self.hidden(self.maps(images).flatten(1))


@register("lenet")
def lenet(shape: Shape, classes: int, activation: str = "relu") -> LeNet:
    """LeNet-5; refuses images under 12 pixels (one channel) or 16 (several)."""
    return LeNet(shape, classes, activation)
