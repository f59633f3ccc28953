"""Labels that are not 0, 1, 2, ... are refused in one sentence; no memory is taken by how large they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from empirical import run
from empirical.data.arrays import Arrays, Pair, class_count
from empirical.data.datasets import CorruptData, load

LABELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "from one": (lambda y: y + 1, "3 different, largest 3; no training image of class 0"),
    "of 1e12": (lambda y: np.where(y == 2, 10**12, y), "largest 1000000000000; no training image of class 2"),
    "all huge": (lambda y: y + 2**62, f"3 different, largest {2**62 + 2}"),
    "beyond int64": (lambda y: y.astype(np.uint64) + np.uint64(2**63), f"3 different, largest {2**63 + 2}"),
    "the largest uint64": (lambda y: np.full(len(y), 2**64 - 1, np.uint64), f"1 different, largest {2**64 - 1}"),
    "negative": (lambda y: y - 1, "3 different, largest 1; they start at -1"),
    "the smallest int64": (lambda y: np.where(y == 0, -(2**63), y), "they start at -9223372036854775808"),
    "a gap": (lambda y: np.where(y == 1, 5, y), "3 different, largest 5; no training image of class 1"),
    "whole floats": (lambda y: y.astype(float), "largest 2.0; they are float64, integers are needed"),
    "fractions": (lambda y: y + 0.5, "largest 2.5; they are float64"),
    "not numbers": (lambda y: np.where(y == 1, np.nan, y), "largest nan; they are float64"),
    "infinite": (lambda y: np.where(y == 1, np.inf, y), "largest inf; they are float64"),
    "truths": (lambda y: y > 0, "they are bool"),
    "text": (lambda y: y.astype(str), "they are <U"),
    "byte strings": (lambda y: y.astype("S3"), r"they are |S3"),
    "complex": (lambda y: y.astype(complex), "they are complex128"),
    "dates": (lambda y: y.astype("datetime64[D]"), "they are datetime64"),
}


def write_pair(prefix: Path, labels: np.ndarray) -> None:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    for split in ("train", "test"):
        np.savez(prefix.with_name(f"{prefix.name}_{split}.npz"), images=images, labels=labels)


@pytest.mark.parametrize("case", LABELS)
def test_odd_labels_are_one_sentence(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, message = LABELS[case]
    write_pair(tmp_path / "mine", change(np.tile(np.arange(3), 4)))
    with pytest.raises(CorruptData) as caught:
        load(str(tmp_path / "mine"))
    assert "mine_train.npz" in str(caught.value) and "labels are not 0, 1, 2, ...: " in str(caught.value)
    assert message in str(caught.value)
    assert run.main(["--dataset", str(tmp_path / "mine"), "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("count", [1, 12])
def test_one_class_is_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int) -> None:
    write_pair(tmp_path / "mine", np.zeros(count, int))
    assert run.main(["--dataset", str(tmp_path / "mine"), "--out", str(tmp_path / "out")]) == 3
    error = capsys.readouterr().err
    assert "mine_train.npz" in error and "all labels are 0; a data set has at least 2 classes" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint64, ">i4"])
def test_integers_of_every_type_are_labels(tmp_path: Path, dtype: object) -> None:
    write_pair(tmp_path / "mine", np.tile(np.arange(3), 4).astype(dtype))
    assert load(str(tmp_path / "mine")).train.class_sizes == (4, 4, 4)


@pytest.mark.parametrize("worst", [3, 10**12, 2**63 - 1])
def test_a_test_label_that_training_lacks_is_named(tmp_path: Path, worst: int) -> None:
    write_pair(tmp_path / "mine", np.tile(np.arange(3), 4))
    np.savez(tmp_path / "mine_test.npz", images=np.zeros((2, 8, 8), np.uint8), labels=np.array([0, worst]))
    with pytest.raises(CorruptData, match=rf"a test label is {worst}; 3 classes allow 0\.\.2"):
        load(str(tmp_path / "mine"))


def test_absent_classes_of_a_known_count_are_named() -> None:
    def arrays(labels: list[int]) -> Arrays:
        return Arrays(np.zeros((len(labels), 4, 4, 1), np.uint8), np.array(labels))

    pair = Pair(arrays([0, 3]), arrays([0]))
    with pytest.raises(CorruptData, match="no training image of class 1, 2, 4; five"):
        class_count(pair, 5, "here", "; five")
    assert class_count(Pair(arrays([1, 0, 2]), arrays([2])), None, "here") == 3
