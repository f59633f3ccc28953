"""Subsets have exactly as many images as asked for, each class in its proportion; hold-outs say what is too small."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from empirical import run
from empirical.data.datasets import SUBSET_SEED, load, load_recorded
from empirical.data.stratified import held_out, quotas, subset

EARLIER_900 = "4950b74b8f3f5449a912842a53f6e45564fe1c9e6a263b1bb0ee437cd8e95e3b"
"""Fingerprint of the digits with what the earlier rule took for 900: 899 images."""


def labels_of(*sizes: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.data())
def test_quotas_add_up_are_in_proportion_and_leave_no_class_out(sizes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(len(sizes), sum(sizes)))
    found = quotas(sizes, count)
    assert sum(found) == count and all(1 <= n <= size for n, size in zip(found, sizes, strict=True))
    share = count / sum(sizes)
    if all(share * size >= 1 for size in sizes):  # nothing had to be raised to one
        assert all(abs(n - share * size) < 1 for n, size in zip(found, sizes, strict=True))
    order = np.argsort(sizes, kind="stable")
    assert np.all(np.diff(np.array(found)[order][np.diff(np.sort(sizes), prepend=0) > 0]) >= 0)


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([50, 30, 20], 10, [5, 3, 2]),
        ([1, 1, 98], 10, [1, 1, 8]),
        ([1, 2, 3], 3, [1, 1, 1]),
        ([5, 5, 5], 4, [2, 1, 1]),
        ([60, 25, 15], 7, [4, 2, 1]),
        ([1, 1000], 1000, [1, 999]),
    ],
)
def test_largest_remainder_by_hand(sizes: list[int], count: int, expected: list[int]) -> None:
    assert quotas(sizes, count) == expected


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 7, 40), (3, 3, 3, 3), (100, 1, 57, 2), (2, 500)])
def test_exactly_so_many_in_their_order_and_always_the_same(sizes: tuple[int, ...]) -> None:
    labels = labels_of(*sizes)
    for count in range(len(sizes), len(labels) + 1):
        mask = subset(labels, count, seed=1)
        assert mask.sum() == count and set(labels[mask]) == set(range(len(sizes)))
        assert np.array_equal(mask, subset(labels, count, seed=1))
    for count in (len(sizes) - 1, len(labels) + 1):
        with pytest.raises(ValueError, match="cannot be taken"):
            subset(labels, count, seed=1)


def test_where_the_earlier_rule_was_exact_its_subset_stays() -> None:
    mnist = labels_of(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    exact = []
    for count in (500, 1000, 2000, 5000, 10000, 15000):
        earlier = held_out(mnist, count / len(mnist), SUBSET_SEED)
        if earlier.sum() == count:
            exact.append(count)
            assert np.array_equal(subset(mnist, count, SUBSET_SEED), earlier)
    assert exact == [500, 2000]


@pytest.mark.parametrize("count", [10, 11, 77, 200, 500, 900, 1000, 1437])
def test_digits_give_what_is_asked_for(count: int) -> None:
    data = load("digits", train_images=count)
    assert len(data.train) == count and min(data.train.class_sizes) >= 1


def test_a_record_of_the_earlier_rule_gets_its_subset_back() -> None:
    described = {"name": "digits", "train_images": 900, "sizes": {"train": 899, "validation": 0}}
    assert load_recorded(described).fingerprint == EARLIER_900 != load("digits", train_images=900).fingerprint
    for validation in (0.0, 0.1):
        now = load("digits", train_images=900, validation=validation)
        assert load_recorded(now.describe()).fingerprint == now.fingerprint


def write_pair(prefix: Path, sizes: tuple[int, ...]) -> None:
    labels = labels_of(*sizes)
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 16, 16), dtype=np.uint8)
    for split in ("train", "test"):
        np.savez(prefix.with_name(f"{prefix.name}_{split}.npz"), images=images, labels=labels)


def test_classes_of_one_image_need_no_hold_out(tmp_path: Path) -> None:
    write_pair(tmp_path / "mine", (1, 5, 1, 30))
    for count in (4, 5, 17, 37):
        assert load(str(tmp_path / "mine"), train_images=count).train.class_sizes[0] == 1


@pytest.mark.parametrize("count", [None, 12])
def test_what_is_too_small_to_hold_out_names_flag_data_class_and_cure(
    tmp_path: Path, count: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = tmp_path / "mine"
    write_pair(prefix, (8, 5, 1, 30))
    flags = ["--train-images", str(count)] if count else []
    assert run.main(["--dataset", str(prefix), "--validation", "0.1", *flags, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    label = 1 if count else 2
    for part in ("--validation 0.1", f"class {label} of {prefix} has one", "give --validation 0", *flags[:1]):
        assert part in said
    assert not (tmp_path / "out").exists()
    parted = load(str(prefix), train_images=None)
    assert torch.equal(parted.train.labels.bincount(), torch.tensor([8, 5, 1, 30]))


def test_the_refused_share_is_named_by_its_flag() -> None:
    for share in (1, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"--validation is a share of the training split in \[0, 1\)"):
            load("digits", validation=share)
