"""A network as a pure function of its parameters: as a list, or as one flat vector (or a stack of either).

Gradient matching differentiates with respect to a list, trajectory matching moves one flat vector, evaluation
trains a stack of networks at once; all read the parameters in the network's own order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Functional:
    """`network` seen as `(parameters, images) -> logits`; the network itself is never changed.

    Attributes:
        names: parameter names in order.
        shapes: their shapes.
        size: number of scalars of all parameters.

    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.names = [name for name, _ in network.named_parameters()]
        self.shapes = [parameter.shape for parameter in network.parameters()]
        self._sizes = [shape.numel() for shape in self.shapes]
        self.size = sum(self._sizes)

    def __call__(self, parameters: Sequence[Tensor], images: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, channels, height, width] under a list of parameters."""
        return functional_call(self.network, dict(zip(self.names, parameters, strict=True)), (images,))

    def many(self, parameters: Sequence[Tensor], images: Tensor, shared: bool = False) -> Tensor:
        """Logits [K, n, classes] of K networks, parameters stacked along a leading axis.

        Args:
            parameters: tensors [K, *shape].
            images: [K, n, channels, height, width], or [n, ...] with `shared`, the same images for every
                network.
            shared: whether the K networks see the same images.

        """
        return torch.func.vmap(self.__call__, in_dims=(0, None if shared else 0))(list(parameters), images)

    def flatten(self, parameters: Sequence[Tensor]) -> Tensor:
        """List of [..., *shape] -> [..., size]; leading axes, if any, are kept."""
        leading = parameters[0].dim() - len(self.shapes[0])
        return torch.cat([tensor.flatten(leading) for tensor in parameters], dim=-1)

    def unflatten(self, vector: Tensor) -> list[Tensor]:
        """[..., size] -> list of [..., *shape], views of the vector."""
        parts = vector.split(self._sizes, dim=-1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self.shapes, strict=True)]
