"""What a run says before it starts: where its preset is not what its name lets expect, and what it calls its sets."""

import pytest

from empirical import run
from empirical.data.datasets import load
from empirical.experiment.families import notes
from empirical.experiment.resolve import resolve
from empirical.gradient_matching.schedule import WarmUp


@pytest.mark.parametrize(
    ("method", "more", "told"),
    [
        ("dsac", ["--preset", "laptop"], True),
        ("dcc", ["--preset", "laptop", "--ipc", "10"], True),
        ("dsac", ["--preset", "laptop", "--warm-up-iterations", "10"], False),
        ("dcc", ["--preset", "laptop", "--warm-up-iterations", "40"], True),
        ("dcc", ["--preset", "laptop", "--warm-up-steps", "9"], False),  # of ten matching steps the last
        ("dsac", ["--preset", "published"], False),
        ("dsa", ["--preset", "laptop"], False),
    ],
)
def test_a_contrastive_method_that_never_is_says_so(method, more, told):
    settings = resolve(run.parse(["--method", method, *more]), load("digits"))
    found = notes([settings])
    assert bool(found) == told
    # What the loss itself would do, at every step of the run.
    warm_up = WarmUp(settings.warm_up_iterations, settings.warm_up_steps)
    steps = [(k, j) for k in range(settings.iterations) for j in range(settings.matching_steps)]
    assert told == (method in {"dcc", "dsac"} and not any(warm_up.contrastive(*step) for step in steps))
    if told:
        assert f"{method} is never contrastive in this run" in found[0] and "--warm-up-iterations 10 makes" in found[0]


@pytest.mark.parametrize("method", ["mtt", "ftd", "tesla", "datm"])
def test_held_out_images_under_the_published_preset_are_told(method):
    def told(*more):
        return notes([resolve(run.parse(["--method", method, "--dataset", "cifar10", *more]), load("digits"))])

    (held_out,) = told()
    assert "2 % of the training images are held out, from the experts too" in held_out and "--validation 0" in held_out
    assert not told("--validation", "0") and not told("--preset", "laptop")


def test_a_dry_run_tells_what_is_not_as_its_name(tmp_path, capsys):
    assert run.main(["--method", "dsac", "--dry-run", "--out", str(tmp_path / "r")]) == 0
    assert capsys.readouterr().err.count("note: dsac is never contrastive") == 1  # not once for each variant


@pytest.mark.parametrize(
    ("more", "names"),
    [
        (["--no-compare"], ["dsa"]),
        (["--no-compare", "--sdc", "0.1"], ["dsa + SDC"]),
        (["--no-compare", "--asdc", "0.1", "0.2"], ["dsa + ASDC"]),
        (["--no-compare", "--hard-threshold", "2"], ["dsa, threshold 2"]),
        ([], ["dsa", "dsa + SDC 0.002"]),
        (["--hard-threshold", "2"], ["dsa, threshold 2", "dsa, threshold 2 + SDC 0.002"]),
    ],
)
def test_what_was_corrected_is_never_called_by_the_method_alone(more, names):
    assert list(run._plan(run.parse(more), load("digits")).variants) == names
