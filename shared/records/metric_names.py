"""What the numbers in `metrics.jsonl` are called: said here once, for those who write them and those who read them.

A row holds the numbers of one step. In the loop, one row an update:

    loss               what is minimised: the matching loss plus the correction
    distance           the matching loss alone (gradient matching)
    matching_loss      the matching loss alone (trajectory matching)
    coefficient        lambda of the correction at that step
    norm               gradient norm of the synthetic loss, what the correction penalises
    real_norm          the same of the real batch
    pull               relative pull: |image gradient of the correction| / |that of the matching loss|
    kept               share of the real images that a hard threshold keeps
    skipped            1 where the update was left out, its loss being above the threshold, else 0
    student_rate       learning rate of the student, which is learnt (trajectory matching)
    inner_loss_first, inner_loss_last    of the student's first and last step
    moved              |end - start of the student| / |that of the expert|
    start_epoch, expert    where on which expert the student started

On networks that are never matched with, at probe steps (`gradn`, `misclassified`):

    gradn_OF_KIND, misclassified_OF_KIND    mean GraDN and misclassification rate OF the synthetic or the real samples
                                            on networks that are random or trained for a little
    norm_at_fixed_snapshots                 gradient norm of the whole synthetic set at fixed expert snapshots

With every measurement along the run:

    images_moved       root mean square of how far the images are from the start, over that of the start

At evaluation points:

    test_accuracies, validation_accuracies    one number in [0, 1] for each evaluation network
"""

from __future__ import annotations

STEP = "step"

LOSS = "loss"
DISTANCE = "distance"
MATCHING_LOSS = "matching_loss"
COEFFICIENT = "coefficient"
NORM = "norm"
REAL_NORM = "real_norm"
PULL = "pull"
KEPT = "kept"
SKIPPED = "skipped"
STUDENT_RATE = "student_rate"
INNER_LOSS_FIRST = "inner_loss_first"
INNER_LOSS_LAST = "inner_loss_last"
MOVED = "moved"
START_EPOCH = "start_epoch"
EXPERT = "expert"
IMAGES_MOVED = "images_moved"

SYNTHETIC, REAL = "synthetic", "real"
"""Whose samples a probe measures."""
UNTRAINED, TRAINED = "random", "trained"
"""Kinds of networks of a probe."""
NORM_AT_FIXED_SNAPSHOTS = "norm_at_fixed_snapshots"

RANDOM, WHOLE = "random", "whole"
"""What is judged beside a distilled set: random images, and the whole training set, which has no images a class."""

TEST, VALIDATION = "test", "validation"
"""Images that an evaluation point is judged on."""


def gradn(of: str, kind: str) -> str:
    """Mean GraDN of `SYNTHETIC` or `REAL` samples on `UNTRAINED` or `TRAINED` probe networks."""
    return f"gradn_{of}_{kind}"


def misclassified(of: str, kind: str) -> str:
    """Misclassification rate of `SYNTHETIC` or `REAL` samples on `UNTRAINED` or `TRAINED` probe networks."""
    return f"misclassified_{of}_{kind}"


def accuracies(split: str) -> str:
    """Accuracies of the evaluation networks on `TEST` or `VALIDATION` images."""
    return f"{split}_accuracies"
