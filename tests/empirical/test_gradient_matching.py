import itertools

import pytest
import torch

from empirical import networks, synthetic
from empirical.correction import Measured, SampleDifficultyCorrection
from empirical.data.augmentation import WITHOUT_FLIP, SiameseAugmentation
from empirical.data.datasets import load
from empirical.experiment import families
from empirical.experiment.gradient_matching import FAMILY
from empirical.gradient_matching.class_gradients import class_gradients, joint_gradient
from empirical.gradient_matching.distances import layerwise
from empirical.gradient_matching.hard_threshold import HardThreshold
from empirical.gradient_matching.matching_loss import GradientMatchingLoss
from empirical.gradient_matching.method import GradientMatching, Loops
from empirical.gradient_matching.real_batches import RealBatch, draw_real
from empirical.gradient_matching.schedule import WarmUp, loop_lengths
from shared.measures.difficulty import gradient_norms


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def small_problem(ipc=2, real=5):
    generator = rng(3)
    network = networks.build("convnet", (1, 8, 8), 3, generator, width=8).double()
    images = torch.randn(3, ipc, 1, 8, 8, generator=generator, dtype=torch.float64).requires_grad_()
    batch = torch.randn(3, real, 1, 8, 8, generator=generator, dtype=torch.float64)
    return network, images, RealBatch(batch, torch.arange(3))


@pytest.mark.parametrize("ipc", [1, 10, 20, 30, 40, 50])
def test_the_published_loop_table(ipc):
    class_wise = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
    assert loop_lengths(False, ipc) == class_wise[ipc]
    assert loop_lengths(True, ipc) == ((10, 5) if ipc == 1 else class_wise[ipc])


def test_other_images_per_class_need_both_numbers_and_hear_the_nearest():
    with pytest.raises(ValueError, match=r"7 images a class.*nearest published, 10 .* has 10 and 50"):
        loop_lengths(False, 7)
    with pytest.raises(ValueError, match="--network-epochs"):
        loop_lengths(False, 7, matching_steps=3)
    assert loop_lengths(False, 7, 3, 4) == (3, 4)
    assert loop_lengths(False, 10, matching_steps=3) == (3, 50)
    with pytest.raises(ValueError, match="at least 1"):
        loop_lengths(False, 1, 0, 0)


@pytest.mark.parametrize(
    ("at", "contrastive"), [((249, 9), False), ((250, 0), True), ((0, 10), True), ((0, 0), False)]
)
def test_warm_up(at, contrastive):
    assert WarmUp().contrastive(*at) is contrastive
    network, images, real = small_problem()
    loss = GradientMatchingLoss(contrastive=True, matching_steps=20)
    matched = loss(images, network, real, rng(), 20 * at[0] + at[1])
    assert matched.synthetic_gradients.leading == (0 if contrastive else 1)


def test_class_wise_is_a_sum_and_contrastive_one_distance_of_means():
    network, images, real = small_problem()
    ours = class_gradients(network, images, real.labels, True)
    theirs = class_gradients(network, real.images, real.labels, False)
    summed = GradientMatchingLoss()(images, network, real, rng(), 0)
    torch.testing.assert_close(summed.loss, layerwise(ours, theirs).sum())
    joint = GradientMatchingLoss(contrastive=True, warm_up=WarmUp(0, 0))(images, network, real, rng(), 0)
    expected = layerwise([g.mean(0) for g in ours], [g.mean(0) for g in theirs])
    torch.testing.assert_close(joint.loss, expected)


@pytest.mark.parametrize("contrastive", [False, True])
def test_each_class_is_augmented_by_one_draw_on_both_sides(contrastive):
    network, images, _ = small_problem(ipc=4, real=4)
    # Real and synthetic images are the same and so are their draws: each gradient is compared with itself.
    real = RealBatch(images.detach(), torch.arange(3))
    loss = GradientMatchingLoss(contrastive, SiameseAugmentation(WITHOUT_FLIP), warm_up=WarmUp(0, 0))
    matched = loss(images, network, real, rng(1), 0)
    of = joint_gradient if contrastive else class_gradients
    augmentation = SiameseAugmentation(WITHOUT_FLIP)
    augmented = augmentation.apply(augmentation.draw(rng(1), (8, 8), groups=3), images)
    gradients = of(network, augmented, real.labels, True)
    torch.testing.assert_close(matched.loss, layerwise(gradients, gradients).sum())


def test_the_methods_are_these_settings():
    rows = {m.name: m.own for m in families.methods("gradient") if m.family is FAMILY}
    found = {name: (own.contrastive, own.augmented, own.initialisation) for name, own in rows.items()}
    assert found == {
        "dc": (False, False, "noise"),
        "dsa": (False, True, "real"),
        "dcc": (True, False, "real"),
        "dsac": (True, True, "real"),
    }


@pytest.mark.parametrize("contrastive", [False, True])
def test_single_samples_leave_the_distance_alone(contrastive):
    network, images, real = small_problem()
    plain, single = (
        GradientMatchingLoss(contrastive, warm_up=WarmUp(0, 0), single_samples=s)(
            images, network, real, rng(), 0
        )
        for s in (False, True)
    )
    torch.testing.assert_close(single.loss, plain.loss)
    each = torch.stack(
        [
            SampleDifficultyCorrection(1.0)([g[c, i] for g in single.synthetic_gradients])
            for c in range(single.synthetic_gradients[0].shape[0])
            for i in range(single.synthetic_gradients[0].shape[1])
        ]
    )
    sdc = SampleDifficultyCorrection(1.0, reduction="per_sample")(single.synthetic_gradients)
    torch.testing.assert_close(sdc, each.mean() * (1 if contrastive else 3))


class TestThreshold:
    def test_keeps_exactly_the_easy_ones(self):
        network, _, real = small_problem()
        labels = real.labels.repeat_interleave(5)
        norms = gradient_norms(network, real.images.flatten(0, 1), labels).view(3, 5)
        limit = norms.median().item()
        kept = HardThreshold(limit).keep(network, real.images, real.labels, None, 2)
        assert torch.equal(kept.real > 0, norms <= limit)
        torch.testing.assert_close(kept.real.sum(1), ((norms <= limit).any(1)).double())
        assert kept.share == (norms <= limit).float().mean()

    def test_the_loss_is_that_of_the_reduced_batches(self):
        network, images, real = small_problem()
        labels = real.labels.repeat_interleave(5)
        norms = gradient_norms(network, real.images.flatten(0, 1), labels).view(3, 5)
        limit = norms.flatten().kthvalue(4).values.item()
        found = GradientMatchingLoss(threshold=HardThreshold(limit))(images, network, real, rng(), 0)
        expected = torch.zeros((), dtype=torch.float64)
        for c in range(3):
            easy = real.images[c][norms[c] <= limit]
            if len(easy):
                one = real.labels[c : c + 1]
                ours = class_gradients(network, images[c : c + 1, : len(easy)], one, True)
                expected = expected + layerwise(ours, class_gradients(network, easy[None], one, False)).sum()
        left_out = int(((norms <= limit).sum(1) == 0).sum())
        rows = 8 * 3 + 3
        torch.testing.assert_close(found.loss, expected + left_out * rows)

    def test_a_limit_above_all_changes_nothing(self):
        network, images, real = small_problem()
        plain = GradientMatchingLoss()(images, network, real, rng(), 0)
        kept = GradientMatchingLoss(threshold=HardThreshold(1e9))(images, network, real, rng(), 0)
        torch.testing.assert_close(kept.loss, plain.loss)
        with pytest.raises(ValueError, match="above 0"):
            HardThreshold(0)


class TestRealBatches:
    def test_one_batch_a_class_without_replacement(self, digits):
        batch = draw_real(digits, 32, rng())
        assert batch.images.shape == (10, 32, *digits.shape)
        assert batch.weights is None
        assert len(batch.images.flatten(2)[4].unique(dim=0)) == 32
        other = draw_real(digits, 32, rng(1))
        assert not torch.equal(batch.images, other.images)

    def test_a_class_smaller_than_the_batch_is_taken_whole(self, digits):
        sizes = digits.train.class_sizes
        batch = draw_real(digits, max(sizes), rng())
        torch.testing.assert_close(batch.weights.sum(1), torch.ones(10))
        for c, size in enumerate(sizes):
            assert (batch.weights[c] > 0).sum() == size
            assert len(batch.images[c][batch.weights[c] > 0].flatten(1).unique(dim=0)) == size
        assert draw_real(digits, 10_000, rng()).images.shape[1] == max(sizes)


def run(digits, coefficient, steps, *, measure_pull=True, loss=None, loops=None, seed=0):
    """Images after some steps of plain gradient descent."""
    network = networks.build("convnet", digits.shape, 10, width=8, depth=2)
    method = GradientMatching(
        digits,
        network,
        loss or GradientMatchingLoss(augmentation=SiameseAugmentation(WITHOUT_FLIP)),
        loops or Loops(batch_real=8),
        SampleDifficultyCorrection(coefficient),
        measure_pull=measure_pull,
    )
    generator = rng(seed)
    made = synthetic.initialise("real", digits, 1, generator)
    rows = []
    for step in range(steps):
        matched = method.step(made, generator, step)
        made.images -= 0.1 * matched.gradients["images"]
        rows.append(matched)
    return made.images, rows


def test_coefficient_zero_is_the_plain_method_bit_for_bit(digits):
    class Plain:
        coefficient_at = staticmethod(lambda step: 0.0)

        def measured(self, gradients, step):
            return Measured(torch.zeros(()), torch.zeros(()))

    corrected, _ = run(digits, 0.0, 3)
    network = networks.build("convnet", digits.shape, 10, width=8, depth=2)
    loss = GradientMatchingLoss(augmentation=SiameseAugmentation(WITHOUT_FLIP))
    method = GradientMatching(digits, network, loss, Loops(batch_real=8), Plain())
    generator = rng()
    made = synthetic.initialise("real", digits, 1, generator)
    for step in range(3):
        made.images -= 0.1 * method.step(made, generator, step).gradients["images"]
    assert torch.equal(corrected, made.images)
    assert not torch.equal(corrected, run(digits, 1.0, 3)[0])


def test_the_same_seed_gives_the_same_bits_and_the_global_generator_is_left_alone(digits):
    before = torch.random.get_rng_state()
    assert torch.equal(run(digits, 0.1, 2)[0], run(digits, 0.1, 2)[0])
    assert not torch.equal(run(digits, 0.1, 2)[0], run(digits, 0.1, 2, seed=1)[0])
    assert torch.equal(before, torch.random.get_rng_state())


def test_measuring_the_pull_does_not_move_the_images(digits):
    with_pull, rows = run(digits, 1.0, 2)
    without, _ = run(digits, 1.0, 2, measure_pull=False)
    torch.testing.assert_close(with_pull, without, rtol=1e-4, atol=1e-5)
    assert 0 < rows[0].metrics["pull"] < 10


def test_metrics_of_a_step(digits):
    _, rows = run(digits, 0.5, 1)
    metrics = rows[0].metrics
    assert set(metrics) == {"distance", "real_norm", "coefficient", "norm", "pull"}
    torch.testing.assert_close(rows[0].loss, metrics["distance"] + 0.5 * 10 * metrics["norm"])


def test_networks_are_fresh_every_iteration_and_trained_between_matching_steps(digits):
    network = networks.build("convnet", digits.shape, 10, width=8, depth=2)
    loops = Loops(iterations=2, matching_steps=3, network_epochs=2, batch_real=4)
    method = GradientMatching(
        digits, network, GradientMatchingLoss(matching_steps=3), loops, SampleDifficultyCorrection(0)
    )
    assert method.steps == 6
    generator, seen = rng(), []
    made = synthetic.initialise("noise", digits, 1, generator)
    for step in range(6):
        method.step(made, generator, step)
        seen.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    moved = [(a - b).norm().item() for a, b in itertools.pairwise(seen)]
    fresh = moved[2]
    assert fresh > 3
    assert all(0 < move < fresh / 5 for i, move in enumerate(moved) if i != 2)


def test_batch_norm_networks_match_with_frozen_statistics_and_train_with_live_ones(digits):
    network = networks.build("convnet", digits.shape, 10, width=8, depth=2, norm="batch")
    loops = Loops(matching_steps=2, network_epochs=1, batch_real=4)
    method = GradientMatching(
        digits, network, GradientMatchingLoss(matching_steps=2), loops, SampleDifficultyCorrection(0)
    )
    generator = rng()
    made = synthetic.initialise("noise", digits, 1, generator)
    means = []
    for step in range(2):
        matched = method.step(made, generator, step)
        assert torch.isfinite(matched.gradients["images"]).all()
        assert not network.blocks[0].norm.training
        means.append(network.blocks[0].norm.running_mean.clone())
    assert not torch.equal(means[0], means[1])
