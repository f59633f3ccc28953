"""Files in torchvision's layout and Tiny-ImageNet's folder: what is damaged or leads elsewhere is one sentence."""

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from empirical import run
from empirical.data.datasets import SPECS, CorruptData, DataError, load
from empirical.data.tiny_imagenet import FOLDER, TinyImageNetFolder
from empirical.data.torchvision_set import TorchvisionSet


def idx(array: np.ndarray) -> bytes:
    return np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> TorchvisionSet:
    sums = {}
    for prefix, count in (("train", 30), ("t10k", 20)):
        for name, array in (
            (f"{prefix}-images-idx3-ubyte", np.arange(count * 784).reshape(count, 28, 28) % 256),
            (f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10),
        ):
            path = tmp_path / "MNIST" / "raw" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(idx(array))
            sums[f"MNIST/raw/{name}"] = hashlib.md5(path.read_bytes()).hexdigest()
    return TorchvisionSet("MNIST", sums)


HARMS: dict[str, Callable[[Path], object]] = {
    "empty": lambda p: p.write_bytes(b""),
    "cut": lambda p: p.write_bytes(p.read_bytes()[:-1]),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"\0"),
    "one bit": lambda p: p.write_bytes(p.read_bytes()[:-1] + bytes([p.read_bytes()[-1] ^ 1])),
    "text": lambda p: p.write_text("404"),
    "a pickle": lambda p: p.write_bytes(pickle.dumps({"data": [1]})),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("which", range(4))
def test_a_damaged_file_of_torchvisions_layout_is_one_sentence(
    tmp_path: Path, mnist: TorchvisionSet, harm: str, which: int
) -> None:
    assert len(mnist.read(tmp_path).train.labels) == 30
    path = mnist.files(tmp_path)[which]
    HARMS[harm](path)
    with pytest.raises(CorruptData) as caught:
        mnist.read(tmp_path)
    said = str(caught.value)
    assert said.startswith(str(path)) and "--download" in said and "delete" not in said and "\n" not in said


@pytest.mark.parametrize("harm", ["cut", "text"])
def test_a_file_whose_checksum_is_right_but_whose_content_is_not_is_one_sentence(
    tmp_path: Path, mnist: TorchvisionSet, harm: str
) -> None:
    for path in mnist.files(tmp_path):
        HARMS[harm](path)
    sums = {name: hashlib.md5((tmp_path / name).read_bytes()).hexdigest() for name in mnist.md5}
    with pytest.raises(CorruptData, match="not a readable MNIST in torchvision's layout"):
        TorchvisionSet("MNIST", sums).read(tmp_path)


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path, str]]:
        return Path.write_text, (Path("pwned"), "x")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_files_without_the_published_checksum_are_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in SPECS[name].sources[1].files(tmp_path / "data"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CorruptData, match="the md5 checksum is"):
        load(name, data_root="data")
    assert not (tmp_path / "pwned").exists()


def jpeg(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (value, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


TINY = TinyImageNetFolder(classes=2, train_per_class=2, test_per_class=1)
IDS = ("n01", "n02")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER
    files = {"wnids.txt": "\n".join(IDS).encode()}
    for k, wnid in enumerate(IDS):
        for i in range(2):
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(10 * k + i)
        files[f"val/images/val_{k}.JPEG"] = jpeg(100 + k)
    files["val/val_annotations.txt"] = "".join(f"val_{k}.JPEG\t{w}\t0\t0\n" for k, w in enumerate(IDS)).encode()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    TINY.read(tmp_path)
    return folder


@pytest.mark.parametrize("name", ["../../secret", "..", "/etc/passwd", "a/b", ".hidden", "~x", "..\\x"])
def test_a_list_leads_nowhere_but_to_what_lies_beside_it(tiny: Path, name: str) -> None:
    annotations = tiny / "val" / "val_annotations.txt"
    whole = annotations.read_text(encoding="utf-8")
    annotations.write_text(whole.replace("val_0.JPEG", name), encoding="utf-8")
    with pytest.raises(CorruptData, match=r"val_annotations\.txt: .* is no plain name; unpack"):
        TINY.read(tiny.parent)
    annotations.write_text(whole, encoding="utf-8")
    (tiny / "wnids.txt").write_text(f"n01\n{name}\n", encoding="utf-8")
    with pytest.raises(CorruptData, match=r"wnids\.txt: .* is no plain name; unpack"):
        TINY.read(tiny.parent)


LISTS: dict[str, bytes] = {
    "no tab": b"val_0.JPEG\nval_1.JPEG\n",
    "blanks": b"val_0.JPEG n01\n",
    "an unknown class": b"val_0.JPEG\tn99\t0\n",
    "no text": b"\xff\xfe\x00\x01",
    "an empty name": b"\tn01\n",
    "empty": b"",
}


@pytest.mark.parametrize("case", LISTS)
@pytest.mark.parametrize("which", ["wnids.txt", "val/val_annotations.txt"])
def test_a_damaged_list_is_one_sentence(tiny: Path, case: str, which: str) -> None:
    (tiny / which).write_bytes(LISTS[case])
    with pytest.raises(CorruptData) as caught:
        TINY.read(tiny.parent)
    assert FOLDER in str(caught.value) and "\n" not in str(caught.value) and caught.value.exit_status == 3


@pytest.mark.parametrize("content", [b"", b"no picture", jpeg(1)[:200], jpeg(1)[:-300]])
def test_a_damaged_picture_says_how_to_get_it_back(tiny: Path, content: bytes) -> None:
    (tiny / "val" / "images" / "val_1.JPEG").write_bytes(content)
    with pytest.raises(CorruptData, match=r"val_1\.JPEG: not a readable JPEG .*unpack"):
        TINY.read(tiny.parent)


def test_an_archive_that_is_not_the_published_one_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / f"{FOLDER}.zip").write_bytes(b"PK")
    with pytest.raises(CorruptData, match=r"md5 checksum is .* move it away"):
        TinyImageNetFolder().download(tmp_path)
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("content", ["hello\n", f"{'0' * 64}  mine_train.npz\n", "\x00\x01"])
def test_a_broken_list_of_checksums_ends_a_command_with_the_status_of_unusable_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    for split in ("train", "test"):
        np.savez(tmp_path / f"mine_{split}.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4) % 2)
    (tmp_path / "SHA256SUMS").write_text(content, encoding="utf-8")
    assert run.main(["--dataset", str(tmp_path / "mine"), "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_every_source_says_where_it_is_and_local_ones_have_no_download() -> None:
    for spec in SPECS.values():
        for source in spec.sources:
            assert source.where(Path("root"))
            if not source.downloadable:
                with pytest.raises(DataError, match="cannot be downloaded"):
                    source.download(Path("root"))
