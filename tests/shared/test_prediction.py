"""What is read off a prediction: critical alphas and signs, told from rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.comparison.alpha_map import AlphaMap
from shared.comparison.prediction import SLOPE_NOISE, Prediction
from shared.comparison.sign_check import predicted_signs
from theory.scaling import tilt_slope

ALPHA = np.geomspace(0.01, 300.0, 24)
TAU = np.array([-1.0, 0.0, 1.0])


def with_slopes(*slope: np.ndarray) -> Prediction:
    """A prediction of which only the slopes matter."""
    error = np.full((len(slope), TAU.size, ALPHA.size), 0.2)
    return Prediction("test", ALPHA, TAU, np.zeros(len(slope)), error, np.array(slope), np.full(ALPHA.size, 0.2))


def test_a_probe_that_knows_nothing_has_slopes_of_rounding_only() -> None:
    slope = tilt_slope(np.array([0.1, 1.0, 3.0, 30.0]), math.pi / 2.0, "unsigned", 2.0, True)
    assert np.abs(slope).max() < SLOPE_NOISE / 100.0


def test_sign_changes_of_rounding_are_no_critical_alphas() -> None:
    noise = 3e-14 * np.random.default_rng(0).standard_normal(ALPHA.size)
    real = 1e-3 * np.log(2.0 / ALPHA)
    late = np.where(np.abs(np.log(ALPHA / 2.0)) < 1.0, 0.0, real) + noise  # flat about zero, then truly negative
    prediction = with_slopes(noise, real + noise, late)
    nothing, one, flat = prediction.critical_alphas()
    assert nothing == [] and one == [pytest.approx(2.0, rel=1e-6)]
    assert len(flat) == 1 and 2.0 / math.e < flat[0] < 2.0 * math.e
    signs = prediction.signs([0.1, 10.0])
    assert signs.tolist() == [[0, 0], [1, -1], [1, -1]]


def test_no_sign_is_predicted_where_the_slope_is_rounding() -> None:
    found = AlphaMap(10.0, 9.0, 11.0, 0.0, 1.0, 0.9, 0.0, 10, *np.zeros((4, 3)), ())
    assert predicted_signs(1.0, found, with_slopes(np.full(ALPHA.size, 3e-14)))[0] == 0
    assert predicted_signs(1.0, found, with_slopes(np.full(ALPHA.size, 3e-4)))[0] == 1
    assert predicted_signs(1.0, found, with_slopes(np.full(ALPHA.size, 3e-4), np.zeros(ALPHA.size)))[0] == 0


def test_several_crossings_are_all_found() -> None:
    wave = 1e-3 * np.cos(np.log(ALPHA))
    (found,) = with_slopes(wave).critical_alphas()
    expected = [math.exp(x) for x in (-1.5 * math.pi, -0.5 * math.pi, 0.5 * math.pi, 1.5 * math.pi)]
    assert found == pytest.approx([x for x in expected if ALPHA[0] < x < ALPHA[-1]], rel=1e-3)
