"""What runs on a GPU, without one: on torch's device without data, a step must keep all its tensors on the device it
was given and must never make the host wait for it. Numbers are left to the other tests, on a CPU."""

import contextlib
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from empirical import networks, synthetic
from empirical.correction import SampleDifficultyCorrection
from empirical.data.augmentation import WITHOUT_FLIP, SiameseAugmentation
from empirical.data.condensation_augmentation import CondensationAugmentation
from empirical.data.datasets import Split, load
from empirical.gradient_matching.class_gradients import Execution
from empirical.gradient_matching.matching_loss import GradientMatchingLoss
from empirical.gradient_matching.method import GradientMatching, Loops
from empirical.gradient_matching.schedule import WarmUp
from empirical.networks import Functional
from empirical.training.sgd import Job, Recipe, train
from empirical.trajectory_matching.expert_training import ExpertPool
from empirical.trajectory_matching.method import Engine, TrajectoryMatching
from empirical.trajectory_matching.student import Chunked, Eager, TrainingLoss
from shared.measures.difficulty import gradn, misclassification_rate

DEVICE = torch.device("meta")


class Watch(TorchDispatchMode):
    """Notes every operation that would make the host wait for the device, with the line that asked for it."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        name = function.name()
        tensors = [a for a in tree_leaves(arguments) if isinstance(a, torch.Tensor)]
        devices = [t.device.type for t in tensors]
        if name == "aten::_to_copy":
            to = torch.device(options.get("device") or devices[0]).type
            waits = to != devices[0] and (to == "cpu" or not options.get("non_blocking"))
        elif name == "aten::copy_":
            blocking = len(arguments) < 3 or not arguments[2]
            waits = devices[0] != devices[1] and (devices[0] == "cpu" or blocking)
        elif name.startswith("aten::index"):
            masks = any(t.dtype == torch.bool for t in tensors[1:])
            waits = DEVICE.type in devices and ("cpu" in devices or masks)
        else:
            waits = DEVICE.type in devices and name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::bincount")
        if waits:
            lines = [f"{f.filename}:{f.lineno} {f.line}" for f in traceback.extract_stack()]
            ours = [line for line in lines if "torch" not in line.partition(":")[0] and __file__ not in line]
            self.waits.append((name, *devices, (ours or lines)[-1]))
        return function(*arguments, **options)


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    """Mixed precision knows no device without data."""
    plain = torch.autocast
    monkeypatch.setattr(
        torch, "autocast", lambda kind, *a, **o: contextlib.nullcontext() if kind == "meta" else plain(kind, *a, **o)
    )


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def moved(split: Split) -> Split:
    """The split on the device, with what is known of it once and for all."""
    known = {"class_sizes": split.class_sizes, "_order": split._order.to(DEVICE)}
    there = replace(split, images=split.images.to(DEVICE), labels=split.labels.to(DEVICE))
    there.__dict__.update(known)
    return there


@pytest.fixture(scope="module")
def on_gpu(digits):
    return replace(digits, train=moved(digits.train), test=moved(digits.test))


def rng():
    return torch.Generator().manual_seed(0)


def network(data, **variant):
    return networks.build("convnet", data.shape, data.classes, rng(), width=4, **variant).to(DEVICE)


def test_the_watch_sees_what_waits():
    x = torch.zeros(3, device=DEVICE)
    with Watch() as watch:
        x.copy_(torch.zeros(3), non_blocking=True)
        torch.zeros(3).to(DEVICE, non_blocking=True)
        x[torch.zeros(2, dtype=torch.int64, device=DEVICE)]
        assert not watch.waits
        torch.zeros(3).to(DEVICE)
        x.copy_(torch.zeros(3))
        x[torch.zeros(2, dtype=torch.int64)]
        with pytest.raises((RuntimeError, NotImplementedError)):
            x.sum().item()
    assert [name for name, *_ in watch.waits] == [
        "aten::_to_copy",
        "aten::copy_",
        "aten::index.Tensor",
        "aten::_local_scalar_dense",
    ]


@pytest.mark.parametrize("augmentation", [SiameseAugmentation(WITHOUT_FLIP), CondensationAugmentation(), None])
@pytest.mark.parametrize(
    ("contrastive", "strategy", "norm"),
    [(False, "auto", "instance"), (True, "auto", "instance"), (False, "grouped", "instance"), (False, "auto", "batch")],
)
def test_a_matching_step_never_waits(on_gpu, contrastive, strategy, norm, augmentation):
    siamese = augmentation if isinstance(augmentation, SiameseAugmentation) else None
    loss = GradientMatchingLoss(
        contrastive=contrastive, augmentation=siamese, warm_up=WarmUp(0, 0), execution=Execution(strategy)
    )
    loops = Loops(iterations=1, matching_steps=2, network_epochs=1, batch_real=200, network_rate=0.01)
    correction = SampleDifficultyCorrection(0.01)
    method = GradientMatching(on_gpu, network(on_gpu, norm=norm), loss, loops, correction, augmentation)
    start = synthetic.initialise("real", on_gpu, 2, rng())
    for step in range(2):  # the second one trains the network first
        with Watch() as watch:
            matched = method.step(start, rng(), step)
        assert watch.waits == []
        assert matched.gradients["images"].device == DEVICE
        assert all(v.device == DEVICE for v in matched.metrics.values() if isinstance(v, torch.Tensor))


class MemoryExpert:
    """Snapshots that lie in memory."""

    path = Path("expert")

    def __init__(self, size):
        self.snapshots = torch.randn(3, size, generator=rng())

    def rows(self, start, target):
        return self.snapshots[start], self.snapshots[target]


class First:
    """Starts at the first snapshot."""

    def draw(self, generator, step):
        return 0


@pytest.mark.parametrize("chunk", [0, 7])
@pytest.mark.parametrize("kind", ["hard", "logits"])
@pytest.mark.parametrize("propagate", [True, False])
def test_a_trajectory_iteration_never_waits(on_gpu, propagate, kind, chunk):
    functional = Functional(network(on_gpu))
    size = sum(p.numel() for p in network(on_gpu).parameters())
    student = Eager(TrainingLoss(functional, kind))
    method = TrajectoryMatching(
        ExpertPool([MemoryExpert(size)]),
        functional,
        Chunked(student, chunk) if chunk else student,
        First(),
        Engine(iterations=1, syn_steps=2, expert_epochs=1, batch_syn=15, propagate=propagate, skip_above=1.0),
        SampleDifficultyCorrection(0.01),
        SiameseAugmentation(WITHOUT_FLIP),
    )
    start = synthetic.initialise("real", on_gpu, 2, rng())
    labels = torch.zeros(len(start), 10, device=DEVICE) if kind == "logits" else start.labels
    start = replace(start, labels=labels, label_kind=kind, learning_rate=torch.tensor(0.01, device=DEVICE))
    with Watch() as watch:
        matched = method.step(start, rng(), 0)
    assert watch.waits == []
    assert {g.device for g in matched.gradients.values()} == {DEVICE}


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_evaluation_networks_train_without_waiting(on_gpu, norm):
    start = synthetic.initialise("real", on_gpu, 2, rng())
    images, labels = start.tensors
    trained = [network(on_gpu, norm=norm) for _ in range(2)]
    with Watch() as watch:
        augmentation = SiameseAugmentation(WITHOUT_FLIP)
        train(trained, Job(images, labels, Recipe(2, batch=16), augmentation=augmentation), [rng(), rng()])
    assert watch.waits == []


def test_difficulty_stays_on_its_device(on_gpu):
    models = [network(on_gpu), network(on_gpu)]
    images, labels = on_gpu.normalise(on_gpu.train.images[:20]), on_gpu.train.labels[:20]
    with Watch() as watch:
        found = gradn(models, images, labels), misclassification_rate(models, images, labels)
    assert watch.waits == [] and {f.device for f in found} == {DEVICE}
