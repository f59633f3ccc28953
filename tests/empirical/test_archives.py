"""Archives that are damaged, lie about their size or hold something else: one sentence, before memory is taken."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from empirical.data.datasets import CorruptData, load
from empirical.data.errors import TooLarge
from empirical.data.npz import read_npz
from empirical.runtime import memory


def header(shape: tuple[int, ...], dtype: str = "|u1", version: int = 1) -> bytes:
    """Of an `.npy` file that declares an array."""
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


IMAGES, LABELS = np.zeros((6, 4, 4), np.uint8), np.tile(np.arange(3), 2)


def archive(path: Path, **content: bytes) -> Path:
    members = {"images": npy(IMAGES), "labels": npy(LABELS), **content}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


DECLARED = {
    "images of 100 GB": {"images": header((10**5, 1000, 1000)) + b"\0" * 96},
    "images of 1e30 bytes": {"images": header((10**10, 10**10, 10**10)) + b"\0" * 96},
    "labels of 100 GB": {"labels": header((10**10,), "<i8") + b"\0" * 48},
    "a negative length": {"images": header((-6, 4, 4)) + b"\0" * 96},
    "two negative lengths": {"images": header((-6, -4, 4)) + b"\0" * 96},
    "more than it holds": {"images": header((7, 4, 4)) + b"\0" * 96},
    "less than it holds": {"images": header((5, 4, 4)) + b"\0" * 96},
    "wide items": {"labels": header((6,), "|S1000000000") + b"\0" * 48},
}


@pytest.mark.parametrize("case", DECLARED)
def test_what_an_array_declares_is_compared_with_what_is_there_before_memory_is_taken(
    tmp_path: Path, case: str
) -> None:
    path = archive(tmp_path / "mine_train.npz", **DECLARED[case])
    tracemalloc.start()
    try:
        with pytest.raises(CorruptData, match=r"mine_train\.npz: .* declares an array of shape .* but holds") as caught:
            read_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 10**8
    finally:
        tracemalloc.stop()
    assert caught.value.exit_status == 3


def test_what_inflates_beyond_free_memory_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3000
    images = header((count, 100, 100)) + b"\0" * (count * 10_000)
    path = archive(tmp_path / "mine_train.npz", images=images, labels=npy(np.arange(count) % 3))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(memory, "free_bytes", lambda: 5e6)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=r"takes 0\.06 GB of memory and 0\.005 GB are free"):
            read_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_an_archive_that_lies_of_its_length_is_found(tmp_path: Path) -> None:
    path = archive(tmp_path / "mine_train.npz")
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    size = struct.unpack_from("<I", content, place + 24)[0]
    for wrong in (0, size - 1, size + 1, 2**31):
        struct.pack_into("<I", content, place + 24, wrong)
        path.write_bytes(content)
        with pytest.raises(CorruptData):
            read_npz(path)


class Bomb:
    """Leaves a mark if it is ever unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return Path.write_text, (Path("pwned"), "x")  # type: ignore[return-value]


@pytest.mark.parametrize("key", ["images", "labels", "classes"])
def test_objects_are_refused_and_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()] * 6, dtype=object), allow_pickle=True)
    path = archive(tmp_path / "mine_train.npz", **{key: buffer.getvalue()})
    with pytest.raises(CorruptData, match="holds Python objects, not numbers") as caught:
        read_npz(path)
    assert not (tmp_path / "pwned").exists() and "pickle" not in str(caught.value)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_format_is_read(tmp_path: Path, version: int) -> None:
    path = archive(tmp_path / "mine.npz", images=header((6, 4, 4), version=version) + IMAGES.tobytes())
    split, names = read_npz(path)
    assert np.array_equal(split.images[..., 0], IMAGES) and names is None


def test_fortran_order_and_stored_members_are_read(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=np.asfortranarray(images), labels=LABELS)
    assert np.array_equal(read_npz(tmp_path / "mine.npz")[0].images, images)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (np.array([b"cat", b"dog", "Käse".encode()]), ("cat", "dog", "Käse")),
        (np.array(["cat", "dog", "Käse"]), ("cat", "dog", "Käse")),
        (np.array([3, 5, 7]), ("3", "5", "7")),
        (np.array([b"cat", b"\xff\xfe", b""]), ("cat", "\ufffd\ufffd", "")),
    ],
)
def test_class_names_are_text_whatever_they_are_stored_as(
    tmp_path: Path, classes: np.ndarray, expected: tuple[str, ...]
) -> None:
    for split in ("train", "test"):
        np.savez(tmp_path / f"mine_{split}.npz", images=IMAGES, labels=LABELS, classes=classes)
    assert load(str(tmp_path / "mine")).class_names == expected


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (np.array([["a", "b", "c"]]), "one name a class"),
        (np.array("abc"), "one name a class"),
        (np.array(["a"]), "1 class names for 3"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(tmp_path: Path, classes: np.ndarray, message: str) -> None:
    for split in ("train", "test"):
        np.savez(tmp_path / f"mine_{split}.npz", images=IMAGES, labels=LABELS, classes=classes)
    with pytest.raises(CorruptData, match=message):
        load(str(tmp_path / "mine"))


def damaged(content: bytes, seed: int) -> bytes:
    """One of a few ways in which files come to harm."""
    generator = np.random.default_rng(seed)
    place, kind = int(generator.integers(0, len(content))), seed % 6
    if kind == 0:
        return content[:place]
    if kind == 1:  # one bit
        return content[:place] + bytes([content[place] ^ (1 << int(generator.integers(8)))]) + content[place + 1 :]
    if kind == 2:  # a hole of zeros
        return content[:place] + bytes(len(content[place : place + 64])) + content[place + 64 :]
    if kind == 3:  # a piece is missing
        return content[:place] + content[place + 1 + int(generator.integers(200)) :]
    if kind == 4:  # noise in it
        noise = generator.integers(0, 256, 40, dtype=np.uint8).tobytes()
        return content[:place] + noise + content[place + 40 :]
    return generator.integers(0, 256, len(content), dtype=np.uint8).tobytes()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_archives_are_one_sentence_or_whole(tmp_path: Path, compressed: bool) -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 9, 9, 3), dtype=np.uint8)
    path = tmp_path / "mine_train.npz"
    (np.savez_compressed if compressed else np.savez)(path, images=images, labels=LABELS, classes=np.array(list("abc")))
    whole, caught = path.read_bytes(), 0
    for seed in range(240):
        path.write_bytes(damaged(whole, seed))
        try:
            split, _ = read_npz(path)
        except CorruptData as error:
            caught += 1
            assert "mine_train.npz" in str(error) and "\n" not in str(error)
        else:  # the harm lies where nothing is kept, such as a time of day
            assert np.array_equal(split.images, images) and np.array_equal(split.labels, LABELS)
    assert caught > 200


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\x05\x06" + b"\0" * 18, b"\x93NUMPY", b"\x80\x04]q\x00."])
def test_what_is_no_archive_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine_train.npz").write_bytes(content)
    with pytest.raises(CorruptData, match=r"mine_train\.npz: "):
        read_npz(tmp_path / "mine_train.npz")


def test_folders_and_files_that_may_not_be_read_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mine_train.npz").mkdir()
    (tmp_path / "mine_test.npz").mkdir()
    with pytest.raises(CorruptData, match=r"mine_train\.npz: not a \.npz archive but a folder"):
        load(str(tmp_path / "mine"))
