"""Difficulty of samples for a perceptron, where "easy", "large margin" and "small gradient" are one thing.

A probe w = beta J (J a unit vector) with logistic loss log(1 + exp(-y w.x)) has, at a sample of label-signed margin
z = y J.x, the loss gradient -y x h(z) with h(z) = 1 / (1 + exp(beta z)). Its norm |x| h(z) falls with z; since |x|
concentrates at sqrt(D), ranking by gradient norm is ranking by margin, exactly so on samples of equal length. And a
sample is misclassified when z < 0. (`shared.difficulty` measures the same quantities on any network.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Array = NDArray[np.float64]


def gradient_factor(margin: ArrayLike, beta: float = 1.0) -> Array:
    """h(z) = 1 / (1 + exp(beta z)) at margins of any shape: the logistic loss's gradient norm per unit |x|.

    Raises:
        ValueError: beta is not positive.

    """
    if not beta > 0.0:
        raise ValueError(f"beta is {beta:g}, the confidence of a probe must be positive")
    return expit(-beta * np.asarray(margin, float))


def signed_margin(X: ArrayLike, y: ArrayLike, w: ArrayLike) -> Array:
    """Margins z = y (w.x) / |w| of samples X [n, D] with labels y [n] in {-1, +1} for a probe w [D], in units of x."""
    direction = np.asarray(w, float)
    return np.asarray(y, float) * (np.asarray(X, float) @ direction) / float(np.linalg.norm(direction))


def gradient_norm(X: ArrayLike, y: ArrayLike, w: ArrayLike) -> Array:
    """|x| h of samples X [n, D] with labels y [n] in {-1, +1} for a probe w [D] = beta J: GraDN for one probe."""
    beta = float(np.linalg.norm(np.asarray(w, float)))
    return np.linalg.norm(np.asarray(X, float), axis=1) * gradient_factor(signed_margin(X, y, w), beta)


def misclassified(X: ArrayLike, y: ArrayLike, w: ArrayLike) -> NDArray[np.bool_]:
    """Whether the probe w [D] is wrong on samples X [n, D] with labels y [n]: a negative margin."""
    return signed_margin(X, y, w) < 0.0
