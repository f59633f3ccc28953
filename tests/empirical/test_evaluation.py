"""The published protocol, its spreads, coresets, and re-evaluation from the file alone."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from empirical import coresets, evaluate, networks, synthetic
from empirical.coresets import Forgetting, ForgettingCounter, Herding, by_score, herd
from empirical.data.augmentation import WITH_FLIP, WITHOUT_FLIP
from empirical.data.datasets import Dataset, Split, load
from empirical.evaluation.protocol import (
    CONDENSATION,
    NetworkChoice,
    Protocol,
    evaluate_whole,
    fresh_networks,
    named_augmentation,
    published_protocol,
    spread,
    stored_recipe,
)
from empirical.evaluation.protocol import evaluate as judge
from empirical.runtime.seeds import derived_seed, generator
from empirical.training.prediction import accuracy, logits

SMALL = NetworkChoice("convnet", {"width": 4, "depth": 2})
QUICK = Protocol(6, "color_crop_cutout_scale_rotate", learning_rate=0.02)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load("digits", validation=0.2)
    few = torch.cat([members[:30] for members in data.train.by_class])
    return replace(data, train=data.train.subset(few))


def test_published_protocols() -> None:
    assert published_protocol("svhn") == Protocol(300, "none")
    assert published_protocol("mnist") == Protocol(1000, CONDENSATION)
    assert published_protocol("mnist", WITHOUT_FLIP) == Protocol(1000, "color_crop_cutout_scale_rotate")
    assert "flip" in published_protocol("cifar10", WITH_FLIP).augmentation
    assert named_augmentation("none") is None
    for name in (CONDENSATION, "color_crop_flip"):
        assert named_augmentation(name).name == name  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="color"):
        Protocol(augmentation="colour")


def test_accuracy_of_a_network_by_hand(digits: Dataset) -> None:
    (network,) = fresh_networks(SMALL, digits, 1, 0)
    said = network(digits.normalise(digits.test.images)).argmax(1)
    expected = float((said == digits.test.labels).double().mean())
    assert accuracy(network, digits.test.images, digits.test.labels, digits.normalise) == expected
    network.train()
    found = logits(network, digits.test.images, digits.normalise)
    torch.testing.assert_close(found, network(digits.normalise(digits.test.images)).detach())


def test_evaluation_is_reproducible_and_network_i_does_not_depend_on_the_others(digits: Dataset) -> None:
    made = synthetic.from_real(digits, 1, generator(0, "start"))
    three = judge(made, digits, QUICK, SMALL, 3, seed=5)
    assert three == judge(made, digits, QUICK, SMALL, 3, seed=5)
    assert judge(made, digits, QUICK, SMALL, 2, seed=5).accuracies == three.accuracies[:2]
    assert judge(made, digits, QUICK, SMALL, 3, seed=6).accuracies != three.accuracies
    assert three.mean == pytest.approx(np.mean(three.accuracies))
    assert three.std == pytest.approx(np.std(three.accuracies))


def test_validation_is_measured_on_request_only(digits: Dataset) -> None:
    made = synthetic.from_real(digits, 1, generator(0))
    test, held = (judge(made, digits, QUICK, SMALL, 2, split=s) for s in ("test", "validation"))  # type: ignore[arg-type]
    assert digits.validation is not None and test != held
    assert all((a * len(digits.validation)) % 1 == pytest.approx(0, abs=1e-6) for a in held.accuracies)
    with pytest.raises(ValueError, match="without a validation split"):
        judge(made, replace(digits, validation=None), QUICK, SMALL, 1, split="validation")


def test_learned_rate_is_used(digits: Dataset) -> None:
    made = synthetic.from_real(digits, 1, generator(0))
    learned = replace(made, learning_rate=torch.tensor(0.05))
    by_rate = judge(learned, digits, QUICK, SMALL, 2)
    assert by_rate == judge(made, digits, replace(QUICK, learning_rate=float(torch.tensor(0.05))), SMALL, 2)


def test_set_of_another_shape_is_refused(digits: Dataset) -> None:
    other = synthetic.from_noise((3, 16, 16), 10, 1, generator(0))
    with pytest.raises(ValueError, match="digits has"):
        judge(other, digits, QUICK, SMALL, 1)


def test_diverged_set_is_refused_with_the_reason(digits: Dataset) -> None:
    made = synthetic.from_real(digits, 1, generator(0))
    with pytest.raises(ValueError, match="not finite"):
        judge(replace(made, images=made.images / 0), digits, QUICK, SMALL, 1)
    with pytest.raises(ValueError, match="must be positive"):
        judge(replace(made, learning_rate=torch.tensor(-0.01)), digits, QUICK, SMALL, 1)


def test_whole_data_beats_one_image_a_class(digits: Dataset) -> None:
    whole = evaluate_whole(digits, NetworkChoice("convnet", {"width": 8}), 2, epochs=15)
    single = judge(synthetic.from_real(digits, 1, generator(0)), digits, QUICK, SMALL, 2)
    assert whole.mean > single.mean + 0.2


def test_two_levels_of_spread_are_kept_apart() -> None:
    found = spread([[0.5, 0.7], [0.6, 0.8], [0.4, 0.6]])
    assert (found.networks, found.distillations) == (2, 3) and found.mean == pytest.approx(0.6)
    assert found.std_networks == pytest.approx(0.02**0.5)
    assert found.std_distillations == pytest.approx(0.1)
    assert found.std_pooled == pytest.approx(np.std([0.5, 0.7, 0.6, 0.8, 0.4, 0.6]))
    assert np.isnan(spread([[0.5, 0.7]]).std_distillations) and np.isnan(spread([[0.5], [0.6]]).std_networks)
    with pytest.raises(ValueError, match="as many accuracies"):
        spread([[0.5], [0.5, 0.6]])


def test_seeds_by_purpose_differ_and_repeat() -> None:
    purposes = [("network", 0), ("network", 1), ("training", 0), ("network0",), ("network", "0")]
    assert len({derived_seed(0, *purpose) for purpose in purposes} | {derived_seed(1, "network", 0)}) == 6
    assert torch.equal(torch.rand(3, generator=generator(4, "a")), torch.rand(3, generator=generator(4, "a")))


# --- coresets -----------------------------------------------------------------------------------------------


def brute_force_herding(features: Tensor, count: int) -> list[int]:
    """Tries every unchosen sample at each step, from the definition."""
    mean, chosen = features.mean(0), list[int]()
    for step in range(count):
        target = (step + 1) * mean
        distance = {
            i: float((target - features[chosen].sum(0) - features[i]).norm())
            for i in range(len(features))
            if i not in chosen
        }
        chosen.append(min(distance, key=distance.__getitem__))
    return chosen


def test_herding_equals_brute_force_on_30_points() -> None:
    for seed in range(5):
        features = torch.randn(30, 4, generator=generator(seed), dtype=torch.float64)
        assert herd(features, 12).tolist() == brute_force_herding(features, 12)
    assert sorted(herd(features, 99).tolist()) == list(range(30))


def test_forgetting_counter_on_a_scripted_sequence() -> None:
    counter = ForgettingCounter(torch.tensor([0, 1, 2, 0]))
    right = {0: "1101", 1: "0101", 2: "0000", 3: "1010"}  # visit by visit
    for visit, order in enumerate(itertools.islice(itertools.cycle([[0, 1, 2, 3], [3, 1, 0, 2]]), 4)):
        indices = torch.tensor(order)
        labels = torch.tensor([0, 1, 2, 0])[indices]
        wrong = torch.tensor([right[i][visit] == "0" for i in order])
        counter.visit(indices, labels + wrong.long())
    assert counter.scores.tolist() == [1.0, 1.0, float("inf"), 2.0]


def test_selection_by_score_takes_the_extremes_and_breaks_ties_by_seed() -> None:
    labels = torch.tensor([0] * 6 + [1] * 4)
    split = Split(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), labels, 2)
    scores = torch.tensor([0.0, 3, 1, torch.inf, 2, 0, 5, 5, 5, 5])
    high = by_score(split, scores, 2, generator(0))
    low = by_score(split, scores, 2, generator(0), "lowest")
    assert high[0].tolist() == [3, 1] and sorted(low[0].tolist()) == [0, 5]
    ties = {tuple(by_score(split, scores, 2, generator(seed))[1].tolist()) for seed in range(20)}
    assert len(ties) > 5
    with pytest.raises(ValueError, match="highest or lowest"):
        by_score(split, scores, 1, generator(0), "middle")  # type: ignore[arg-type]


CORESETS = {"random": coresets.Random, "herding": coresets.Herding, "forgetting": coresets.Forgetting}


@pytest.mark.parametrize("name", CORESETS)
def test_coresets_are_real_images_of_their_class(digits: Dataset, name: str) -> None:
    options = {} if name == "random" else {"variant": {"width": 4, "depth": 2}, "epochs": 2}
    method = CORESETS[name](**options)
    made = method(digits, 2, generator(1))
    assert made.labels.tolist() == [label for label in range(10) for _ in range(2)]
    stored = digits.normalise(digits.train.images)
    for image, label in zip(made.images, made.labels, strict=True):
        same = (stored == image).flatten(1).all(1)
        assert same.any() and (digits.train.labels[same] == label).all()
    assert torch.equal(made.images, method(digits, 2, generator(1)).images)
    assert not torch.equal(made.images, method(digits, 2, generator(2)).images)
    with pytest.raises(ValueError, match="has 30 training images"):
        method(digits, 31, generator(1))


def test_options_of_coresets_matter(digits: Dataset) -> None:
    variant = {"width": 4, "depth": 2}

    def images(method: coresets.Coreset) -> Tensor:
        return method(digits, 3, generator(0)).images

    most = images(Forgetting(variant=variant, epochs=3))
    assert not torch.equal(most, images(Forgetting(variant=variant, epochs=3, keep="lowest")))
    raw = images(Herding(variant=variant, epochs=2))
    assert not torch.equal(raw, images(Herding(variant=variant, epochs=2, normalise_features=True)))


# --- python -m empirical.evaluate ---------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, list[float]]:
    data = load("digits")
    made = synthetic.from_real(data, 1, generator(0))
    result = judge(made, data, QUICK, SMALL, 2, seed=3)
    recipe = stored_recipe(data, QUICK, SMALL, 2, 3)
    synthetic.save(tmp_path / "run", made, recipe, data.preprocessing)
    return tmp_path / "run", list(result.accuracies)


def test_artefact_alone_gives_the_same_number(stored: tuple[Path, list[float]], tmp_path: Path) -> None:
    run, accuracies = stored
    out = tmp_path / "results.json"
    assert evaluate.main([str(run), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["convnet"]["accuracies"] == accuracies


def test_cross_architecture_table(
    stored: tuple[Path, list[float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, accuracies = stored
    out = tmp_path / "results.json"
    options = ["--networks", "convnet", "mlp", "lenet", "--count", "2", "--out", str(out)]
    assert evaluate.main([str(run), *options]) == 0
    found = json.loads(out.read_text())
    assert list(found) == ["convnet", "mlp", "lenet"] and found["convnet"]["accuracies"] == accuracies
    assert "std over networks" in capsys.readouterr().out
    assert len(evaluate.plan(synthetic.load(run), evaluate.Options(run, ("all",))).choices) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--networks", "convnext"], "nearest is 'convnet'"),
        (["--split", "validation"], "without a validation split"),
        (["--device", "cuda:99"], "this machine has"),
        (["--device", "tpu"], "unknown device"),
        (["--augmentation", "colour"], "nearest is 'color'"),
        (["--count", "0"], "--count is at least 1"),
    ],
)
def test_bad_options_give_one_sentence_and_status_2(
    stored: tuple[Path, list[float]], capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert evaluate.main([str(stored[0]), *options]) == 2
    text = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in text and text.startswith("error: ")


def test_other_data_are_refused(stored: tuple[Path, list[float]], capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = stored
    held = synthetic.load(run)
    held.recipe["data"]["fingerprint"] = "0" * 64
    synthetic.save(run, held)
    assert evaluate.main([str(run)]) == 2
    assert "not the data of the run" in capsys.readouterr().err
    held.recipe["data"]["name"] = "svhn"
    synthetic.save(run, held)
    assert evaluate.main([str(run), "--data-root", str(run)]) == 3
    del held.recipe["evaluation"]
    synthetic.save(run, held)
    assert evaluate.main([str(run)]) == 2
    assert evaluate.main([str(run / "absent")]) == 2


def test_asking_a_network_leaves_it_in_its_mode() -> None:
    network = networks.build("convnet", (1, 8, 8), 10, width=4, depth=1, norm="batch").train()
    network.blocks[0].norm.eval()
    before = [module.training for module in network.modules()]
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    said = logits(network, images)
    assert [module.training for module in network.modules()] == before
    assert torch.equal(said, logits(network.eval(), images))
