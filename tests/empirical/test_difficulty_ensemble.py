"""Scores of an ensemble: who scores what, and a killed run goes on to the same numbers."""

import numpy as np
import pytest
import torch

from empirical.data.datasets import load
from empirical.evaluation.difficulty_ensemble import QUANTITIES, SHARES, Ensemble, _plan, _scored, score


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def small(**changes):
    return Ensemble("digits", **{"count": 6, "variant": (("width", 4),), "epochs": 1, "samples": 12, **changes})


class Killed(Exception):  # noqa: N818
    pass


def test_a_killed_run_goes_on_to_the_same_scores(digits, tmp_path):
    def kill(done, total):
        if done >= 9:  # in the second round: the first of 4 networks has 8 epochs, scoring included
            raise Killed

    with pytest.raises(Killed):
        score(small(), digits, tmp_path / "a", kill)
    assert len(list((tmp_path / "a").iterdir())) == 1
    left = []
    resumed = score(small(), digits, tmp_path / "a", lambda done, total: left.append((done, total)))
    assert left[-1] == (4, 4)  # two networks, an epoch and a scoring each
    whole = score(small(), digits, tmp_path / "b")
    for name in QUANTITIES:
        np.testing.assert_allclose(resumed.values[name], whole.values[name], rtol=1e-4, atol=1e-5)
    assert np.isfinite(whole.values["gradn"]).sum(0).tolist() == [3] * 120
    for name in SHARES:  # shares of a network sum to 1 in each class
        assert np.nansum(whole.values[name], 1) == pytest.approx(np.full(6, 10.0), abs=1e-3)


def test_crossed_networks_never_saw_what_they_score(digits):
    ensemble = small(count=4)
    chosen = _scored(ensemble, digits.train)
    assert torch.bincount(digits.train.labels[chosen]).tolist() == [12] * 10
    groups = _plan(ensemble, digits, chosen, range(4))
    assert [members for members, _, _ in groups] == [[0, 2], [1, 3]]
    for _, trained_on, places in groups:
        assert not set(trained_on.tolist()) & set(chosen[places].tolist())
    assert sorted(torch.cat([places for _, _, places in groups]).tolist()) == list(range(120))
    for _, _, places in groups:  # both halves have as many scored samples of each class
        assert torch.bincount(digits.train.labels[chosen[places]]).tolist() == [6] * 10
    assert sum(len(t) for _, t, _ in groups) == len(digits.train)
    other = _plan(ensemble, digits, chosen, range(4, 8))
    assert not torch.equal(groups[0][1], other[0][1])  # new halves a round


def test_test_samples_are_scored_by_all(digits, tmp_path):
    scores = score(small(count=2, scoring="test", samples=None), digits, tmp_path)
    assert len(scores.labels) == len(digits.test) and np.isfinite(scores.values["gradn"]).all()
    assert scores.mean("misclassified").max() <= 1.0


def test_settings_name_the_record(digits):
    assert small().key(digits) != small(epochs=2).key(digits)
    assert small().key(digits) != small(scoring="train").key(digits)
