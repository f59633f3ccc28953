"""The framework's default initialisation, from an explicit generator.

Convolution and linear layers: weights and biases uniform in +-1 / sqrt(fan in), which is what Kaiming-uniform
with a = sqrt 5 amounts to; norm layers: weight 1, bias 0. All weights of a network are one draw, so that many
networks are one draw too, and the same seed gives the same network in float32 and float64, on a CPU and on a
GPU.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_NORMS = (nn.GroupNorm, nn.LayerNorm, _BatchNorm)


def _bounds(network: nn.Module) -> list[tuple[Tensor, float, float]]:
    """For each parameter, in order: itself, half the width of its uniform law, and the centre of the law."""
    laws: dict[Tensor, tuple[float, float]] = {}
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = 1.0 / math.sqrt(module.weight[0].numel())
            laws.update(dict.fromkeys(own, (bound, 0.0)))
        elif isinstance(module, _NORMS):
            laws[module.weight], laws[module.bias] = (0.0, 1.0), (0.0, 0.0)
        else:
            raise ValueError(
                f"no default initialisation is known for {type(module).__name__}; "
                "networks are made of convolution, linear and norm layers"
            )
    return [(parameter, *laws[parameter]) for parameter in network.parameters()]


def _draw(network: nn.Module, generator: torch.Generator) -> list[Tensor]:
    laws = _bounds(network)
    size = sum(parameter.numel() for parameter, bound, _ in laws if bound)
    numbers = torch.rand(size, generator=generator, device=generator.device, dtype=torch.float32)
    numbers = numbers.mul_(2).sub_(1)
    device = next(network.parameters()).device
    numbers = numbers.to(device, non_blocking=True)  # one copy, which the host does not wait for
    values, at = [], 0
    for parameter, bound, centre in laws:
        if bound:
            value = numbers[at : at + parameter.numel()].view(parameter.shape) * bound
            at += parameter.numel()
        else:
            value = torch.full_like(parameter, centre)
        values.append(value.to(device=parameter.device, dtype=parameter.dtype))
    return values


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Overwrites the network's parameters by a fresh draw and resets running statistics; returns the network.

    Raises:
        ValueError: the network has a layer whose default initialisation is not known.

    """
    for parameter, value in zip(network.parameters(), _draw(network, generator), strict=True):
        parameter.copy_(value)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
    return network


@torch.no_grad()
def initialise_many(network: nn.Module, generators: Sequence[torch.Generator]) -> list[Tensor]:
    """Parameters of many networks, stacked: one tensor [len(generators), *shape] a parameter, in order.

    Row i is bit for bit what `initialise(network, generators[i])` would have written. The network is not
    changed.
    """
    rows = [_draw(network, generator) for generator in generators]
    return [torch.stack(column) for column in zip(*rows, strict=True)]
