"""Experts: sharpness-aware steps, files that refuse what does not match, start epochs, DATM's selection, presets."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from empirical import networks
from empirical.data.datasets import load
from empirical.distillation.loop import Distillation, Diverged, Step, distil
from empirical.distillation.method import Matched, StepFailed
from empirical.evaluation.evaluation_points import scores, skipped_share
from empirical.experiment.families import names
from empirical.experiment.resolve import resolve, with_preset
from empirical.networks.choice import NetworkChoice
from empirical.settings.identity import identity
from empirical.settings.settings import Settings
from empirical.settings.trajectory_presets import row
from empirical.synthetic.synthetic_set import SyntheticSet
from empirical.trajectory_matching.expert_file import BadExpert, ExpertFile, file_of, write
from empirical.trajectory_matching.expert_training import ExpertPool, ExpertRecipe, Order, train_experts
from empirical.trajectory_matching.expert_training import identity as identity_of
from empirical.trajectory_matching.selection import correct_images, mean_logits
from empirical.trajectory_matching.sharpness import Gsam, orthogonal_part, perturbation
from empirical.trajectory_matching.starts import StartEpochs

CHOICE = NetworkChoice("convnet", {"width": 4, "depth": 2})


@pytest.fixture(scope="module")
def digits():
    data = load("digits")
    return replace(data, train=data.train.subset(torch.arange(120)), test=data.test.subset(torch.arange(40)))


def test_gsam_by_hand():
    w, scale = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0])  # l = sum scale w^2 / 2
    leaf = w.clone()
    found = Gsam(rho=0.5, alpha=0.25)(lambda: [scale * leaf], [leaf], 0)[0]
    g = torch.tensor([2.0, -3.0])
    e = 0.5 * torch.tensor([4.0, 1.0]) * g / torch.tensor([4.0, 3.0]).norm()
    ga = scale * (w + e)
    perp = g - (g @ ga) / (ga @ ga) * ga
    assert torch.allclose(found, ga - 0.25 * perp)
    assert torch.equal(leaf, w)


def test_gsam_limits_and_stacks():
    gen = torch.Generator().manual_seed(0)
    g, a, w = (
        [torch.randn(3, 4, 2, generator=gen), torch.randn(3, 5, generator=gen)] for _ in range(3)
    )
    perp = orthogonal_part(g, a, 1)
    dot = sum((p * q).flatten(1).sum(1) for p, q in zip(perp, a, strict=True))
    assert dot.abs().max() < 1e-5
    stacked = perturbation(w, g, 0.1, 1)
    for k in range(3):
        one = perturbation([x[k] for x in w], [x[k] for x in g], 0.1)
        assert all(torch.allclose(s[k], o) for s, o in zip(stacked, one, strict=True))
    leaf = w[0].clone()
    assert torch.allclose(Gsam(1e-9, 0.0)(lambda: [leaf * 2], [leaf], 0)[0], 2 * leaf, atol=1e-6)


@pytest.mark.parametrize("kind", ["sgd", "flat"])
def test_experts_are_distinct_and_resume_bit_for_bit(digits, tmp_path, kind, monkeypatch):
    recipe = ExpertRecipe(kind, augmentation="crop_scale", batch=50)
    whole = train_experts(digits, CHOICE, recipe, Order(tmp_path / "a", 2, 3), quiet=True)
    rows = whole.files[0].rows(0, 1, 2, 3)
    assert all((p - q).norm() > 1e-3 for p, q in pairwise(rows))
    assert len(whole.files[0].header["accuracies"]) == 4
    import empirical.trajectory_matching.expert_training as module

    original, calls = module._epoch, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(module, "_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train_experts(digits, CHOICE, recipe, Order(tmp_path / "b", 2, 3), quiet=True)
    assert not list((tmp_path / "b").glob("*.safetensors"))
    monkeypatch.setattr(module, "_epoch", original)
    again = train_experts(digits, CHOICE, recipe, Order(tmp_path / "b", 2, 3), quiet=True)
    for first, second in zip(whole.files, again.files, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(first.rows(0, 3), second.rows(0, 3), strict=True))


def test_other_experts_are_refused_with_both_values(digits, tmp_path):
    recipe = ExpertRecipe(batch=50)
    train_experts(digits, CHOICE, recipe, Order(tmp_path, 1, 1), quiet=True)
    own = identity_of(digits, CHOICE, recipe)
    ExpertPool.open(tmp_path, 1, own, 1)
    with pytest.raises(BadExpert, match=r"rate = 0\.01, this run has 0\.1"):
        ExpertPool.open(tmp_path, 1, identity_of(digits, CHOICE, ExpertRecipe(batch=50, rate=0.1)), 1)
    with pytest.raises(BadExpert, match="needs 2"):
        ExpertPool.open(tmp_path, 1, own, 2)
    with pytest.raises(BadExpert, match="no expert"):
        ExpertPool.open(tmp_path, 2, own, 1)


def test_damaged_files_are_refused(tmp_path):
    path = write(file_of(tmp_path, 0), iter(torch.eye(3)), 3, 3, {"identity": {}})
    assert torch.equal(torch.stack(ExpertFile.open(path).rows(0, 1, 2)), torch.eye(3))
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BadExpert, match="damaged at epoch 2"):
        ExpertFile.open(path).rows(2)
    path.write_bytes(raw[:-5])
    with pytest.raises(BadExpert, match="damaged"):
        ExpertFile.open(path)
    with pytest.raises(ValueError, match="3 snapshots"):
        write(file_of(tmp_path, 1), iter(torch.eye(2, 3)), 3, 3, {})
    assert [p.name for p in tmp_path.iterdir()] == ["expert-0000.safetensors"]


def test_start_epochs_grow():
    starts = StartEpochs(0, 20, 10, 1000)
    assert [starts.bound(it) for it in (0, 500, 1000, 5000)] == [10, 15, 20, 20]
    assert StartEpochs(1, 4).bound(0) == 4
    with pytest.raises(ValueError, match="start epochs"):
        StartEpochs(3, 3)
    g = torch.Generator().manual_seed(0)
    assert {StartEpochs(1, 4).draw(g, 0) for _ in range(60)} == {1, 2, 3}


def test_selection_and_logits_by_hand():
    members, g = torch.arange(6), torch.Generator().manual_seed(0)
    first = torch.tensor([1, 0, 1, 0, 0, 0]).bool()
    second = torch.tensor([0, 1, 1, 1, 0, 0]).bool()
    chosen = correct_images(members, 0, 3, [first, second], g).tolist()
    assert set(chosen[:2]) == {0, 2} and chosen[2] in (1, 3)
    with pytest.raises(ValueError, match="only 4 images"):
        correct_images(members, 0, 5, [first, second], g)
    logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[4.0, 0.0], [0.0, 3.0]], [[0.0, 9.0], [0.0, 5.0]]])
    found = mean_logits(logits, torch.tensor([0, 0]))
    assert torch.allclose(found, torch.tensor([[3.0, 0.0], [3.0, 3.0]]))


def test_published_rows_and_resolution():
    assert row("mtt", "cifar10", 10, "published")["syn_steps"] == 30
    settings = with_preset(Settings(method="datm", dataset="cifar10", ipc=10), None)
    assert (settings.iterations, settings.eval_networks, settings.eval_batch) == (10000, 5, 128)
    assert settings.width == 128 and settings.learning_rate == 100
    assert row("ftd", "cifar100", 50, "published")["ema_decay"] == 0.999
    for method in names("trajectory"):
        done = resolve(with_preset(Settings(method=method, sdc="published"), None), load("digits"))
        assert done.trajectory.lr_teacher and done.sdc == 0.002
        assert None not in [v for k, v in vars(done.trajectory).items()
                            if k not in ("syn_lr_min", "experts", "make_experts")]
        assert identity(done)["trajectory syn_steps"] == 10
    with pytest.raises(ValueError, match="need experts of"):
        spoilt = replace(Settings().trajectory, max_start_epoch=9)
        resolve(with_preset(Settings(method="mtt", trajectory=spoilt), None), load("digits"))


class Scripted:
    """A method that hands out what it is given."""

    def __init__(self, found):
        self.found, self.steps = found, len(found)

    def step(self, synthetic, generator, step):
        if isinstance(self.found[step], Exception):
            raise self.found[step]
        rate, loss = self.found[step]
        gradients = {"images": torch.ones_like(synthetic.images), "learning_rate": torch.tensor(rate)}
        return Matched(torch.tensor(loss), gradients, {}, torch.tensor(loss) <= 1)

    def state(self):
        return {}

    def load_state(self, state):
        pass


def run_scripted(found, folder, **options):
    start = SyntheticSet(
        torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), 2, learning_rate=torch.tensor(0.1)
    )
    steps = {"images": Step(1.0, 0.5, average=0.5), "learning_rate": Step(1.0, 0.0, above=0.0, **options)}
    task = Distillation(
        method=Scripted(found), start=start, generator=torch.Generator(), steps=steps, folder=folder, identity={},
        quiet=True,
    )  # fmt: skip
    return distil(task)


def test_average_and_skipped_steps(tmp_path):
    made = run_scripted([(0.0, 0.5), (0.0, 2.0), (0.0, 3.0), (0.0, 0.5)], tmp_path)
    # updates 1 and 4 count: images -1, then velocity 1.5: -2.5; average 0.5 (-1) = -0.5, then -1.5
    assert torch.allclose(made.images, torch.full((2, 1, 4, 4), -1.5))


def test_student_rate_below_zero_stops_with_the_last_good_set(tmp_path):
    with pytest.raises(Diverged, match=r"learning rate fell to 0 or below.*by step 2: take less") as failure:
        run_scripted([(0.0, 0.5), (1.0, 0.5), (0.0, 0.5)], tmp_path, advice="take less")
    assert float(failure.value.synthetic.learning_rate) == pytest.approx(0.1)
    assert torch.allclose(failure.value.synthetic.images, torch.full((2, 1, 4, 4), -0.5))
    made = run_scripted([(0.0, 0.5), (1.0, 0.5)], tmp_path / "bounded", lowest=0.01)
    assert float(made.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_not_skipped_as_one_above_the_threshold(tmp_path, loss):
    with pytest.raises(Diverged, match="loss is not finite at step 2") as failure:
        run_scripted([(0.0, 0.5), (0.0, 2.0), (0.0, loss), (0.0, 0.5)], tmp_path)
    assert torch.allclose(failure.value.synthetic.images, torch.full((2, 1, 4, 4), -0.5))


def test_a_skipped_step_may_lead_anywhere_since_it_is_not_taken(tmp_path):
    made = run_scripted([(0.0, 0.5), (1.0, 2.0), (0.0, 0.5)], tmp_path)  # the second would take the rate below 0
    assert float(made.learning_rate) == pytest.approx(0.1)


def test_degenerate_expert_stops(tmp_path):
    with pytest.raises(Diverged, match="did not move"):
        run_scripted([(0.0, 0.5), StepFailed("it did not move")], tmp_path)


def test_scores():
    rows = [
        {"step": 0, "test_accuracies": [0.5, 0.7], "validation_accuracies": [0.4]},
        {"step": 1, "skipped": 1.0},
        {"step": 2, "test_accuracies": [0.9], "validation_accuracies": [0.3], "skipped": 0.0},
        {"step": 4, "test_accuracies": [0.8], "validation_accuracies": [0.5]},
    ]
    found = scores(rows, "convnet")
    assert (found.maximum.mean, found.last.mean, found.chosen.mean) == (0.9, 0.8, 0.8)
    assert found.steps == {"maximum": 2, "last": 4, "chosen": 4} and found.points == 3
    assert skipped_share(rows) == 0.5 and scores([], "convnet") is None


@pytest.mark.parametrize("worth_it", [True, False])
def test_whether_to_compile_is_asked_of_the_whole_training(digits, tmp_path, monkeypatch, worth_it):
    """Not of one epoch, and not of how many experts there are: numbers must depend on neither."""
    import empirical.trajectory_matching.expert_training as module

    recipe, seen = ExpertRecipe("flat", batch=50), []
    network = networks.build(CHOICE.name, digits.shape, digits.classes, **CHOICE.variant)
    whole = module.flop(digits, network, recipe, module.AT_ONCE, 2)
    monkeypatch.setattr(module.training, "COMPILE_FROM_FLOP", whole if worth_it else 1.01 * whole)
    monkeypatch.setattr(module.training, "train", lambda *arguments, **options: seen.append(options["compiled"]))
    for count in (1, 3):
        train_experts(digits, CHOICE, recipe, Order(tmp_path / str(count), count, 2), quiet=True)
    assert seen == [worth_it] * 4


def test_long_values_that_differ_are_told_by_where_they_differ():
    from empirical.trajectory_matching.expert_file import excerpts

    assert excerpts("sgd", "flat") == ("sgd", "flat")
    first, second = excerpts("same " * 50 + "instance" + " end" * 50, "same " * 50 + "batch" + " end" * 50)
    assert "instance" in first
    assert "batch" in second
    assert max(len(first), len(second)) < 80
