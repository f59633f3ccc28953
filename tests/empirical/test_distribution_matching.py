"""DM against plain autograd in float64 and the closed form of a linear embedding; its correction; the command."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from empirical import evaluate, networks, run, synthetic
from empirical.correction import AdaptiveSampleDifficultyCorrection, SampleDifficultyCorrection
from empirical.data.augmentation import SiameseAugmentation, parse_strategy
from empirical.data.datasets import Dataset, Split, load
from empirical.distillation.loop import Distillation, Measurement, Schedule, Step, distil
from empirical.distribution_matching.mean_features import distance_of_means, mean_features
from empirical.distribution_matching.method import DistributionMatching
from empirical.experiment.families import notes, unread
from empirical.experiment.resolve import resolve, with_preset
from empirical.gradient_matching.class_gradients import Execution
from empirical.gradient_matching.real_batches import draw_real
from empirical.networks import Classifier, initialise
from empirical.runtime.seeds import generator
from empirical.settings.settings import Settings
from empirical.sweep import __main__ as sweep
from empirical.synthetic import SyntheticSet, from_real
from shared.records.records import read

STRATEGY = SiameseAugmentation(parse_strategy("color_crop_cutout_scale_rotate"))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """15 images a class, but for 12 of the first."""
    whole = load("digits", train_images=150)
    kept = torch.cat([members[3:] if c == 0 else members for c, members in enumerate(whole.train.by_class)])
    return replace(whole, train=whole.train.subset(kept))


def matching(dataset: Dataset, **changed: Any) -> DistributionMatching:
    given: dict[str, Any] = {
        "network": networks.build("convnet", dataset.shape, dataset.classes, width=4, depth=2),
        "updates": 5,
        "batch_real": 6,
        "correction": SampleDifficultyCorrection(0.0),
        "augmentation": STRATEGY,
        "execution": Execution(),
        **changed,
    }
    return DistributionMatching(dataset, **given)


def by_hand(method: DistributionMatching, made: SyntheticSet, seed: int) -> tuple[float, Tensor, float]:
    """Loss, image gradient and mean norm of a step in float64, one class after another, each in one pass."""
    draws, dataset = generator(seed, "step"), method.dataset
    network = initialise(copy.deepcopy(method.network), draws).double().requires_grad_(True)
    real = draw_real(dataset, method.batch_real, draws)
    images = made.images.detach().double().requires_grad_()
    per_class = images.unflatten(0, (made.classes, -1))
    theirs = real.images.double()
    if method.augmentation is not None:
        draw = method.augmentation.draw(draws, dataset.shape[1:], groups=made.classes)
        per_class, theirs = (method.augmentation.apply(draw, x) for x in (per_class, theirs))
    loss, norms, correction = torch.zeros(()).double(), [], method.correction
    for c in range(made.classes):
        own = theirs[c] if real.weights is None else theirs[c][real.weights[c] > 0]
        difference = network.features(per_class[c]).mean(0) - network.features(own).mean(0).detach()
        loss = loss + difference.square().sum()
        batches = per_class[c].split(1 if correction.reduction == "per_sample" else len(per_class[c]))
        each = []
        for batch in batches:
            of = cross_entropy(network(batch), torch.full((len(batch),), c))
            found = torch.autograd.grad(of, list(network.parameters()), create_graph=True)
            kept = [g for g in found if correction.parameters == "all" or g.dim() > 1]
            each.append(torch.cat([g.flatten() for g in kept]).norm())
        norms.append(torch.stack(each))
    every = torch.stack(norms)
    penalty = (every**correction.power).mean(1).sum() / (made.classes if correction.over_classes == "mean" else 1)
    loss = loss + correction.coefficient * penalty
    (gradient_of_images,) = torch.autograd.grad(loss, images)
    return float(loss.detach()), gradient_of_images, float(every.mean().detach())


CASES: dict[str, dict[str, Any]] = {
    "plain": {"augmentation": None},
    "augmented": {},
    "all of a small class": {"batch_real": 15},
    "a few images at a time": {"execution": Execution(memory=100_000)},
    "corrected": {"correction": SampleDifficultyCorrection(0.5)},
    "corrected, towards hard": {"correction": SampleDifficultyCorrection(0.5).scaled(-1.0)},
    "corrected, squared": {"correction": SampleDifficultyCorrection(0.5, power=2)},
    "corrected, mean over classes": {"correction": SampleDifficultyCorrection(5.0, over_classes="mean")},
    "corrected, by image": {"correction": SampleDifficultyCorrection(0.5, reduction="per_sample")},
    "corrected, weights": {"correction": SampleDifficultyCorrection(0.5, parameters="weights_only")},
    "corrected, a few images at a time": {
        "correction": SampleDifficultyCorrection(0.5), "execution": Execution(memory=100_000)
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ipc", [1, 3])
def test_a_step_is_that_of_plain_autograd(digits: Dataset, case: str, ipc: int) -> None:
    assert digits.train.class_sizes == (12, *[15] * 9)
    method, made = matching(digits, **CASES[case]), from_real(digits, ipc, generator(0, "start"))
    if "few" in case:
        assert method._with_graph < 10 * ipc and method._without_graph < 6
    found = method.step(made, generator(3, "step"), 0)
    loss, gradient, norm = by_hand(method, made, 3)
    assert float(found.loss) == pytest.approx(loss, rel=2e-4)
    assert float((found.gradients["images"] - gradient).norm() / gradient.norm()) < 2e-4
    assert float(found.metrics["norm"]) == pytest.approx(norm, rel=2e-4)
    assert made.images.requires_grad is False and all(p.grad is None for p in method.network.parameters())


@pytest.mark.parametrize("kind", ["mlp", "lenet", "convnet"])
def test_any_network_embeds(digits: Dataset, kind: str) -> None:
    variant: dict[str, Any] = {"width": 4, "norm": "batch"} if kind == "convnet" else {}
    method = matching(digits, network=networks.build(kind, digits.shape, 10, **variant))
    found = method.step(from_real(digits, 2, generator(0, "start")), generator(1, "step"), 0)
    assert found.gradients["images"].isfinite().all() and float(found.loss) > 0


def test_passes_of_any_size_give_the_same_means_and_derivative() -> None:
    network = networks.build("convnet", (3, 8, 8), 4, generator(0), width=5, depth=2).double().requires_grad_(False)
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(4, 7, 3, 8, 8, generator=draws, dtype=torch.float64)
    weights = torch.rand(4, 7, generator=draws, dtype=torch.float64)
    target = torch.randn(4, network.classifier.in_features, generator=draws, dtype=torch.float64)
    features = network.features(images.flatten(0, 1)).unflatten(0, (4, 7))
    whole = distance_of_means(network, images, target, 28)
    for size in (1, 2, 3, 7, 100):
        torch.testing.assert_close(mean_features(network, images, None, size), features.mean(1), rtol=1e-12, atol=1e-14)
        weighted = (weights[..., None] * features).sum(1)
        torch.testing.assert_close(mean_features(network, images, weights, size), weighted, rtol=1e-12, atol=1e-14)
        for found, expected in zip(distance_of_means(network, images, target, size), whole, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


class Linear(Classifier):
    """A linear embedding that is the same at every draw: features = x times a constant."""

    def __init__(self, shape: tuple[int, int, int], classes: int, factor: float):
        super().__init__()
        self.factor = factor
        self.classifier = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def features(self, images: Tensor) -> Tensor:
        return self.factor * images.flatten(1)


@pytest.mark.parametrize(("ipc", "factor"), [(1, 1.0), (4, 1.0), (4, 0.5)])
def test_a_linear_embedding_moves_means_as_its_closed_form_says(
    digits: Dataset, tmp_path: Path, ipc: int, factor: float
) -> None:
    """The mean's distance shrinks by 1 - 2 rate factor^2 / ipc an update, and nothing but the mean moves."""
    updates, rate = 12, 0.2
    method = matching(
        digits, network=Linear(digits.shape, 10, factor), updates=updates, batch_real=1000, augmentation=None
    )
    start = from_real(digits, ipc, generator(0, "start"))
    made = distil(
        Distillation(
            method=method, start=start, generator=generator(0, "d"), steps={"images": Step(rate, 0.0)},
            folder=tmp_path, identity={}, quiet=True,
        )
    )  # fmt: skip
    inputs = digits.normalise(digits.train.images)
    means = torch.stack([inputs[members].mean(0) for members in digits.train.by_class])
    before, after = (s.images.unflatten(0, (10, ipc)) for s in (start, made))
    shrunk = (1 - 2 * rate * factor**2 / ipc) ** updates
    torch.testing.assert_close(after.mean(1) - means, shrunk * (before.mean(1) - means), rtol=1e-4, atol=1e-5)
    for x, y in zip(after - after.mean(1, keepdim=True), before - before.mean(1, keepdim=True), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)
    losses = [row["loss"] for row in read_rows(tmp_path)]
    first = float((factor * (before.mean(1) - means)).square().sum())
    assert losses[0] == pytest.approx(first, rel=1e-4)
    per_step = (1 - 2 * rate * factor**2 / ipc) ** 2
    assert losses[-1] == pytest.approx(first * per_step ** (updates - 1), rel=1e-3, abs=1e-6 * first)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "loss" in row]


def test_every_real_image_of_a_class_weighs_alike_in_what_is_matched(digits: Dataset) -> None:
    """Matching leans on no image for its difficulty: repeated images count as often as they are there, no more."""
    method = matching(digits, augmentation=None, batch_real=1000)
    initialise(method.network, generator(1))
    doubled = torch.arange(147).repeat(2)
    twice = replace(digits, train=Split(digits.train.images[doubled], digits.train.labels[doubled], 10))
    targets = []
    for data in (digits, twice):
        real = draw_real(data, 1000, generator(0))
        targets.append(mean_features(method.network, real.images, real.weights, 64))
    torch.testing.assert_close(*targets, rtol=1e-4, atol=1e-5)


def test_a_coefficient_of_zero_is_the_plain_method_bit_for_bit(digits: Dataset) -> None:
    made = from_real(digits, 2, generator(0, "start"))
    steps = [
        matching(digits, correction=correction).step(made, generator(5, "step"), 0)
        for correction in (SampleDifficultyCorrection(0.0), SampleDifficultyCorrection(0.0, power=2))
    ]
    corrected = matching(digits, correction=SampleDifficultyCorrection(1e-30)).step(made, generator(5, "step"), 0)
    for found in (steps[1], corrected):
        assert torch.equal(found.gradients["images"], steps[0].gradients["images"])
    assert "pull" not in steps[0].metrics and "pull" in corrected.metrics


def test_an_adaptive_correction_grows_along_the_run(digits: Dataset) -> None:
    correction = AdaptiveSampleDifficultyCorrection(0.1, 0.4, 4)
    method, made = matching(digits, correction=correction), from_real(digits, 1, generator(0))
    found = [method.step(made, generator(0, "step"), step) for step in (0, 2, 4)]
    assert [m.metrics["coefficient"] for m in found] == pytest.approx([0.1, 0.2, 0.4])
    plain = float(found[0].metrics["distance"])
    assert [float(m.loss) - plain for m in found] == pytest.approx(
        [c * 10 * float(found[0].metrics["norm"]) for c in (0.1, 0.2, 0.4)], rel=1e-3
    )


def test_a_killed_run_goes_on_to_the_same_bits(digits: Dataset, tmp_path: Path) -> None:
    class Killed(Exception):  # noqa: N818
        pass

    def go(folder: str, resume: bool = False, kill_at: int | None = None) -> Tensor:
        def probe(made: SyntheticSet, done: int) -> dict[str, float]:
            if done == kill_at:
                raise Killed
            return {}

        method, start = matching(digits, updates=8), from_real(digits, 2, generator(0, "start"))
        return distil(
            Distillation(
                method=method, start=start, generator=generator(0, "d"), steps={"images": Step(1.0)},
                folder=tmp_path / folder, identity={}, resume=resume, quiet=True,
                measurements=[Measurement(probe, 1)], schedule=EVERY_STEP,
            )
        ).images  # fmt: skip

    whole = go("a")
    with pytest.raises(Killed):
        go("b", kill_at=5)
    assert torch.equal(go("b", resume=True), whole)



EVERY_STEP = Schedule(checkpoint_seconds=0.0)
SMALL = [
    *("--preset", "laptop", "--width", "4", "--depth", "2", "--eval-networks", "1", "--eval-epochs", "1"),
    *("--batch-real", "8", "--quiet", "--device", "cpu", "--train-images", "200"),
]


@pytest.mark.parametrize("correction", [[], ["--sdc", "0.1"], ["--asdc", "0.1", "0.4"], ["--sdc-pull", "0.3"]])
def test_the_command_runs_records_resumes_and_judges_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, correction: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--method", "dm", *SMALL, "--no-compare", "--iterations", "6", "--ipc", "2", *correction]
    assert run.main([*flags, "--out", "r"]) == 0
    record = read("r")
    assert len(record.series("norm")[0]) == len(record.series("distance")[0]) == 6
    assert record.roles is not None and record.roles.family == "other"
    assert {"batch_real", "learning_rate"}.isdisjoint(record.roles.unread)
    assert {"matching_steps", "distance", "hard_threshold"} <= set(record.roles.unread)
    if correction:
        assert len(record.series("pull")[0]) == 6
    if correction[:1] == ["--sdc-pull"]:
        assert record.series("pull")[1][0] == pytest.approx(0.3, rel=0.7)
    before = synthetic.load("r").images
    assert run.main(["--resume", "--out", "r"]) == 0 and torch.equal(synthetic.load("r").images, before)
    assert evaluate.main(["r", "--out", "again.json"]) == 0
    again = json.loads(Path("again.json").read_text(encoding="utf-8"))
    assert again["convnet"]["accuracies"] == (record.summary or {})["evaluation"]["accuracies"]


def test_a_sweep_lays_coefficients_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    axes = ["--methods", "dm", "--datasets", "digits", "--ipcs", "1", "2", "--lambdas", "0", "0.1"]
    assert sweep.main([*SMALL, *axes, "--iterations", "3", "--workers", "1", "--out", "s"]) == 0
    rows = Path("s/grid.csv").read_text(encoding="utf-8").splitlines()
    assert sum("dm" in row.split(",") for row in rows) == 4, rows


def test_presets_are_the_published_ones_and_a_small_one() -> None:
    data = load("digits")
    published = resolve(with_preset(Settings(method="dm", dataset="cifar10", ipc=10), None), data)
    assert (published.iterations, published.batch_real, published.momentum, published.width) == (20_000, 256, 0.5, 128)
    rates = [resolve(Settings(method="dm", dataset=d, ipc=n), data).learning_rate
             for d, n in (("cifar10", 50), ("cifar10", 100), ("cifar100", 100))]  # fmt: skip
    assert rates == [1.0, 10.0, 1.0]
    laptop = resolve(with_preset(Settings(method="dm"), None), data)
    assert laptop.preset == "laptop" and laptop.iterations < 1000
    assert laptop.augmentation == "color_crop_cutout_scale_rotate" and laptop.initialisation == "real"


def test_a_run_with_the_updates_of_gradient_matching_is_told() -> None:
    data = load("digits")
    settings = resolve(with_preset(Settings(method="dm"), "published"), data)
    assert notes([settings]) == []
    (told,) = notes([replace(settings, iterations=1000)])
    assert told.endswith("its own number is --iterations 20000") and notes([replace(settings, iterations=999)]) == []


def test_what_it_does_not_read_is_told_and_what_it_cannot_do_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--matching-steps", "--network-epochs", "--distance", "--bfloat16", "--syn-steps", "--compiled"):
        (told,) = unread([flag, "1"], [Settings(method="dm")])
        assert told.endswith(", not by dm")
    assert unread(["--batch-real", "8", "--memory-budget", "1", "--eval-along", "2"], [Settings(method="dm")]) == []
    assert run.main(["--method", "dm", *SMALL, "--hard-threshold", "1", "--out", "/nowhere"]) == 2
    assert "--hard-threshold needs gradients of real images, which dm does not take" in capsys.readouterr().err


def test_dry_run_and_help_know_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--method", "dm", "--ipc", "10", "--sdc", "0.1", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert all(part in said for part in ("batch_real", "real features", "synthetic features", "gradient norms"))
    assert "matching_steps" not in said
    with pytest.raises(SystemExit):
        run.main(["--help"])
    assert "dm (distribution matching" in capsys.readouterr().out
