"""Planted grids: runs generated from a prediction plus noise, for the comparison's own tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from figures.compare.predicted import predict
from shared.comparison.grid import Grid
from shared.comparison.prediction import Prediction

CLASSES, N_EFF, WHOLE = 10, 30.0, 0.96
IPC = np.array([1, 2, 5, 10, 20, 50])
COEFFICIENTS = np.array([-0.05, -0.01, 0.0, 1e-4, 1e-3, 1e-2, 0.1])
SCALE = 40.0  # tau = SCALE lambda: up to 4


def perfect_probe(gradient_weighted: bool = True) -> Prediction:
    return predict(gradient_weighted, (0.0, 0.0, 0.0), points=24)


def accuracy_of(error: np.ndarray) -> np.ndarray:
    """Accuracy that a perceptron's error in [0, 1/2] stands for."""
    chance = 1.0 - 1.0 / CLASSES
    return 1.0 - (1.0 - WHOLE) - 2.0 * error * (chance - (1.0 - WHOLE))


Response = Callable[[np.ndarray], np.ndarray]
"""Gains in accuracy [I, L - 1] at alphas [I]."""


def theory_says(prediction: Prediction, response: float = 1.0) -> Response:
    """What the prediction has, at the coefficients beside 0."""
    others = COEFFICIENTS[COEFFICIENTS != 0.0]
    scale = 2.0 * (WHOLE - 1.0 / CLASSES) * response
    return lambda alpha: scale * prediction.gain(alpha[:, None], SCALE * others)


def planted(
    prediction: Prediction,
    seed: int = 0,
    noise: float = 0.003,
    response: float | Response = 1.0,
    seeds: int = 5,
    networks: int = 4,
    cells: np.ndarray | None = None,
    family: str = "gradient",
    ipc: np.ndarray = IPC,
) -> Grid:
    """Accuracies from theory plus noise of seeds and networks.

    `response`: scales the effect of lambda, or says what it is. `cells`: a permutation of the (IPC, lambda != 0) cells
    whose gains are handed around.
    """
    rng = np.random.default_rng(seed)
    alpha = ipc * CLASSES / N_EFF
    others = np.flatnonzero(COEFFICIENTS != 0.0)
    gain = (response if callable(response) else theory_says(prediction, response))(alpha)
    if cells is not None:
        gain = gain.ravel()[cells].reshape(gain.shape)
    shape = (ipc.size, COEFFICIENTS.size, seeds, networks)
    mean = np.repeat(accuracy_of(prediction.random(alpha))[:, None] + 0.05, COEFFICIENTS.size, axis=1)
    mean[:, others] += gain
    common = rng.normal(0.0, 2.0 * noise, (ipc.size, 1, seeds, 1))  # of a seed, shared by all lambda
    accuracy = mean[:, :, None, None] + common + rng.normal(0.0, noise, shape[:3])[..., None]
    accuracy = np.clip(accuracy + rng.normal(0.0, noise, shape), 0.0, 1.0)
    difficulty = np.exp(-5.0 * COEFFICIENTS[:, None] + rng.normal(0.0, 0.05, (ipc.size, COEFFICIENTS.size, seeds)))
    per_run = {"mediator_gradn": 1.3 * difficulty, "mediator_gradn_start": np.ones_like(difficulty)}
    every = IPC * CLASSES / N_EFF  # random subsets reach further than the distilled sets may
    random = {
        int(i): (accuracy_of(prediction.random(a)) + rng.normal(0.0, noise, (seeds, networks))).tolist()
        for i, a in zip(IPC, every, strict=True)
    }
    whole = (WHOLE + rng.normal(0.0, 0.001, 5)).tolist()
    return Grid("planted", "theory", family, CLASSES, ipc, COEFFICIENTS, accuracy, per_run, {}, random, whole)
