"""Two hidden layers over the flattened image."""

import math

from torch import Tensor, nn

from empirical.networks.blocks import activation as make_activation
from empirical.networks.registry import Classifier, Shape, register


class MLP(Classifier):
    """Flatten, linear, activation, linear, activation, linear."""

    def __init__(self, shape: Shape, classes: int, width: int, activation: str):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(math.prod(shape), width),
            make_activation(activation),
            nn.Linear(width, width),
            make_activation(activation),
        )
        self.classifier = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        """Second hidden layer, [n, width]."""
        return self.hidden(images.flatten(1))


@register("mlp")
def mlp(shape: Shape, classes: int, width: int = 128, activation: str = "relu") -> MLP:
    """MLP with two hidden layers of one width."""
    return MLP(shape, classes, width, activation)
