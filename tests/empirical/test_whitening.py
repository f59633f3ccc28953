"""ZCA: whitened covariance, inverse, agreement with a plain eigendecomposition, few images."""

import pytest
import torch
from torch import Tensor

from empirical.data.datasets import load
from empirical.data.preprocessing import Normalisation, to_pixels, to_uint8
from empirical.data.whitening import Whitening


def images(n: int, shape: tuple[int, int, int] = (3, 4, 4)) -> Tensor:
    """uint8 [n, ...] whose pixels are correlated."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(n, shape[0], 1, 1, generator=generator) * 0.6
    return ((smooth + 0.4 * torch.rand(n, *shape, generator=generator)) * 255).to(torch.uint8)


def test_whitened_covariance_is_s_over_s_plus_eps_in_the_eigenbasis() -> None:
    data = images(300)
    pixels = to_pixels(data, torch.float64)
    whitened = Whitening.fit(data, dtype=torch.float64).apply(pixels).flatten(1)
    values, vectors = torch.linalg.eigh(torch.cov(pixels.flatten(1).T))
    found = vectors.T @ torch.cov(whitened.T) @ vectors
    torch.testing.assert_close(found, torch.diag(values / (values + 0.1)), atol=1e-10, rtol=0)
    assert float(whitened.mean(0).abs().max()) < 1e-10


def test_inverse_round_trip_and_rank_deficient_covariance() -> None:
    data = images(20)  # fewer images than features
    whitening = Whitening.fit(data, dtype=torch.float64)
    pixels = to_pixels(data, torch.float64)
    torch.testing.assert_close(whitening.invert(whitening.apply(pixels)), pixels, atol=1e-8, rtol=0)


def test_map_is_symmetric_and_fitted_to_train_only() -> None:
    data = load("digits")
    whitening = Whitening.fit(data.train.images)
    torch.testing.assert_close(whitening.forward, whitening.forward.T)
    whitened = data.with_preprocessing(whitening)
    assert whitened.describe()["preprocessing"] == {"kind": "zca", "epsilon": 0.1, "images": len(data.train)}
    back = to_uint8(whitened.denormalise(whitened.normalise(data.test.images)))
    assert int((back.int() - data.test.images.int()).abs().max()) <= 1


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="epsilon must be positive"):
        Whitening.fit(images(5), epsilon=0)
    with pytest.raises(ValueError, match="at least two"):
        Whitening.fit(images(1))
    with pytest.raises(ValueError, match="std must be positive"):
        Normalisation((0.5,), (0.0,))


def test_measured_constants_are_those_of_all_pixels() -> None:
    data = images(50)
    found = Normalisation.measured(data)
    pixels = to_pixels(data, torch.float64)
    torch.testing.assert_close(torch.tensor(found.mean, dtype=torch.float64), pixels.mean((0, 2, 3)))
    expected = pixels.std((0, 2, 3), correction=0)
    torch.testing.assert_close(torch.tensor(found.std, dtype=torch.float64), expected)
    assert Normalisation.from_description(found.describe()) == found


@pytest.mark.parametrize("shape", [(3, 512, 512), (1, 1024, 1024)])
def test_a_covariance_that_no_memory_holds_is_refused_before_it_is_made(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"whitening \[.*\] images: .* smaller images, or no whitening"):
        Whitening.fit(torch.zeros(2, *shape, dtype=torch.uint8))
