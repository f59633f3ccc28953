"""Data sets by name, by file pair, in torchvision's layout; what is wrong with a file is noticed first."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from empirical.data import registry, tiny_imagenet
from empirical.data.datasets import (
    SPECS,
    CorruptData,
    DataError,
    MissingData,
    UnknownDataset,
    load,
)
from empirical.data.tiny_imagenet import TinyImageNetFolder
from empirical.data.torchvision_set import TorchvisionSet

SAMPLES = Path(__file__).parents[3] / "shared" / "data"


def write_pair(prefix: Path, shape: tuple[int, ...] = (6, 6), classes: int = 3, each: int = 4) -> None:
    generator = np.random.default_rng(0)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        images = generator.integers(0, 256, (classes * each, *shape), dtype=np.uint8)
        labels = np.tile(np.arange(classes, dtype=np.uint8), each)
        np.savez_compressed(prefix.with_name(f"{prefix.name}_{split}.npz"), images=images, labels=labels)


def rewrite(path: Path, **arrays: np.ndarray) -> None:
    with np.load(path, allow_pickle=False) as archive:
        content = {key: archive[key] for key in archive.files}
    np.savez_compressed(path, **{**content, **arrays})


def test_digits_is_the_default_and_its_split_is_fixed_and_stratified() -> None:
    data = load()
    assert (data.name, data.classes, data.shape, data.flip) == ("digits", 10, (1, 16, 16), False)
    assert (len(data.train), len(data.test)) == (1438, 359)
    train, test = np.array(data.train.class_sizes), np.array(data.test.class_sizes)
    assert np.array_equal(test, np.round((train + test) / 5))
    assert data.fingerprint == load("Digits", seed=5).fingerprint
    assert data.train.images.dtype == torch.uint8 and data.train.labels.dtype == torch.int64
    assert int(data.train.images.max()) == 255 and data.train.images.is_contiguous()


def test_training_pixels_are_normalised_and_come_back() -> None:
    data = load("digits")
    inputs = data.normalise(data.train.images, torch.float64)
    assert abs(float(inputs.mean())) < 1e-12 and abs(float(inputs.std(correction=0)) - 1) < 1e-12
    torch.testing.assert_close(data.denormalise(inputs) * 255, data.train.images.double(), atol=1e-9, rtol=0)


def test_class_index_and_draws() -> None:
    split = load("digits").train
    for label, members in enumerate(split.by_class):
        assert (split.labels[members] == label).all() and (members.diff() > 0).all()
    draws = split.draw(torch.Generator().manual_seed(1), 150)
    again = split.draw(torch.Generator().manual_seed(1), 150)
    for label, (indices, same) in enumerate(zip(draws, again, strict=True)):
        assert torch.equal(indices, same) and len(indices.unique()) == len(indices)
        assert len(indices) == min(150, split.class_sizes[label])  # a smaller class gives all it has
        assert (split.labels[indices] == label).all()


def test_validation_is_held_out_of_train_and_stratified() -> None:
    whole, parted = load("digits"), load("digits", validation=0.1, seed=3)
    assert parted.validation is not None and parted.fingerprint == whole.fingerprint
    assert len(parted.train) + len(parted.validation) == len(whole.train)
    assert min(parted.validation.class_sizes) >= 14
    rows = {bytes(image.numpy().tobytes()) for image in parted.train.images}
    assert not any(bytes(image.numpy().tobytes()) in rows for image in parted.validation.images[:50])
    other = load("digits", validation=0.1, seed=4).validation
    assert other is not None and not torch.equal(other.images, parted.validation.images)
    with pytest.raises(ValueError, match="share of the training split"):
        load("digits", validation=1)


def test_some_training_images_are_the_same_for_every_seed_and_another_data_set() -> None:
    whole, some = load("digits"), load("digits", train_images=200)
    assert len(some.train.class_sizes) == 10 and all(abs(size - 20) <= 1 for size in some.train.class_sizes)
    assert some.fingerprint != whole.fingerprint and some.describe()["train_images"] == 200
    assert torch.equal(some.test.images, whole.test.images)
    place = {bytes(image.numpy().tobytes()): i for i, image in enumerate(whole.train.images)}
    found = [place[bytes(image.numpy().tobytes())] for image in some.train.images]
    assert found == sorted(set(found))
    parted = load("digits", train_images=200, validation=0.1, seed=3)
    assert parted.validation is not None and parted.fingerprint == some.fingerprint
    both = torch.cat([parted.train.images, parted.validation.images])
    assert {bytes(i.numpy().tobytes()) for i in both} == {bytes(i.numpy().tobytes()) for i in some.train.images}
    assert load("digits", train_images=len(whole.train)).fingerprint == whole.fingerprint
    for count in (9, len(whole.train) + 1):
        with pytest.raises(ValueError, match=f"between 10 .* and {len(whole.train)} .* not {count}"):
            load("digits", train_images=count)


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 1), (6, 6, 3), (5, 8, 3)])
def test_local_pair_by_path_and_by_root(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write_pair(tmp_path / "deep" / "mine", shape)
    by_path = load(str(tmp_path / "deep" / "mine"))
    by_root = load("mine", data_root=tmp_path / "deep")
    by_file = load(str(tmp_path / "deep" / "mine_train.npz"))
    assert by_path.shape == (shape[2] if len(shape) == 3 else 1, *shape[:2])
    assert by_path.fingerprint == by_root.fingerprint == by_file.fingerprint
    assert by_path.class_names == ("0", "1", "2") and not by_path.flip
    first = np.load(tmp_path / "deep" / "mine_train.npz")["images"][0]
    assert np.array_equal(by_path.train.images[0].permute(1, 2, 0).numpy().reshape(first.shape), first)


@pytest.mark.parametrize("name", ["fashion-mnist", "FashionMNIST", "fashion_mnist"])
def test_named_pair_takes_published_constants(tmp_path: Path, name: str) -> None:
    write_pair(tmp_path / "fashion_mnist", (28, 28), classes=10)
    data = load(name, data_root=tmp_path)
    assert data.preprocessing.describe()["mean"] == [0.2861] and data.flip
    assert data.class_names[9] == "Ankle boot"
    assert load(str(tmp_path / "fashion_mnist")).preprocessing.describe() == data.preprocessing.describe()


def test_digits_of_all_kinds_are_never_flipped() -> None:
    assert {name for name, spec in SPECS.items() if not spec.flip} == {"digits", "mnist", "svhn"}


WRONG = {
    "float images": ("images", lambda a: a.astype(np.float32), "uint8"),
    "channel first": ("images", lambda a: np.zeros((12, 3, 6, 6), np.uint8), "channels come last"),
    "count": ("labels", lambda a: a[:-1], "12 images but labels"),
    "float labels": ("labels", lambda a: a.astype(float), "integers"),
    "negative": ("labels", lambda a: a.astype(np.int64) - 1, "start at -1"),
    "absent class": ("labels", lambda a: np.where(a == 1, 0, a), "no training image of class 1"),
    "other size": ("images", lambda a: np.zeros((12, 8, 8), np.uint8), "train images are"),
    "empty": ("images", lambda a: a[:0], "labels of shape"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_are_noticed(tmp_path: Path, case: str) -> None:
    write_pair(tmp_path / "mine")
    key, change, message = WRONG[case]
    path = tmp_path / "mine_train.npz"
    rewrite(path, **{key: change(np.load(path)[key])})
    with pytest.raises(CorruptData, match=message) as caught:
        load(str(tmp_path / "mine"))
    assert caught.value.exit_status == 3


def test_what_is_no_archive_of_numbers_is_told_so_without_advice_to_unpickle(tmp_path: Path) -> None:
    write_pair(tmp_path / "mine")
    path = tmp_path / "mine_train.npz"
    rewrite(path, images=np.array([None] * 12, dtype=object))
    with pytest.raises(CorruptData, match="Python objects") as objects:
        load(str(tmp_path / "mine"))
    path.write_text("not an archive")
    with pytest.raises(CorruptData, match=r"not a \.npz archive") as text:
        load(str(tmp_path / "mine"))
    assert not any("pickle" in str(caught.value) for caught in (objects, text))


def test_test_label_out_of_range_is_noticed(tmp_path: Path) -> None:
    write_pair(tmp_path / "mine")
    rewrite(tmp_path / "mine_test.npz", labels=np.full(12, 7))
    with pytest.raises(CorruptData, match=r"a test label is 7; 3 classes allow 0\.\.2"):
        load(str(tmp_path / "mine"))


def test_named_set_of_wrong_size_is_noticed(tmp_path: Path) -> None:
    write_pair(tmp_path / "cifar10", (28, 28), classes=10)
    with pytest.raises(CorruptData, match=r"\[28, 28, 1\], but cifar10 has \[32, 32, 3\]"):
        load("cifar10", data_root=tmp_path)


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.99])
def test_truncated_archive_is_noticed(tmp_path: Path, keep: float) -> None:
    write_pair(tmp_path / "mine", (32, 32, 3))
    path = tmp_path / "mine_train.npz"
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(CorruptData, match=r"mine_train\.npz"):
        load(str(tmp_path / "mine"))


def test_one_flipped_byte_is_noticed(tmp_path: Path) -> None:
    write_pair(tmp_path / "mine", (32, 32, 3))
    path = tmp_path / "mine_train.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptData, match=r"mine_train\.npz"):
        load(str(tmp_path / "mine"))


def test_listed_checksum_is_compared(tmp_path: Path) -> None:
    write_pair(tmp_path / "mine")
    sums = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in sorted(tmp_path.glob("*.npz"))
    ]
    (tmp_path / "SHA256SUMS").write_text("".join(sums))
    load(str(tmp_path / "mine"))
    write_pair(tmp_path / "mine", each=5)
    with pytest.raises(CorruptData, match="sha256 checksum"):
        load(str(tmp_path / "mine"))


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "mine")
    np.savez(tmp_path / "mine_train.npz", images=np.array([{}], object), labels=np.zeros(1, int))
    with pytest.raises(CorruptData):
        load(str(tmp_path / "mine"))


def test_missing_files_are_named_with_folder_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(MissingData) as caught:
        load("svhn", data_root=tmp_path)
    text = str(caught.value)
    assert caught.value.exit_status == 3
    for part in ("svhn_train.npz", "train_32x32.mat", "test_32x32.mat", str(tmp_path), "--download"):
        assert part in text


def test_half_a_pair_names_the_other_half(tmp_path: Path) -> None:
    write_pair(tmp_path / "mine")
    (tmp_path / "mine_test.npz").unlink()
    with pytest.raises(MissingData, match=r"missing .*mine_test\.npz"):
        load(str(tmp_path / "mine"))


NEAR = [("mnsit", "mnist"), ("cifar-1O", "cifar10"), ("tinyimage", "tiny-imagenet")]


@pytest.mark.parametrize(("name", "near"), NEAR)
def test_unknown_name_gives_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownDataset, match=f"Did you mean {near}") as caught:
        load(name)
    assert caught.value.exit_status == 2


def idx(array: np.ndarray) -> bytes:
    header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's MNIST layout with few images, and a row whose checksums are theirs."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    sums = {}
    for prefix, count in (("train", 30), ("t10k", 20)):
        for name, array in (
            (f"{prefix}-images-idx3-ubyte", generator.integers(0, 256, (count, 28, 28))),
            (f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10),
        ):
            (raw / name).write_bytes(idx(array))
            sums[f"MNIST/raw/{name}"] = hashlib.md5((raw / name).read_bytes()).hexdigest()
    row = registry.SPECS["mnist"]
    changed = type(row)(**{**vars(row), "sources": (row.sources[0], TorchvisionSet("MNIST", sums))})
    monkeypatch.setitem(registry.SPECS, "mnist", changed)
    return tmp_path


def test_torchvision_layout_is_read(small_mnist: Path) -> None:
    data = load("mnist", data_root=small_mnist)
    assert (len(data.train), len(data.test), data.shape) == (30, 20, (1, 28, 28))
    expected = np.random.default_rng(0).integers(0, 256, (30, 28, 28))
    assert np.array_equal(data.train.images[:, 0].numpy(), expected)
    assert data.preprocessing.describe()["std"] == [0.3081]


def test_truncated_torchvision_file_is_noticed(small_mnist: Path) -> None:
    path = small_mnist / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptData, match="md5 checksum"):
        load("mnist", data_root=small_mnist)


def test_absent_torchvision_file_is_named(small_mnist: Path) -> None:
    (small_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingData, match="t10k-labels-idx1-ubyte") as caught:
        load("mnist", data_root=small_mnist)
    assert "train-images" not in str(caught.value)


def jpeg(value: int, mode: str = "RGB", side: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), value if mode == "L" else (value, 0, 255 - value)).save(buffer, "JPEG")
    return buffer.getvalue()


def tiny_files(annotated: bool = True) -> dict[str, bytes]:
    """A Tiny-ImageNet of two classes, two training and one validation image each, one of them grey."""
    ids = ["n02", "n01"]
    files = {"wnids.txt": "\n".join(ids).encode()}
    for k, wnid in enumerate(ids):
        for i in range(2):
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(50 * k + i, "L" if i else "RGB")
        files[f"val/images/val_{k}.JPEG" if annotated else f"val/{wnid}/val_{k}.JPEG"] = jpeg(200 + k)
    if annotated:
        lines = [f"val_{k}.JPEG\t{wnid}\t0\t0\t62\t62\n" for k, wnid in enumerate(ids)]
        files["val/val_annotations.txt"] = "".join(lines).encode()
    return {f"{tiny_imagenet.FOLDER}/{name}": content for name, content in files.items()}


TINY = TinyImageNetFolder(classes=2, train_per_class=2, test_per_class=1)


def unpack(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


@pytest.mark.parametrize("annotated", [True, False])
def test_tiny_imagenet_folder(tmp_path: Path, annotated: bool) -> None:
    unpack(tmp_path, tiny_files(annotated))
    pair = TINY.read(tmp_path)
    assert pair.class_names == ("n01", "n02")
    assert pair.train.images.shape == (4, 64, 64, 3) and pair.train.labels.tolist() == [0, 0, 1, 1]
    red = pair.test.images[:, 32, 32, 0]
    assert [int(red[pair.test.labels == label][0]) for label in (0, 1)] == pytest.approx([201, 200], abs=3)


def test_tiny_imagenet_with_a_picture_missing_or_cut(tmp_path: Path) -> None:
    unpack(tmp_path, tiny_files())
    path = tmp_path / tiny_imagenet.FOLDER / "train" / "n01" / "images" / "n01_0.JPEG"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(CorruptData, match="not a readable JPEG"):
        TINY.read(tmp_path)
    path.unlink()
    with pytest.raises(CorruptData, match="class n01 has 1 images, expected 2"):
        TINY.read(tmp_path)


def test_tiny_imagenet_download_checks_and_unpacks(tmp_path: Path) -> None:
    archive = tmp_path / "served.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in tiny_files().items():
            packed.writestr(name, content)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    good = TinyImageNetFolder(2, 2, 1, address=archive.as_uri(), zip_md5=md5)
    good.download(tmp_path / "root")
    assert len(good.read(tmp_path / "root").train.labels) == 4
    bad = TinyImageNetFolder(2, 2, 1, address=archive.as_uri(), zip_md5="0" * 32)
    with pytest.raises(CorruptData, match="md5"):
        bad.download(tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())  # nothing half-fetched is left
    absent = TinyImageNetFolder(address=(tmp_path / "absent.zip").as_uri())
    with pytest.raises(DataError, match="fetch it by hand"):
        absent.download(tmp_path / "third")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no sample data beside the project")
@pytest.mark.parametrize("name", [name for name in SPECS if name != "digits"])
def test_sample_data(name: str) -> None:
    data = load(name, data_root=SAMPLES)
    spec = SPECS[name]
    assert data.shape == (spec.channels, spec.side, spec.side) and data.classes == spec.classes
    assert abs(float(data.normalise(data.train.images[:500]).mean())) < 0.3
