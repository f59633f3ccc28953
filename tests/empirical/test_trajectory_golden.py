"""Parity of the adjoint with golden files: those committed here, and the full ones if they lie beside the checkout.

The committed `_subset` file keeps every fourth row and column of the image gradients.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from empirical import networks
from empirical.correction import SampleDifficultyCorrection
from empirical.networks import Functional
from empirical.trajectory_matching.adjoint import InnerLoop, InnerStep, SyntheticInputs, pull_back, student_rollout
from empirical.trajectory_matching.penalty import TrajectoryPenalty
from empirical.trajectory_matching.student import Chunked, Eager, TrainingLoss

HERE = sorted((Path(__file__).parents[1] / "golden").glob("tm_*.npz"))
BESIDE = sorted((Path(__file__).parents[3] / "shared" / "golden").glob("tm_*.npz"))
TOLERANCE = 1e-9


class Golden:
    """A golden file, its network as a function of a flat vector, and its student."""

    def __init__(self, path):
        with np.load(path, allow_pickle=False) as archive:
            self.data = {key: torch.from_numpy(archive[key]) for key in archive.files}
        starts = self._list("start_")
        network = networks.build(
            "convnet",
            tuple(self.data["image_syn"].shape[1:]),
            len(starts[-1]),
            width=len(starts[0]),
            depth=(len(starts) - 2) // 4,
        ).double()
        self.functional = Functional(network)
        self.start = self.functional.flatten(starts)
        self.target = self.functional.flatten(self._list("target_"))
        self.soft = "label_logits" in self.data
        self.labels = self.data["label_logits" if self.soft else "labels"]
        self.inputs = SyntheticInputs(self.data["image_syn"], self.labels)
        self.steps = [InnerStep(row) for row in self.data["batches"]]
        self.rate = self.data["learning_rate"]

    def _list(self, prefix):
        return [self.data[key] for key in sorted(self.data) if key.startswith(prefix)]

    def student(self, chunk=None):
        eager = Eager(TrainingLoss(self.functional, "logits" if self.soft else "hard"))
        return Chunked(eager, chunk) if chunk else eager

    def agrees(self, value, key):
        expected = self.data[key]
        if value.shape != expected.shape:
            value = value[:, :, ::4, ::4]
        error = (value - expected).norm() / expected.norm()
        assert error < TOLERANCE, f"{key}: relative error {error:.1e}"


@pytest.fixture(scope="module", params=[*HERE, *BESIDE], ids=lambda path: path.stem)
def golden(request):
    return Golden(request.param)


@pytest.mark.parametrize("chunk", [None, 2], ids=["whole batches", "chunks"])
@pytest.mark.parametrize(
    ("prefix", "propagate", "corrected"),
    [("", True, False), ("sdc_", True, True), ("tesla_", False, False), ("tesla_sdc_", False, True)],
    ids=["exact", "exact + SDC", "TESLA", "TESLA + SDC"],
)
def test_gradients(golden, prefix, propagate, corrected, chunk):
    loop = InnerLoop(golden.student(chunk), golden.inputs, golden.steps, golden.rate)
    rollout = student_rollout(loop, golden.start)
    golden.agrees(rollout.losses, "inner_losses")
    golden.agrees(rollout.norms, "inner_grad_norms")
    golden.agrees(rollout.norms.mean(), "sdc_mean_gradient_norm")
    coefficient = float(golden.data["sdc_coefficient"])
    penalty = TrajectoryPenalty(SampleDifficultyCorrection(coefficient)) if corrected else None
    pulled = pull_back(
        loop,
        rollout,
        golden.target,
        propagate=propagate,
        penalty=penalty,
        learn_labels=golden.soft,
    )
    golden.agrees(pulled.loss, "matching_loss")
    golden.agrees(pulled.images, f"{prefix}grad_image_syn")
    golden.agrees(pulled.rate, f"{prefix}grad_learning_rate")
    if golden.soft:
        golden.agrees(pulled.labels, f"{prefix}grad_label_logits")
    if penalty is not None:
        assert penalty.value(pulled.penalised) == pytest.approx(coefficient * float(rollout.norms.mean()), rel=1e-12)
