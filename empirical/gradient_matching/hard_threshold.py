"""The hard threshold that the correction replaces (arXiv 2408.12483, Eq. 9 and 10).

A real sample stays in its class's batch only if the norm of its own gradient is at most tau. The class is
matched against the mean over what is left, by a synthetic batch of no more images than that; a class with
nothing left is left out of the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared.measures.difficulty import gradient_norms


@dataclass(frozen=True)
class Kept:
    """What is kept of a step.

    Attributes:
        real: [C, B], weights of the real images: 1 / kept for the kept ones of a class, else 0.
        synthetic: [C, ipc], the same for the synthetic images; a class left out has none.
        share: scalar: share of the real images that is kept.

    """

    real: Tensor
    synthetic: Tensor
    share: Tensor


@dataclass(frozen=True)
class HardThreshold:
    """Keeps easy real samples.

    Attributes:
        limit: tau, the largest gradient norm kept; above 0.

    """

    limit: float

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ValueError(f"the threshold on gradient norms must be above 0, not {self.limit}")

    def keep(
        self, network: nn.Module, images: Tensor, labels: Tensor, weights: Tensor | None, ipc: int
    ) -> Kept:
        """What of a step's real images is matched, by how many synthetic ones.

        Args:
            network: at which gradients are taken.
            images: real images [C, B, channels, height, width], as they are matched.
            labels: [C].
            weights: [C, B], 0 for padding; None: no padding.
            ipc: synthetic images a class.

        """
        present = torch.ones(images.shape[:2], dtype=torch.bool, device=images.device)
        if weights is not None:
            present = weights > 0
        norms = gradient_norms(network, images.flatten(0, 1), labels.repeat_interleave(images.shape[1]))
        norms = norms.view(present.shape)
        # A norm that is not a number is of a network that diverged: dropping it would hide that.
        kept = present & ((norms <= self.limit) | ~torch.isfinite(norms))
        counts = kept.sum(1, keepdim=True)
        place = torch.arange(ipc, device=images.device)
        synthetic = place < counts.clamp(max=ipc)
        return Kept(_mean_weights(kept, images), _mean_weights(synthetic, images), kept.sum() / present.sum())


def _mean_weights(chosen: Tensor, images: Tensor) -> Tensor:
    """1 / count for the chosen of a row, 0 for the others, all 0 in an empty row."""
    return chosen.to(images.dtype) / chosen.sum(1, keepdim=True).clamp(min=1)
