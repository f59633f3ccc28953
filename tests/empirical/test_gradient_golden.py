"""Parity with golden files: a subset committed here, and the full files if they lie beside the checkout."""

from pathlib import Path

import numpy as np
import pytest
import torch

from empirical import networks
from empirical.correction import Gradients, SampleDifficultyCorrection
from empirical.gradient_matching.class_gradients import (
    Execution,
    class_gradients,
    joint_gradient,
    sample_gradients,
)
from empirical.gradient_matching.distances import DISTANCES

HERE = Path(__file__).parents[1] / "golden" / "gm_gray28_depth3_subset.npz"
BESIDE = sorted((Path(__file__).parents[3] / "shared" / "golden").glob("gm_*.npz"))
TOLERANCE = 1e-9

EXECUTIONS = [
    Execution("loop"),
    Execution("loop", micro_batch=4),
    Execution("vmap"),
    Execution("grouped"),
    Execution("auto"),
]


class Golden:
    """A golden file and the network it was computed with."""

    def __init__(self, path: Path):
        with np.load(path, allow_pickle=False) as archive:
            self.data = {key: torch.from_numpy(archive[key]) for key in archive.files}
        parameters = [self.data[key] for key in sorted(self.data) if key.startswith("param_")]
        self.classes = self.data["image_real"].shape[0]
        self.network = networks.build(
            "convnet",
            tuple(self.data["image_syn"].shape[1:]),
            self.classes,
            width=parameters[0].shape[0],
            depth=(len(parameters) - 2) // 4,
        ).double()
        with torch.no_grad():
            for ours, theirs in zip(self.network.parameters(), parameters, strict=True):
                ours.copy_(theirs)
        self.labels = torch.arange(self.classes)
        self.synthetic = self.data["image_syn"].unflatten(0, (self.classes, -1)).requires_grad_()
        self.real = self.data["image_real"]

    def agrees(self, value: torch.Tensor, key: str) -> None:
        expected = self.data[key]
        if value.dim() == 4 and len(value) != len(expected):
            value = value[:: len(value) // len(expected)]  # the committed subset keeps every fourth image
        error = (value.detach() - expected).norm() / expected.norm()
        assert error < TOLERANCE, f"{key}: relative error {error:.1e}"

    def image_gradient(self, loss: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss, self.synthetic, retain_graph=True)[0].flatten(0, 1)


@pytest.fixture(scope="module", params=[HERE, *BESIDE], ids=lambda path: path.stem)
def golden(request):
    return Golden(request.param)


def test_logits(golden):
    golden.agrees(golden.network(golden.data["image_syn"]), "logits_syn")


@pytest.mark.parametrize("execution", EXECUTIONS, ids=str)
def test_class_wise(golden, execution):
    synthetic = class_gradients(golden.network, golden.synthetic, golden.labels, True, execution=execution)
    real = class_gradients(golden.network, golden.real, golden.labels, False, execution=execution)
    assert not any(g.requires_grad for g in real)
    for name, distance in DISTANCES.items():
        each = distance(synthetic, real)
        golden.agrees(each, f"dc_{name}_per_class")
        golden.agrees(golden.image_gradient(each.sum()), f"dc_{name}_grad_syn")
    total = SampleDifficultyCorrection(1.0)(synthetic)
    golden.agrees(total, "sdc_sum_over_classes")
    golden.agrees(golden.image_gradient(total), "sdc_sum_over_classes_grad_syn")


@pytest.mark.parametrize("execution", EXECUTIONS[:2], ids=str)
def test_contrastive(golden, execution):
    synthetic = joint_gradient(golden.network, golden.synthetic, golden.labels, True, execution=execution)
    real = joint_gradient(golden.network, golden.real, golden.labels, False, execution=execution)
    loss = DISTANCES["layerwise"](synthetic, real)
    golden.agrees(loss, "dcc_layerwise_loss")
    golden.agrees(golden.image_gradient(loss), "dcc_layerwise_grad_syn")
    norm = SampleDifficultyCorrection(1.0)(synthetic)
    golden.agrees(norm, "grad_norm_whole_batch")
    golden.agrees(golden.image_gradient(norm), "sdc_whole_batch_grad_syn")


@pytest.mark.parametrize("execution", EXECUTIONS, ids=str)
def test_norms_of_single_samples(golden, execution):
    gradients = sample_gradients(golden.network, golden.synthetic, golden.labels, True, execution=execution)
    norms = [
        SampleDifficultyCorrection(1.0)(Gradients([g[c, i] for g in gradients]))
        for c in range(golden.classes)
        for i in range(golden.synthetic.shape[1])
    ]
    golden.agrees(torch.stack(norms), "grad_norm_per_sample")
