"""A network whose norms and poolings are written out as sums, means and products.

The compiler turns those into few fused loops, where the library's group norm (a running mean and variance) and the
backward pass of its average pooling (index arithmetic for every pixel) come out slow. Run without a compiler they are
slower than the library's own. Measured by `python -m benchmarks.trajectory_matching --variants exact compiled`.
"""

import copy

from torch import Tensor, nn

_HALVING = (2, (2, 2))
"""Kernel sizes and strides of a pooling over 2x2."""


class _GroupNorm(nn.GroupNorm):
    def forward(self, input: Tensor) -> Tensor:
        grouped = input.reshape(len(input), self.num_groups, -1)
        centred = grouped - grouped.mean(2, keepdim=True)
        scaled = centred * (centred.square().mean(2, keepdim=True) + self.eps).rsqrt()
        maps = scaled.view(input.shape)
        return maps * self.weight[:, None, None] + self.bias[:, None, None] if self.affine else maps


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
    """A copy in which group norms (instance norm among them) of maps and poolings over 2x2 are written out.

    It has the same parameters under the same names and equal outputs up to rounding; `network` is not changed.
    """
    written = copy.deepcopy(network)
    for module in written.modules():
        if isinstance(module, nn.GroupNorm):
            module.__class__ = _GroupNorm
        elif _halves(module):
            module.__class__ = _Halved
    return written
