"""What one image costs in a network: arithmetic and activation memory, from its layers' shapes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Cost:
    """Of one image, forward.

    Attributes:
        multiply_adds: in convolution and linear layers. Forward and backward together are about three times
            as many, at two floating-point operations each.
        largest_output: numbers in the largest output of a layer.
        outputs: numbers in the outputs of all layers, an estimate of what a backward pass keeps.

    """

    multiply_adds: int
    largest_output: int
    outputs: int

    @property
    def training_flop(self) -> int:
        """Floating-point operations of forward and backward."""
        return 6 * self.multiply_adds


@torch.no_grad()
def measure(network: nn.Module, shape: tuple[int, int, int]) -> Cost:
    """Cost of one image of `shape` (channels, height, width), by one forward pass in evaluation mode."""
    multiply_adds, sizes = 0, [1]

    def visit(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal multiply_adds
        sizes.append(output[0].numel())
        if isinstance(module, nn.Conv2d):
            multiply_adds += module.weight[0].numel() * output[0].numel()
        elif isinstance(module, nn.Linear):
            multiply_adds += module.weight.numel() * output[0].numel() // module.out_features

    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [module.register_forward_hook(visit) for module in leaves]
    modes = [(module, module.training) for module in network.modules()]
    parameter = next(network.parameters())
    try:
        network.eval()
        network(torch.zeros(1, *shape, dtype=parameter.dtype, device=parameter.device))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return Cost(multiply_adds, max(sizes), sum(sizes))
