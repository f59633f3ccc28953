"""The synthetic set: initialisation, its file and recipe, loaders, exports, pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader

import empirical
from empirical import synthetic
from empirical.data.datasets import Dataset, load
from empirical.data.whitening import Whitening
from empirical.synthetic.export import export
from empirical.synthetic.synthetic_set import FORMAT, BadSyntheticSet, SyntheticSet


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def real(digits: Dataset, ipc: int = 2) -> SyntheticSet:
    made = synthetic.initialise("real", digits, ipc, generator())
    return replace(made, recipe={"class_names": list(digits.class_names)})


def test_real_start_is_training_images_of_each_class(digits: Dataset) -> None:
    made = real(digits, 3)
    assert made.labels.tolist() == [label for label in range(10) for _ in range(3)]
    pixels = digits.denormalise(made.images).mul(255).round().to(torch.uint8)
    for image, label in zip(pixels, made.labels, strict=True):
        own = digits.train.images[digits.train.by_class[int(label)]]
        assert (own == image).flatten(1).all(1).any()


def test_noise_start_is_standard_normal_and_seeded(digits: Dataset) -> None:
    made = synthetic.initialise("noise", digits, 20, generator(1))
    assert made.images.shape == (200, 1, 16, 16)
    assert abs(float(made.images.mean())) < 5 / made.images.numel() ** 0.5
    assert torch.equal(made.images, synthetic.initialise("noise", digits, 20, generator(1)).images)


@pytest.mark.parametrize("ipc", [10**8, 10**12, 10**30])
def test_noise_that_no_memory_holds_is_refused_before_it_is_drawn(digits: Dataset, ipc: int) -> None:
    with pytest.raises(ValueError, match=r"images a class: .* GB are free: take fewer images a class \(--ipc\)"):
        synthetic.initialise("noise", digits, ipc, generator())


def test_bad_starts_are_refused(digits: Dataset) -> None:
    with pytest.raises(ValueError, match="training images"):
        real(digits, 5000)
    with pytest.raises(ValueError, match="at least 1"):
        synthetic.initialise("noise", digits, 0, generator())
    with pytest.raises(ValueError, match="noise, real"):
        synthetic.initialise("zeros", digits, 1, generator())


@pytest.mark.parametrize("kind", ["hard", "logits", "probabilities"])
def test_file_brings_everything_back(tmp_path: Path, digits: Dataset, kind: str) -> None:
    made = real(digits)
    if kind != "hard":
        labels = torch.randn(20, 10, generator=generator())
        labels = labels.softmax(1) if kind == "probabilities" else labels
        made = replace(made, labels=labels, label_kind=kind, learning_rate=torch.tensor(0.02))  # type: ignore[arg-type]
    path = synthetic.save(tmp_path, made, {"network": {"name": "convnet"}}, digits.preprocessing)
    assert path == tmp_path / "synthetic.safetensors"
    for found in (empirical.load(tmp_path), synthetic.load(path)):
        assert torch.equal(found.images, made.images) and torch.equal(found.labels, made.labels)
        assert (found.label_kind, found.classes, found.shape) == (kind, 10, (1, 16, 16))
        assert found.recipe["network"] == {"name": "convnet"}
        assert found.recipe["preprocessing"] == digits.preprocessing.describe()
        assert (found.learning_rate is None) == (kind == "hard")


def test_equal_sets_make_equal_files_whose_header_is_in_order(tmp_path: Path, digits: Dataset) -> None:
    made = replace(real(digits), learning_rate=torch.tensor(0.02))
    written = [synthetic.save(tmp_path / name, made, {"z": 1, "a": 2}).read_bytes() for name in ("one", "two")]
    assert written[0] == written[1]
    length = int.from_bytes(written[0][:8], "little")
    header = json.loads(written[0][8 : 8 + length])
    assert length % 8 == 0 and list(header) == sorted(header)
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])


def test_loads_into_a_data_loader_in_one_line(tmp_path: Path, digits: Dataset) -> None:
    synthetic.save(tmp_path, real(digits), preprocessing=digits.preprocessing)
    batches = list(DataLoader(empirical.load(tmp_path), batch_size=8))
    assert torch.equal(torch.cat([x for x, _ in batches]), real(digits).images)
    assert torch.cat([y for _, y in batches]).tolist() == real(digits).labels.tolist()


def test_soft_targets_are_probabilities() -> None:
    labels = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    soft = SyntheticSet(torch.zeros(2, 1, 4, 4), labels, 2, "logits")
    assert torch.equal(soft.targets, labels.softmax(1)) and torch.equal(soft[0][1], labels[0].softmax(0))
    assert soft.hard_labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="logits labels of 3 classes"):
        SyntheticSet(torch.zeros(2, 1, 4, 4), labels, 3, "logits")


def test_foreign_damaged_and_absent_files_are_refused(tmp_path: Path, digits: Dataset) -> None:
    with pytest.raises(FileNotFoundError, match="no synthetic set"):
        synthetic.load(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"images": torch.zeros(1)}, foreign)
    with pytest.raises(BadSyntheticSet, match="not a synthetic set"):
        synthetic.load(foreign)
    path = synthetic.save(tmp_path, real(digits))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadSyntheticSet, match="not a readable"):
        synthetic.load(path)


def test_whitened_set_keeps_its_pixels(tmp_path: Path, digits: Dataset) -> None:
    whitened = digits.with_preprocessing(Whitening.fit(digits.train.images))
    made = synthetic.from_real(whitened, 1, generator())
    found = synthetic.load(synthetic.save(tmp_path, made, preprocessing=whitened.preprocessing))
    plain = digits.denormalise(synthetic.from_real(digits, 1, generator()).images) * 255
    assert int((found.to_pixels().int() - plain.round().int()).abs().max()) <= 1
    with pytest.raises(ValueError, match="does not say"):
        made.to_pixels()


def test_npz_export_is_a_local_data_set(tmp_path: Path, digits: Dataset) -> None:
    synthetic.save(tmp_path, real(digits), preprocessing=digits.preprocessing)
    stored = empirical.load(tmp_path)
    for split in ("train", "test"):
        export(stored, tmp_path / f"mine_{split}.npz")
    again = load(str(tmp_path / "mine"))
    assert torch.equal(again.train.images, stored.to_pixels()) and again.class_names == digits.class_names
    with np.load(tmp_path / "mine_train.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["inputs"], stored.images.numpy())


def test_pt_png_and_picture_exports(tmp_path: Path, digits: Dataset) -> None:
    synthetic.save(tmp_path, real(digits), preprocessing=digits.preprocessing)
    stored = empirical.load(tmp_path)
    content = torch.load(export(stored, tmp_path / "set.pt"), weights_only=True)
    assert torch.equal(content["images"], stored.images) and torch.equal(content["labels"], stored.labels)
    folder = export(stored, tmp_path / "pictures")
    files = sorted(folder.rglob("*.png"))
    assert len(files) == 20 and files[0].parent.name == "0_0"
    assert np.array_equal(np.asarray(Image.open(files[3])), stored.to_pixels()[3, 0].numpy())
    with Image.open(export(stored, tmp_path / "synthetic.png")) as picture:
        assert picture.mode == "RGB" and picture.width > 10 * 64 and picture.height > 2 * 64
        cell = np.asarray(picture)[14 : 14 + 64, 4 : 4 + 64, 0]
    assert np.array_equal(cell[::4, ::4], stored.to_pixels()[0, 0].numpy())
    with pytest.raises(ValueError, match="valid: "):
        export(stored, tmp_path / "set.mat")


ODD: dict[str, tuple[dict[str, torch.Tensor], dict[str, str], str]] = {
    "from one": ({"labels": torch.arange(1, 11)}, {}, "largest 10, smallest 1; 10 classes allow 0..9"),
    "of 1e12": ({"labels": torch.full((10,), 10**12)}, {}, "1 different, largest 1000000000000"),
    "negative": ({"labels": torch.arange(10) - 1}, {}, "smallest -1"),
    "floats": ({"labels": torch.arange(10.0)}, {}, "hard labels are torch.float32"),
    "truths": ({"labels": torch.ones(10, dtype=torch.bool)}, {}, "hard labels are torch.bool"),
    "too few": ({"labels": torch.arange(9)}, {}, "labels as many"),
    "logits that are nan": ({"labels": torch.full((10, 10), torch.nan)}, {"label_kind": "logits"}, "finite numbers"),
    "whole logits": ({"labels": torch.ones(10, 10, dtype=torch.int64)}, {"label_kind": "logits"}, "finite numbers"),
    "1e12 classes": ({}, {"classes": "1000000000000"}, "1 to 1000000 are possible"),
    "no class": ({}, {"classes": "0"}, "1 to 1000000"),
    "classes in words": ({}, {"classes": "ten"}, "ten"),
    "another kind": ({}, {"label_kind": "soft"}, "unknown kind of labels 'soft'"),
    "a recipe that is cut": ({}, {"recipe": '{"a": '}, "Expecting value"),
    "a recipe that is a list": ({}, {"recipe": "[1]"}, "no table of values"),
    "flat images": ({"images": torch.zeros(10, 4)}, {}, "images must be"),
}


@pytest.mark.parametrize("case", ODD)
def test_a_file_whose_labels_are_no_classes_is_one_sentence(tmp_path: Path, case: str) -> None:
    tensors, header, message = ODD[case]
    content = {"images": torch.zeros(10, 1, 4, 4), "labels": torch.arange(10), **tensors}
    known = {"format": FORMAT, "schema": "1", "classes": "10", "label_kind": "hard", "recipe": "{}"}
    save_file(content, tmp_path / "set.safetensors", {**known, **header})
    with pytest.raises(BadSyntheticSet) as caught:
        synthetic.load(tmp_path / "set.safetensors")
    assert message in str(caught.value) and "make the set again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("absent", ["images", "labels", "classes", "label_kind", "recipe"])
def test_what_a_file_lacks_is_named(tmp_path: Path, absent: str) -> None:
    tensors = {"images": torch.zeros(10, 1, 4, 4), "labels": torch.arange(10)}
    known = {"format": FORMAT, "schema": "1", "classes": "10", "label_kind": "hard", "recipe": "{}"}
    tensors.pop(absent, None)
    known.pop(absent, None)
    save_file(tensors, tmp_path / "set.safetensors", known)
    with pytest.raises(BadSyntheticSet, match=f"it has no '{absent}'"):
        synthetic.load(tmp_path / "set.safetensors")


def test_damaged_files_are_one_sentence_or_a_set(tmp_path: Path, digits: Dataset) -> None:
    path = synthetic.save(tmp_path, real(digits, 1), preprocessing=digits.preprocessing)
    whole, chance = path.read_bytes(), np.random.default_rng(0)
    length = 8 + int.from_bytes(whole[:8], "little")
    flips = [
        whole[:place] + bytes([whole[place] ^ (1 << int(chance.integers(8)))]) + whole[place + 1 :]
        for place in (*range(12), *chance.integers(0, length, 60).tolist())
    ]
    cuts = [whole[: int(share * len(whole))] for share in (0, 0.001, 0.1, 0.5, 0.99)]
    for content in [*flips, *cuts, b"\0" * 100, b"PK\x03\x04", chance.bytes(5000)]:
        path.write_bytes(content)
        try:
            found = synthetic.load(path)
        except BadSyntheticSet as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert found.images.shape == (10, 1, 16, 16)


@pytest.mark.parametrize("name", ["set.npz", "set.pt", "set.png", "pictures"])
def test_a_tilde_is_the_home_folder_for_sets_and_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset, name: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    synthetic.save("~/run", real(digits, 1), preprocessing=digits.preprocessing)
    export(empirical.load("~/run"), f"~/out/{name}")
    assert (tmp_path / "home" / "out" / name).exists() and not list((tmp_path / "here").iterdir())
