"""The adjoint against automatic differentiation of the whole unrolled loop, and against finite differences."""

import pytest
import torch
from torch import nn

from empirical import networks
from empirical.correction import SampleDifficultyCorrection
from empirical.data.augmentation import WITHOUT_FLIP, SiameseAugmentation
from empirical.networks import Functional
from empirical.trajectory_matching.adjoint import InnerLoop, InnerStep, SyntheticInputs, pull_back, student_rollout
from empirical.trajectory_matching.method import draw_batches
from empirical.trajectory_matching.penalty import TrajectoryPenalty
from empirical.trajectory_matching.student import Eager, TrainingLoss

AUGMENTATION = SiameseAugmentation(WITHOUT_FLIP)


class Problem:
    def __init__(self, kind="hard", steps=4, batch=3, augmented=True, smooth=False, rate=0.1):
        g = torch.Generator().manual_seed(3)
        network = networks.build("convnet", (1, 8, 8), 3, g, width=4, depth=2).double()
        if smooth:
            for block in network.blocks:
                block.activation = nn.Softplus()
        self.functional = Functional(network)
        self.loss = TrainingLoss(self.functional, kind)
        self.images = torch.randn(6, 1, 8, 8, generator=g, dtype=torch.float64)
        logits = torch.randn(6, 3, generator=g, dtype=torch.float64)
        self.kind = kind
        self.labels = torch.arange(3).repeat(2) if kind == "hard" else logits
        start = self.functional.flatten([p.detach() for p in network.parameters()])
        self.start = start
        self.target = start + 0.02 * torch.randn(start.shape, generator=g, dtype=torch.float64)
        self.rate = torch.tensor(rate, dtype=torch.float64)
        self.steps = [
            InnerStep(i, AUGMENTATION.draw(g, (8, 8), images=len(i)) if augmented else None)
            for i in draw_batches(g, 6, batch, steps)
        ]

    def unrolled(self, images, labels, rate, coefficient=0.0, frozen=False):
        """(matching loss, whole loss) with the graph of the whole loop."""
        theta, norms = self.start.clone().requires_grad_(), []
        start = theta
        inputs = SyntheticInputs(images, labels, AUGMENTATION)
        for step in self.steps:
            at = theta.detach().requires_grad_() if frozen else theta
            loss = self.loss(at, inputs.batch(step), labels[step.indices])
            (g,) = torch.autograd.grad(loss, at, create_graph=True)
            norms.append(g.norm())
            theta = theta - rate * g
        matching = (theta - self.target).square().sum() / (start.detach() - self.target).square().sum()
        return matching, matching + coefficient * torch.stack(norms).mean()

    def reference(self, coefficient, frozen):
        leaves = [self.images.clone().requires_grad_(), self.rate.clone().requires_grad_()]
        labels = self.labels
        if self.kind == "logits":
            labels = labels.clone().requires_grad_()
            leaves.append(labels)
        matching, whole = self.unrolled(leaves[0], labels, leaves[1], coefficient, frozen)
        return matching.detach(), torch.autograd.grad(whole, leaves)

    def pulled(self, coefficient=None, propagate=True):
        inputs = SyntheticInputs(self.images, self.labels, AUGMENTATION)
        loop = InnerLoop(Eager(self.loss), inputs, self.steps, self.rate)
        rollout = student_rollout(loop, self.start)
        penalty = None if coefficient is None else TrajectoryPenalty(SampleDifficultyCorrection(coefficient))
        return pull_back(
            loop,
            rollout,
            self.target,
            propagate=propagate,
            penalty=penalty,
            learn_labels=self.kind == "logits",
        )


def close(a, b, tolerance=1e-10):
    assert float((a - b).norm() / b.norm()) < tolerance


@pytest.mark.parametrize("kind", ["hard", "logits"])
@pytest.mark.parametrize("coefficient", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("frozen", [False, True])
def test_equals_unrolled(kind, coefficient, frozen):
    problem = Problem(kind)
    matching, expected = problem.reference(coefficient, frozen)
    pulled = problem.pulled(coefficient, not frozen)
    close(pulled.loss, matching)
    close(pulled.images, expected[0])
    close(pulled.rate, expected[1])
    if kind == "logits":
        close(pulled.labels, expected[2])


def test_frozen_is_exact_for_one_step_only():
    one, several = Problem(steps=1), Problem(steps=4)
    close(one.pulled(propagate=False).images, one.pulled().images, 1e-14)
    difference = several.pulled(propagate=False).images - several.pulled().images
    assert difference.norm() > 1e-3 * several.pulled().images.norm()


def test_weight_zero_is_bit_identical():
    problem = Problem("logits")
    plain, zero = problem.pulled(None), problem.pulled(0.0)
    for name in ("loss", "images", "rate", "labels"):
        assert torch.equal(getattr(plain, name), getattr(zero, name))


@pytest.mark.parametrize("what", ["images", "rate", "labels"])
def test_finite_differences(what):
    problem = Problem("logits", smooth=True)
    values = {"images": problem.images, "rate": problem.rate, "labels": problem.labels}
    direction = torch.randn(
        values[what].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    h = 1e-5

    def at(sign):
        moved = {**values, what: values[what] + sign * h * direction}
        return problem.unrolled(moved["images"], moved["labels"], moved["rate"], 0.02)[1].detach()

    slope = float((at(1) - at(-1)) / (2 * h))
    found = float((getattr(problem.pulled(0.02), what) * direction).sum())
    assert found == pytest.approx(slope, rel=1e-6)


def test_batches_cover_the_set_before_any_repeats():
    g = torch.Generator().manual_seed(0)
    batches = draw_batches(g, 10, 4, 7)
    assert [len(b) for b in batches] == [4, 4, 2, 4, 4, 2, 4]
    assert sorted(torch.cat(batches[:3]).tolist()) == list(range(10))
    assert all(len(b) == 10 for b in draw_batches(g, 10, None, 3))


@pytest.mark.parametrize(("inner", "row"), [("first", 0), ("last", -1)])
def test_correction_of_one_inner_step(inner, row):
    penalty = TrajectoryPenalty(SampleDifficultyCorrection(0.5), inner_steps=inner)
    g = torch.tensor([3.0, 4.0])
    found = [penalty.cotangent(i, g, 3) for i in range(3)]
    assert torch.allclose(found[row], 0.5 * g / 5)
    assert sum(f is not None for f in found) == 1
    terms = [penalty.term(i, g, 3) for i in range(3)]
    assert [t is not None for t in terms] == [f is not None for f in found]
    assert float(penalty.value([t for t in terms if t is not None])) == pytest.approx(2.5)
