"""Gradient norm and margin rank perceptron data alike: by the closed form, and by the network measures."""

import numpy as np
import pytest
import torch

from shared.measures import difficulty, perceptron
from shared.measures.correlation import kendall

D, N, BETA = 60, 150, 2.0


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    teacher, probe = rng.standard_normal((2, D))
    X = rng.standard_normal((N, D))
    X *= np.sqrt(D) / np.linalg.norm(X, axis=1, keepdims=True)  # |x| = sqrt(D), where it concentrates
    return X, np.where(X @ teacher >= 0, 1.0, -1.0), BETA * probe / np.linalg.norm(probe)


def as_network(w: np.ndarray) -> torch.nn.Module:
    """Two logits +- w.x / 2: their cross-entropy is the logistic loss of w."""
    network = torch.nn.Linear(D, 2, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor(np.stack([-w / 2, w / 2])))
    return network


def test_the_two_rankings_agree_exactly(data: tuple[np.ndarray, ...]) -> None:
    X, y, w = data
    network, images, labels = as_network(w), torch.tensor(X), torch.tensor((y > 0).astype(int))
    norms, margins = difficulty.gradn(network, images, labels).numpy(), difficulty.margin(network, images, labels)
    assert list(np.argsort(norms)) == list(np.argsort(-margins.numpy()))
    assert kendall(norms, -margins.numpy(), resamples=0).value == pytest.approx(1.0, abs=1e-12)
    wrong = difficulty.misclassification_rate(network, images, labels).numpy()
    assert np.array_equal(wrong == 1.0, perceptron.misclassified(X, y, w)) and 0 < wrong.mean() < 1


def test_closed_form_equals_the_network(data: tuple[np.ndarray, ...]) -> None:
    X, y, w = data
    labels = torch.tensor((y > 0).astype(int))
    measured = difficulty.gradn(as_network(w), torch.tensor(X), labels).numpy()
    # The two rows get opposite gradients x h, so both together have sqrt(2) times the norm of one.
    assert np.sqrt(0.5) * measured == pytest.approx(perceptron.gradient_norm(X, y, w), rel=1e-12)
    margins = difficulty.margin(as_network(w), torch.tensor(X), labels).numpy()
    assert margins == pytest.approx(BETA * perceptron.signed_margin(X, y, w), rel=1e-10, abs=1e-12)


def test_gradient_is_that_of_the_logistic_loss(data: tuple[np.ndarray, ...]) -> None:
    X, y, w = data
    step = 1e-5
    for k in range(3):
        loss = lambda v, k=k: np.log1p(np.exp(-y[k] * X[k] @ v))  # noqa: E731
        gradient = [(loss(w + step * e) - loss(w - step * e)) / (2 * step) for e in np.eye(D)]
        assert np.linalg.norm(gradient) == pytest.approx(perceptron.gradient_norm(X, y, w)[k], rel=1e-7)


def test_confidence_must_be_positive() -> None:
    with pytest.raises(ValueError, match="confidence"):
        perceptron.gradient_factor([0.0], -1.0)
