"""A network whose convolutions, norms and poolings are written out for the compiler and for forward mode.

The compiler turns sums, means and products into few fused loops, where the library's group norm (a running mean and
variance) and the backward pass of its average pooling (index arithmetic for every pixel) come out slow.
Measured by `python -m benchmarks.trajectory_matching --variants exact compiled`.
"""

import copy

from torch import Tensor, nn
from torch.autograd.forward_ad import make_dual, unpack_dual

_HALVING = (2, (2, 2))
"""Kernel sizes and strides of a pooling over 2x2."""


class _Conv2d(nn.Conv2d):
    """In forward mode, images that do not move: the library would convolve the zeros that are their tangent."""

    def forward(self, input: Tensor) -> Tensor:
        weight, tangent = unpack_dual(self.weight)
        if tangent is None or unpack_dual(input).tangent is not None:
            return self._conv_forward(input, self.weight, self.bias)
        bias, of_bias = (None, None) if self.bias is None else unpack_dual(self.bias)
        return make_dual(self._conv_forward(input, weight, bias), self._conv_forward(input, tangent, of_bias))


def _standardising(rows: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(s, a, b) such that a s + b has mean 0 and variance 1 along the last axis.

    Var x = mean(s^2) - mean(s)^2 for s = x - c, whatever the constant c; with c = mean(x) nothing cancels. Seen this
    way s has the derivative of x, and all derivatives need the sums of one pass; through s = x - mean(x) each needs a
    second pass for the mean.
    """
    shifted = rows - rows.mean(-1, keepdim=True).detach()
    mean = shifted.mean(-1, keepdim=True)
    scale = (shifted.square().mean(-1, keepdim=True) - mean.square() + eps).rsqrt()
    return shifted, scale, -mean * scale


class _GroupNorm(nn.GroupNorm):
    def forward(self, input: Tensor) -> Tensor:
        shifted, scale, offset = _standardising(input.reshape(len(input), self.num_groups, -1), self.eps)
        if self.affine:
            weight, bias = self.weight.view(self.num_groups, -1), self.bias.view(self.num_groups, -1)
            scale, offset = weight * scale, weight * offset + bias  # [n, groups, channels a group]
        maps = shifted.view(len(input), self.num_groups, scale.shape[2], -1)
        return (maps * scale[..., None] + offset[..., None]).view(input.shape)


class _LayerNorm(nn.LayerNorm):
    """The library's has a wrong second derivative in reverse over forward mode (torch 2.15)."""

    def forward(self, input: Tensor) -> Tensor:
        shifted, scale, offset = _standardising(input.flatten(-len(self.normalized_shape)), self.eps)
        scaled = (shifted * scale + offset).view(input.shape)
        return scaled * self.weight + self.bias if self.elementwise_affine else scaled


class _Halved(nn.AvgPool2d):
    def forward(self, input: Tensor) -> Tensor:
        count, channels, height, width = input.shape
        even = input[:, :, : height // 2 * 2, : width // 2 * 2]  # a last odd row or column is left out
        return even.reshape(count, channels, height // 2, 2, width // 2, 2).mean((3, 5))


def _halves(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.AvgPool2d)
        and module.kernel_size in _HALVING
        and module.stride in _HALVING
        and module.padding in (0, (0, 0))
        and not module.ceil_mode
        and module.divisor_override is None
    )


def elementary(network: nn.Module) -> nn.Module:
    """A copy with convolutions, group norms (instance norm among them), layer norms and poolings over 2x2 written out.

    It has the same parameters under the same names and equal outputs and derivatives of every order up to rounding;
    `network` is not changed.
    """
    written = copy.deepcopy(network)
    for module in written.modules():
        if isinstance(module, nn.Conv2d):
            module.__class__ = _Conv2d
        elif isinstance(module, nn.GroupNorm):
            module.__class__ = _GroupNorm
        elif isinstance(module, nn.LayerNorm):
            module.__class__ = _LayerNorm
        elif _halves(module):
            module.__class__ = _Halved
    return written
