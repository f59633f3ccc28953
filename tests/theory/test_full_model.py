"""The shortcuts of the simulation against the model in which everything is drawn and trained."""

import math

import numpy as np
import pytest

from theory.judges.full_model import Probe, full_trial
from theory.perceptron.max_margin import max_margin
from theory.simulation.sampling import draw_kept
from theory.simulation.simulate import overlaps

ALPHA, FRACTION, DIMENSION = 2.0, 0.3, 30


def pairs(keep, margin, probe, repeats, angle=lambda theta: theta):
    """Full trials, and shortcut trials, each at `angle` of the angle that its partner's probe has."""
    rng, other = np.random.default_rng(1), np.random.default_rng(2)
    full, short, angles = [], [], []
    for _ in range(repeats):
        trial = full_trial(rng, ALPHA, FRACTION, keep, DIMENSION, margin, probe)
        theta = 0.0 if probe is None else angle(trial.theta)
        kept = draw_kept(other, round(ALPHA * DIMENSION), DIMENSION, FRACTION, keep, theta, margin)
        student = max_margin(kept.X, kept.y)
        full.append([trial.test_error, trial.R, trial.rho, trial.kappa])
        short.append([*overlaps(student.w, kept.T, kept.J), student.margin])
        angles.append(trial.theta)
    return np.array(full), np.array(short), np.array(angles)


def z_scores(full, short):
    difference = full - short
    return difference.mean(axis=0) / (difference.std(axis=0, ddof=1) / math.sqrt(len(difference)))


@pytest.mark.parametrize(
    ("keep", "margin", "probe"),
    [
        ("hard", "unsigned", Probe()),
        ("easy", "unsigned", Probe(alpha=1.0, epochs=1)),
        ("hard", "signed", Probe(alpha=4.0, epochs=5)),
        ("easy", "signed", Probe()),
        ("hard", "unsigned", None),
    ],
)
def test_shortcut_and_full_model_agree(keep, margin, probe):
    full, short, angles = pairs(keep, margin, probe, 400)
    assert np.all(np.abs(z_scores(full, short)) < 3.5)
    spread = full.std(axis=0) / short.std(axis=0)
    assert np.all(np.abs(np.log(spread)) < 5.0 / math.sqrt(2 * 400) * math.sqrt(2))
    if probe is None:
        assert np.all(angles < 1e-7)
    else:
        assert 0.1 < angles.mean() < 1.2 and angles.std() > 0.01  # a trained probe: neither perfect nor random


def test_the_comparison_would_notice_a_wrong_angle():
    full, short, _ = pairs("hard", "unsigned", Probe(), 400, angle=lambda theta: 0.7 * theta)
    assert np.max(np.abs(z_scores(full, short))) > 5.0


def test_a_longer_trained_probe_on_more_data_is_closer_to_the_teacher():
    rng = np.random.default_rng(3)

    def mean_angle(probe):
        angles = []
        for _ in range(30):
            T = rng.standard_normal(DIMENSION)
            T /= np.linalg.norm(T)
            angles.append(math.acos(probe.train(rng, T) @ T))
        return np.mean(angles)

    assert mean_angle(Probe(alpha=8.0, epochs=10)) < mean_angle(Probe()) < mean_angle(Probe(alpha=0.5, epochs=1))


def test_refuses_unknown_names():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="keep is 'random', must be 'hard' or 'easy'"):
        full_trial(rng, 1.0, 0.5, "random", 10)
    with pytest.raises(ValueError, match="margin is 'none'"):
        full_trial(rng, 1.0, 0.5, "hard", 10, "none")
