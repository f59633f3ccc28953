"""ZCA whitening as trajectory matching uses it, in place of the mean / std normalisation.

Pixels in [0, 1] are flattened to d features; over the training split mu is their mean, and
cov = Xc' Xc / (n - 1) = U diag(s) U';

    W = U diag((s + eps)^-1/2) U',    z = (x - mu) W,    x = z U diag((s + eps)^1/2) U' + mu,    eps = 0.1.

eps is added to the eigenvalues, so a rank-deficient cov (fewer images than features) does no harm; the
signs of the eigenvectors cancel. The decomposition is in float64: cov takes 75 MB at d = 3072, 1.2 GB at d =
12288.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from empirical.data.preprocessing import to_pixels
from empirical.runtime.memory import refuse_too_large

EPSILON = 0.1
_CHUNK = 4096
_MATRICES = 4
"""Of d x d float64 numbers that are held at once."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """A fitted map, a `Preprocessing`: `mean` [d]; `forward` and `backward` [d, d], symmetric; float32."""

    mean: Tensor
    forward: Tensor
    backward: Tensor
    epsilon: float
    images: int

    @staticmethod
    def fit(images: Tensor, epsilon: float = EPSILON, dtype: torch.dtype = torch.float32) -> Whitening:
        """From uint8 training images [N, C, H, W], on their device; `dtype` is what the map is stored in."""
        if epsilon <= 0:
            raise ValueError(f"epsilon must be positive, got {epsilon}: the covariance may be rank-deficient")
        count, features = len(images), images[0].numel()
        if count < 2:
            raise ValueError("whitening needs at least two images")
        if images.device.type == "cpu":  # the covariance, its eigenvectors and the work of finding them
            size = f"whitening {list(images.shape[1:])} images"
            cure = "smaller images, or no whitening (--zca False)"
            refuse_too_large(_MATRICES * 8.0 * features**2, size, cure)
        mean = sum(to_pixels(part, torch.float64).flatten(1).sum(0) for part in images.split(_CHUNK)) / count
        assert isinstance(mean, Tensor)
        covariance = torch.zeros(features, features, dtype=torch.float64, device=images.device)
        for part in images.split(_CHUNK):  # one chunk of float64 pixels at a time
            centred = to_pixels(part, torch.float64).flatten(1) - mean
            covariance.addmm_(centred.T, centred)
        values, vectors = torch.linalg.eigh(covariance / (count - 1))
        scale = (values.clamp_min(0) + epsilon).sqrt()
        return Whitening(
            mean.to(dtype),
            ((vectors / scale) @ vectors.T).to(dtype),
            ((vectors * scale) @ vectors.T).to(dtype),
            float(epsilon),
            count,
        )

    def apply(self, pixels: Tensor) -> Tensor:
        """Whitened images from floating pixels in [0, 1], both [N, C, H, W]."""
        mean, matrix = (t.to(pixels.device, pixels.dtype) for t in (self.mean, self.forward))
        return ((pixels.flatten(1) - mean) @ matrix).view_as(pixels)

    def invert(self, inputs: Tensor) -> Tensor:
        """Pixels from whitened images, for pictures."""
        mean, matrix = (t.to(inputs.device, inputs.dtype) for t in (self.mean, self.backward))
        return (inputs.flatten(1) @ matrix + mean).view(inputs.shape)

    def describe(self) -> dict[str, Any]:
        """`{"kind": "zca", ...}`: enough to fit it again to the same training split."""
        return {"kind": "zca", "epsilon": self.epsilon, "images": self.images}
