"""Folders of pictures, one a class: layouts, formats, what is exported, what is damaged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import empirical
from empirical import evaluate, run, synthetic
from empirical.data.datasets import CorruptData, MissingData, load
from empirical.data.pictures import decode, heads
from empirical.synthetic.export import export
from empirical.synthetic.synthetic_set import SyntheticSet

LAYOUTS: dict[str, tuple[str, str]] = {
    "test": ("mine/train", "mine/test"),
    "val": ("mine/train", "mine/val"),
    "valid": ("mine/train", "mine/valid"),
    "validation": ("mine/train", "mine/validation"),
    "beside": ("mine_train", "mine_test"),
}


def picture(path: Path, value: int, mode: str = "L", side: int | tuple[int, int] = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (side, side) if isinstance(side, int) else side
    generator = np.random.default_rng(value)
    grey = Image.fromarray(generator.integers(0, 256, (size[1], size[0]), dtype=np.uint8))
    grey.convert(mode).save(path)
    return path


THREE = ("cat", "dog", "eel")


def tree(folder: Path, each: int = 2, classes: tuple[str, ...] = THREE, start: int = 0, **how: Any) -> None:
    for k, name in enumerate(classes):
        for i in range(each):
            picture(folder / name / f"{i}.png", start + 10 * k + i, **how)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("text", ["mine", "./mine", "mine/"])
def test_common_layouts_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, start in zip(LAYOUTS[layout], (0, 100), strict=True):
        tree(tmp_path / folder, start=start)
    data = load(text)
    assert data.class_names == ("cat", "dog", "eel") and data.shape == (1, 12, 12)
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    expected = np.asarray(Image.open(tmp_path / LAYOUTS[layout][0] / "dog" / "1.png"))
    assert np.array_equal(data.train.images[3, 0].numpy(), expected)
    assert not torch.equal(data.train.images, data.test.images)
    assert load("mine", data_root=tmp_path).fingerprint == data.fingerprint


@pytest.mark.filterwarnings("ignore:.*one in five")
def test_classes_without_halves_are_parted_once_and_for_all(tmp_path: Path) -> None:
    tree(tmp_path / "mine", each=10)
    with pytest.warns(UserWarning, match="one in five of each class is taken out as test"):
        data = load(str(tmp_path / "mine"))
    assert (data.train.class_sizes, data.test.class_sizes) == ((8, 8, 8), (2, 2, 2))
    assert "one picture in five of each class is test" in data.source
    assert load(str(tmp_path / "mine"), seed=5).fingerprint == data.fingerprint


def test_one_picture_a_class_leaves_nothing_for_test_and_the_sentence_says_what_helps(tmp_path: Path) -> None:
    tree(tmp_path / "mine", each=1)
    with pytest.raises(CorruptData, match=r"class cat has one picture.* into \S+mine/train .* into \S+mine/test"):
        load(str(tmp_path / "mine"))


def test_numbers_are_in_numerical_order_and_words_in_alphabetical(tmp_path: Path) -> None:
    for split in ("train", "test"):
        tree(tmp_path / "numbers" / split, classes=tuple(map(str, range(12))))
        tree(tmp_path / "words" / split, classes=("b", "a10", "a9"))
    assert load(str(tmp_path / "numbers")).class_names == tuple(map(str, range(12)))
    assert load(str(tmp_path / "words")).class_names == ("a10", "a9", "b")


@pytest.mark.parametrize(
    ("modes", "channels"),
    [
        (("L", "L"), 1),
        (("1", "L"), 1),
        (("LA", "L"), 1),
        (("RGB", "RGB"), 3),
        (("RGBA", "P"), 3),
        (("L", "RGB"), 3),
        (("RGB", "L"), 3),
    ],
)
def test_grey_stays_grey_unless_one_picture_has_colour(
    tmp_path: Path, modes: tuple[str, str], channels: int
) -> None:
    for split, mode in zip(("train", "test"), modes, strict=True):
        tree(tmp_path / "mine" / split, mode=mode)
    data = load(str(tmp_path / "mine"))
    assert data.shape == (channels, 12, 12)
    first = tmp_path / "mine" / "train" / "cat" / "0.png"
    with Image.open(first) as opened:
        expected = np.asarray(opened.convert("L" if channels == 1 else "RGB"))
    assert np.array_equal(data.train.images[0].permute(1, 2, 0).squeeze(-1).numpy(), expected)


@pytest.mark.parametrize("ending", ["png", "PNG", "jpg", "jpeg", "JPEG", "bmp", "ppm", "tiff", "webp"])
def test_formats(tmp_path: Path, ending: str) -> None:
    for split in ("train", "test"):
        for k, name in enumerate("ab"):
            for i in range(2):
                picture(tmp_path / "mine" / split / name / f"{i}.{ending}", 10 * k + i, "RGB")
    assert load(str(tmp_path / "mine")).shape == (3, 12, 12)


def test_pictures_may_be_wide_lie_deeper_and_have_company(tmp_path: Path) -> None:
    for split in ("train", "test"):
        tree(tmp_path / "mine" / split, side=(20, 8))
        picture(tmp_path / "mine" / split / "cat" / "images" / "x.png", 7, side=(20, 8))
        for other in ("cat/notes.txt", "cat/Thumbs.db", "cat/._0.png", ".cache/0.png", "__MACOSX/._0.png"):
            (tmp_path / "mine" / split / other).parent.mkdir(exist_ok=True)
            (tmp_path / "mine" / split / other).write_bytes(b"no picture")
    data = load(str(tmp_path / "mine"))
    assert data.shape == (1, 8, 20) and data.train.class_sizes == (3, 2, 2)


@pytest.mark.parametrize("content", [None, "notes.txt", "film.gif", ".hidden.png", "a/b/c/deep.png"])
def test_a_class_without_pictures_is_not_missed_without_a_word(tmp_path: Path, content: str | None) -> None:
    for split in ("train", "test"):
        tree(tmp_path / "mine" / split)
    bare = tmp_path / "mine" / "train" / "fox"
    bare.mkdir()
    if content is not None:
        (bare / content).parent.mkdir(parents=True, exist_ok=True)
        (bare / content).write_bytes(b"x")
    with pytest.raises(CorruptData, match=r"train/fox: no pictures in this class's folder \(\.png"):
        load(str(tmp_path / "mine"))


def test_mixed_sizes_are_one_sentence_with_a_picture_of_each(tmp_path: Path) -> None:
    for split in ("train", "test"):
        tree(tmp_path / "mine" / split)
    odd = picture(tmp_path / "mine" / "test" / "dog" / "1.png", 3, side=(9, 12))
    with pytest.raises(CorruptData, match=r"pictures of 2 sizes: .* is 12 x 9 pixels, most are 12 x 12") as caught:
        load(str(tmp_path / "mine"))
    assert str(odd) in str(caught.value) and caught.value.exit_status == 3


def test_a_class_that_only_test_has_is_refused_and_one_it_lacks_is_not(tmp_path: Path) -> None:
    tree(tmp_path / "mine" / "train")
    tree(tmp_path / "mine" / "test", classes=("cat", "dog"))
    assert load(str(tmp_path / "mine")).test.class_sizes == (2, 2, 0)
    tree(tmp_path / "mine" / "test", classes=("ape",))
    with pytest.raises(CorruptData, match="ape is no class of the training pictures, which are cat, dog, eel"):
        load(str(tmp_path / "mine"))


def test_half_a_folder_names_the_other_half(tmp_path: Path) -> None:
    tree(tmp_path / "mine" / "train")
    with pytest.raises(MissingData, match=r"mine/test.*PREFIX/train/CLASS"):
        load(str(tmp_path / "mine"))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(MissingData, match=r"missing .*nothing"):
        load(str(tmp_path / "nothing"))


def test_deep_colours_are_refused(tmp_path: Path) -> None:
    tree(tmp_path / "mine" / "train")
    tree(tmp_path / "mine" / "test")
    deep = Image.fromarray(np.full((12, 12), 3000, np.uint16))
    deep.save(tmp_path / "mine" / "train" / "cat" / "0.png")
    with pytest.raises(CorruptData, match=r"cat/0\.png: pixels of mode I;16; 8 bits"):
        load(str(tmp_path / "mine"))


def exported(classes: int, ipc: int, names: list[str], colour: bool) -> SyntheticSet:
    shape = (3 if colour else 1, 8, 8)
    made = synthetic.from_noise(shape, classes, ipc, torch.Generator().manual_seed(0))
    constants = {"kind": "normalisation", "mean": [0.5] * shape[0], "std": [0.2] * shape[0]}
    return replace(made, recipe={"class_names": names, "preprocessing": constants})


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("layout", ["test", "beside"])
def test_what_export_writes_is_read_back(tmp_path: Path, layout: str, colour: bool) -> None:
    names = [f"class-{chr(97 + 11 - k)}" for k in range(12)]  # not in alphabetical order
    made = exported(12, 3, names, colour)
    for folder in LAYOUTS[layout]:
        export(made, tmp_path / folder)
    data = load(str(tmp_path / "mine"))
    assert torch.equal(data.train.images, made.to_pixels()) and torch.equal(data.train.labels, made.labels)
    assert data.class_names == tuple(names)


@pytest.mark.filterwarnings("ignore:.*one in five")
def test_a_folder_that_export_wrote_is_a_data_set_alone(tmp_path: Path) -> None:
    made = exported(3, 10, ["a", "b", "c"], False)
    export(made, tmp_path / "mine")
    data = load(str(tmp_path / "mine"))
    assert len(data.train) + len(data.test) == 30 and data.class_names == ("a", "b", "c")
    both = {bytes(i.numpy().tobytes()) for i in torch.cat([data.train.images, data.test.images])}
    assert both == {bytes(i.numpy().tobytes()) for i in made.to_pixels()}


def test_a_run_on_pictures_is_judged_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        tree(tmp_path / "mine" / split, side=16)
    flags = ["--method", "random", "--preset", "laptop", "--no-compare", "--eval-networks", "1", "--eval-epochs", "1"]
    assert run.main(["--dataset", "mine", *flags, "--width", "4", "--quiet", "--device", "cpu", "--out", "one"]) == 0
    assert len(empirical.load("one")) == 3
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    assert evaluate.main(["../one", "--count", "1"]) == 0


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "tiff"])
def test_damaged_pictures_are_one_sentence(tmp_path: Path, ending: str) -> None:
    path = picture(tmp_path / f"x.{ending}", 1, "RGB", 24)
    whole, caught = path.read_bytes(), 0
    generator = np.random.default_rng(0)
    cuts = [whole[: int(share * len(whole))] for share in (0, 0.01, 0.1, 0.5, 0.9)]
    flips = [
        whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        for place in generator.integers(0, len(whole), 40).tolist()
    ]
    noise = [generator.integers(0, 256, len(whole), dtype=np.uint8).tobytes(), b"GIF89a" + b"\0" * 50, b"<svg/>"]
    for content in [*cuts, *flips, *noise]:
        path.write_bytes(content)
        try:
            heads([path])
            pixels = decode([path], (24, 24), grey=False)
        except CorruptData as error:
            caught += 1
            assert f"x.{ending}" in str(error) and "\n" not in str(error)
        else:  # pixels without a checksum may have changed
            assert pixels.shape == (1, 24, 24, 3)
    assert caught >= len(cuts) - 1 + len(noise)


def test_a_picture_that_declares_a_huge_size_is_refused_unread(tmp_path: Path) -> None:
    for split in ("train", "test"):
        tree(tmp_path / "mine" / split)
    path = tmp_path / "mine" / "train" / "cat" / "0.png"
    content = bytearray(path.read_bytes())
    content[16:24] = (10**9).to_bytes(4, "big") * 2
    path.write_bytes(content)
    with pytest.raises(CorruptData, match=r"cat/0\.png"):
        load(str(tmp_path / "mine"))
