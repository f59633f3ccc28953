"""Adaptive surrogate-gap-guided sharpness-aware minimisation (GSAM), which makes flat experts for FTD and DATM.

With w the parameters of a network and one mini-batch for both gradients (Du et al., CVPR 2023; Zhuang et al., ICLR
2022):

    g    = grad l(w);   e = rho w^2 g / (| |w| g | + 1e-12)
    ga   = grad l(w + e)
    perp = the part of g that is orthogonal to ga
    step along  ga - alpha perp

alpha = 0 is adaptive SAM; alpha = 0 and rho -> 0 is SGD. Norms are over all parameters of a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-12


def _dot(a: Sequence[Tensor], b: Sequence[Tensor], leading: int) -> Tensor:
    """Inner product over all parameters, one a network: a scalar, or [K] with one leading axis."""
    return torch.stack([(x * y).flatten(leading).sum(-1) for x, y in zip(a, b, strict=True)]).sum(0)


def _over(scalar: Tensor, like: Tensor, leading: int) -> Tensor:
    """A scalar a network, shaped to multiply a parameter."""
    return scalar.reshape(scalar.shape + (1,) * (like.dim() - leading))


@torch.no_grad()
def perturbation(
    parameters: Sequence[Tensor], gradients: Sequence[Tensor], rho: float, leading: int = 0
) -> list[Tensor]:
    """The ascent step e, one tensor a parameter."""
    scaled = [p.abs() * g for p, g in zip(parameters, gradients, strict=True)]
    factor = rho / (_dot(scaled, scaled, leading).sqrt() + TINY)
    return [
        p.square() * g * _over(factor, g, leading) for p, g in zip(parameters, gradients, strict=True)
    ]


@torch.no_grad()
def orthogonal_part(
    gradients: Sequence[Tensor], ascended: Sequence[Tensor], leading: int = 0
) -> list[Tensor]:
    """Of g, what is orthogonal to ga: g - c |g| ga / |ga|, c their cosine."""
    norm, norm_ascended = (_dot(v, v, leading).sqrt() for v in (gradients, ascended))
    cosine = _dot(gradients, ascended, leading) / (norm * norm_ascended + TINY)
    factor = cosine * norm / (norm_ascended + TINY)
    return [g - _over(factor, g, leading) * a for g, a in zip(gradients, ascended, strict=True)]


@dataclass(frozen=True)
class Gsam:
    """A `training.Descent`.

    Attributes:
        rho: radius of the ascent, constant.
        alpha: weight of the orthogonal part.

    """

    rho: float = 0.01
    alpha: float = 0.3

    def __post_init__(self) -> None:
        if not self.rho > 0 or not self.alpha >= 0:
            raise ValueError(f"rho is above 0 and alpha at least 0, not {self.rho} and {self.alpha}")

    def __call__(
        self, gradients: Callable[[], list[Tensor]], parameters: Sequence[Tensor], leading: int
    ) -> list[Tensor]:
        """Two gradients, at the parameters and at the top of the ascent; the parameters come back bit for bit."""
        g = gradients()
        kept = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            torch._foreach_add_(list(parameters), perturbation(parameters, g, self.rho, leading))
        ascended = gradients()
        with torch.no_grad():
            torch._foreach_copy_(list(parameters), kept)
        perp = orthogonal_part(g, ascended, leading)
        return [a - self.alpha * p for a, p in zip(ascended, perp, strict=True)]
