import time

import pytest
import torch

from empirical import networks
from empirical.gradient_matching import class_gradients as module
from empirical.gradient_matching.class_gradients import (
    Execution,
    class_gradients,
    freeze_norms,
    joint_gradient,
    sample_gradients,
)
from empirical.gradient_matching.compiled_passes import shape_is_new
from empirical.gradient_matching.distances import layerwise

CLASSES = 3


def problem(name="convnet", shape=(1, 8, 8), ipc=2, real=7, **variant):
    generator = torch.Generator().manual_seed(0)
    network = networks.build(name, shape, CLASSES, generator=generator, **variant).double()
    synthetic = torch.randn(CLASSES, ipc, *shape, generator=generator, dtype=torch.float64)
    data = torch.randn(CLASSES, real, *shape, generator=generator, dtype=torch.float64)
    return network, synthetic.requires_grad_(), data, torch.arange(CLASSES)


def same(a, b, tolerance=1e-10):
    for x, y in zip(a, b, strict=True):
        assert (x - y).norm() <= tolerance * max(y.norm().item(), 1e-3)


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("convnet", {"width": 8}),
        ("convnet", {"width": 8, "norm": "layer", "pooling": "max"}),
        ("convnet", {"width": 8, "norm": "none", "activation": "sigmoid"}),
        ("mlp", {"width": 16}),
        ("resnet18", {"width": 4}),
    ],
)
@pytest.mark.parametrize("strategy", ["vmap", "grouped"])
def test_strategies_equal_the_loop(name, variant, strategy):
    network, synthetic, real, labels = problem(name, **variant)
    found = {}
    for chosen in ("loop", strategy):
        execution = Execution(chosen, micro_batch=3)
        ours = class_gradients(network, synthetic, labels, True, execution=execution)
        theirs = class_gradients(network, real, labels, False, execution=execution)
        (image,) = torch.autograd.grad(layerwise(ours, theirs).sum(), synthetic)
        found[chosen] = ours, theirs, [image]
    for a, b in zip(found[strategy], found["loop"], strict=True):
        same(a, b)


@pytest.mark.parametrize("strategy", ["loop", "vmap", "grouped"])
@pytest.mark.parametrize("norm", ["instance", "layer", "group", "batch"])
def test_the_image_gradient_is_that_of_finite_differences(strategy, norm):
    # Swish: no kinks for the differences to cross.
    network, synthetic, real, labels = problem(
        shape=(1, 4, 4), width=4, depth=1, norm=norm, activation="swish"
    )
    freeze_norms(network, real.flatten(0, 1))
    target = class_gradients(network, real, labels, False)

    def loss(images):
        found = class_gradients(network, images, labels, True, execution=Execution(strategy))
        return layerwise(found, target).sum()

    (gradient,) = torch.autograd.grad(loss(synthetic), synthetic)
    generator, step = torch.Generator().manual_seed(1), 1e-5
    for _ in range(3):
        along = torch.randn(synthetic.shape, generator=generator, dtype=torch.float64)
        difference = (loss(synthetic + step * along) - loss(synthetic - step * along)) / (2 * step)
        assert (gradient * along).sum().item() == pytest.approx(difference.item(), rel=1e-5)


def test_the_loop_equals_plain_backward_class_by_class_and_leaves_no_trace():
    network, _, real, labels = problem(width=8)
    found = class_gradients(network, real, labels, False, execution=Execution("loop", micro_batch=2))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(g.requires_grad for g in found)
    for c in range(CLASSES):
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(real[c]), labels[c].expand(len(real[c]))).backward()
        same([g[c] for g in found], [parameter.grad for parameter in network.parameters()])


def test_threads_change_nothing():
    network, _, real, labels = problem(width=8)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(class_gradients(network, real, labels, False, execution=Execution("loop")))
            found.append(joint_gradient(network, real, labels, False))
    finally:
        torch.set_num_threads(threads)
    same(found[0], found[2])
    same(found[1], found[3])


def test_the_joint_gradient_is_the_mean_of_the_class_gradients():
    network, synthetic, real, labels = problem(width=8)
    for images, graph in ((synthetic, True), (real, False)):
        each = class_gradients(network, images, labels, graph)
        same(joint_gradient(network, images, labels, graph), [g.mean(0) for g in each])


def test_single_samples_average_to_the_class():
    network, synthetic, _, labels = problem(width=8)
    each = sample_gradients(network, synthetic, labels, True)
    assert each.leading == 2
    same([g.mean(1) for g in each], class_gradients(network, synthetic, labels, True))


@pytest.mark.parametrize("strategy", ["loop", "vmap", "grouped"])
def test_weights_make_classes_of_different_size(strategy):
    network, _, real, labels = problem(width=8)
    weights = torch.full(real.shape[:2], 1 / 7, dtype=torch.float64)
    weights[1] = torch.tensor([1 / 3] * 3 + [0] * 4, dtype=torch.float64)
    found = class_gradients(network, real, labels, False, weights, Execution(strategy))
    short = class_gradients(network, real[1:2, :3], labels[1:2], False)
    same([g[1] for g in found], [g[0] for g in short])
    joint = joint_gradient(network, real, labels, False, weights)
    same(joint, [g.mean(0) for g in found])


@pytest.mark.parametrize("strategy", ["loop", "vmap", "grouped"])
@pytest.mark.parametrize("of", [class_gradients, joint_gradient])
def test_a_small_memory_changes_nothing_but_when_the_graph_is_built(strategy, of, monkeypatch):
    network, synthetic, real, labels = problem(width=8)
    target = of(network, real, labels, False)
    found = []
    for memory in (10**9, 1):
        ours = of(network, synthetic, labels, True, execution=Execution(strategy, memory=memory))
        found.append(torch.autograd.grad(layerwise(ours, target).sum(), synthetic))
    same(found[1], found[0])
    assert "Recomputed" in type(ours[0].grad_fn).__name__ or of is joint_gradient
    same(
        class_gradients(network, real, labels, False, execution=Execution(strategy, memory=1)),
        class_gradients(network, real, labels, False),
    )


def test_bfloat16_is_near():
    network, _, real, labels = problem(width=8)
    network, real = network.float(), real.float()
    exact = class_gradients(network, real, labels, False)
    near = class_gradients(network, real, labels, False, execution=Execution("loop", bfloat16=True))
    for a, b in zip(near, exact, strict=True):
        if a.dim() > 2:
            assert 0 < (a - b).norm() < 0.1 * b.norm()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_compiled_is_the_same(strategy):
    network, _, real, labels = problem(width=8)
    compiled = class_gradients(network, real, labels, False, execution=Execution(strategy, 4, compiled=True))
    plain = module.weighted_loss if strategy == "loop" else module._gradients_at_once
    assert module.compiled_for(network, plain) is not plain, "it did compile"
    same(compiled, class_gradients(network, real, labels, False))


@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_a_compiler_that_fails_is_done_without(monkeypatch, strategy):
    def broken(*arguments, **options):
        def call(*inputs):
            raise RuntimeError("no compiler")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    network, _, real, labels = problem(width=8)
    found = class_gradients(network, real, labels, False, execution=Execution(strategy, compiled=True))
    same(found, class_gradients(network, real, labels, False))
    # Without a compiler a call moves parameters about in its network: no two threads may share one.
    in_use, plain = [], module.weighted_loss

    def watched(network, *arguments):
        assert network not in in_use
        in_use.append(network)
        time.sleep(0.01)
        loss = plain(network, *arguments)
        in_use.remove(network)
        return loss

    monkeypatch.setattr(module, "weighted_loss", watched)
    network, _, real, labels = problem(width=8)
    for _ in range(2):  # the call that finds no compiler, and one that knows
        found = class_gradients(
            network, real, labels, False, execution=Execution("loop", compiled=True, workers=2)
        )
        same(found, class_gradients(network, real, labels, False))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_only_the_first_compiled_call_goes_alone():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network, _, real, labels = problem(width=8)
        execution = Execution("loop", compiled=True)
        expected = class_gradients(network, real, labels, False)
        for _ in range(2):
            same(class_gradients(network, real, labels, False, execution=execution), expected)
        for _ in range(2):  # asking changes nothing
            assert not shape_is_new(network, real[0]) and shape_is_new(network, real[0, :2])
    finally:
        torch.set_num_threads(threads)


def test_batch_norm_is_set_by_one_pass_and_then_frozen():
    network, synthetic, real, labels = problem(width=8, norm="batch")
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [m.running_mean.clone() for m in norms]
    freeze_norms(network, real.flatten(0, 1))
    after = [m.running_mean.clone() for m in norms]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(m.training for m in norms)
    loop, vmap = (
        class_gradients(network, synthetic, labels, True, execution=Execution(s)) for s in ("loop", "vmap")
    )
    same(vmap, loop)
    assert all(torch.equal(m.running_mean, a) for m, a in zip(norms, after, strict=True)), (
        "a matching pass moved them"
    )


def test_refusals():
    with pytest.raises(ValueError, match="loop, vmap, grouped"):
        Execution("fast")
    with pytest.raises(ValueError, match="at least 1 image"):
        Execution(micro_batch=0)
