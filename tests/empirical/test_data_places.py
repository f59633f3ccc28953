"""What a user types as a data set: a name, a path, a prefix; and where a stored set's data are found again."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from empirical import evaluate, run, synthetic
from empirical.data.datasets import CorruptData, MissingData, UnknownDataset, load, load_recorded
from empirical.data.registry import find, is_path
from empirical.settings.presets import table_name

TINY = [
    *("--method", "random", "--preset", "laptop", "--width", "4", "--depth", "1", "--no-compare", "--quiet"),
    *("--eval-networks", "1", "--eval-epochs", "1", "--device", "cpu"),
]


def write_pair(prefix: Path, side: int = 16, classes: int = 3, each: int = 4, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        images = generator.integers(0, 256, (classes * each, side, side), dtype=np.uint8)
        labels = np.tile(np.arange(classes), each)
        np.savez(prefix.with_name(f"{prefix.name}_{split}.npz"), images=images, labels=labels)
    return prefix


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("text", ["./digits", "../here/digits", "~/digits", "digits/", "/d/digits", ".digits", "a/b"])
def test_text_with_a_separator_or_a_dot_or_a_tilde_is_a_path(text: str) -> None:
    assert is_path(text) and find(text) is None


@pytest.mark.parametrize("text", ["Digits", "DIGITS", "di-gits", "dig_its", " digits", "digits "])
def test_a_name_is_compared_without_case_hyphens_underscores_and_blanks(text: str) -> None:
    spec = find(text)
    assert spec is not None and spec.name == "digits"


@pytest.mark.parametrize("text", ["digits!", "digits.", "d.igits", "digits:", "+digits", "digits\t", "(digits)"])
def test_nothing_else_is_dropped_from_a_name(text: str) -> None:
    assert find(text) is None


@pytest.mark.filterwarnings("ignore:.*unlike digits")
@pytest.mark.parametrize("text", ["./digits", "digits/", "~/digits", "~/digits_test.npz", "sub/digits", "a/../digits"])
def test_ones_own_files_are_read_whatever_name_their_path_spells(here: Path, text: str) -> None:
    for folder in ("home", "sub", "a", "."):
        write_pair(here / folder / "digits")
    data = load(text)
    assert (data.classes, len(data.train), data.class_names) == (3, 12, ("0", "1", "2"))
    assert "digits_train.npz" in data.source and len(load("digits").train) == 1438


@pytest.mark.parametrize("text", ["./mnist", "mnist/", "~/mnist", "./nothing", "a/b"])
def test_a_path_that_leads_nowhere_is_not_looked_up_as_a_name(here: Path, text: str) -> None:
    with pytest.raises(MissingData, match=r"_train\.npz.*_test\.npz"):
        load(text)


def test_a_name_with_a_known_size_but_other_classes_is_a_set_of_its_own_and_says_so(here: Path) -> None:
    write_pair(here / "d" / "mnist", side=28, classes=26)
    with pytest.warns(UserWarning, match=r"26 classes .* unlike mnist .* its published settings are"):
        data = load("d/mnist")
    assert data.classes == 26 and data.class_names[25] == "25"
    assert data.preprocessing.describe()["mean"] != [0.1307]
    assert table_name("d/mnist") == "mnist"
    with pytest.raises(CorruptData, match=r"a train label is 25; 10 classes allow 0\.\.9; mnist has 10 .*\./mnist"):
        load("mnist", data_root="d")


def test_a_path_that_bears_a_name_and_fits_takes_its_constants_without_a_word(here: Path) -> None:
    write_pair(here / "d" / "Fashion_MNIST", side=28, classes=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load("./d/Fashion_MNIST")
    assert data.preprocessing.describe()["mean"] == [0.2861] and data.flip and data.class_names[8] == "Bag"


@pytest.mark.parametrize("text", ["speed_test", "speed_test_train.npz", "speed_test_train", "./speed_test"])
def test_a_prefix_may_end_like_a_half(here: Path, text: str) -> None:
    write_pair(here / "speed_test")
    assert len(load(text).train) == 12


def test_the_half_that_was_typed_is_taken_off_once_and_only_where_it_is_a_half(here: Path) -> None:
    write_pair(here / "speed", classes=2)
    assert load("speed_test.npz").classes == 2
    assert load("speed_test").classes == 2  # the file of the pair `speed`
    write_pair(here / "speed_test", classes=3)
    assert load("speed_test").classes == 3 and load("speed_test.npz").classes == 2
    write_pair(here / "_train", classes=4)
    assert load("_train").classes == 4
    write_pair(here / "my.set", classes=5)
    assert load("my.set").classes == 5


@pytest.mark.parametrize("root", ["~/data", "home/data"])
def test_a_tilde_in_the_data_root_is_the_home_folder(here: Path, root: str) -> None:
    write_pair(here / "home" / "data" / "mine")
    assert len(load("mine", data_root=root).train) == 12
    assert not (here / "~").exists()


def test_an_unknown_home_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="no user with that home"):
        load("~nobody-of-this-name/mine")


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_name_is_refused(text: str) -> None:
    with pytest.raises(UnknownDataset, match="names no data set"):
        load(text)


@pytest.mark.parametrize("text", ["sets/mine", "/gone/sets/mine", "./mine", "~/gone/mine", "sets/mine_train.npz"])
def test_the_data_root_finds_prefixes_with_a_folder(here: Path, text: str) -> None:
    write_pair(here / "root" / "mine")
    assert len(load(text, data_root="root").train) == 12


@pytest.mark.parametrize("text", ["mine", "./mine", "sets/mine", "~/mine"])
def test_a_set_is_judged_from_another_folder(here: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for folder in (".", "sets", "home"):
        write_pair(here / folder / "mine")
    assert run.main(["--dataset", text, *TINY, "--out", "one"]) == 0
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert evaluate.main(["../one", "--count", "1"]) == 0


def test_a_set_from_a_data_root_is_judged_from_another_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pair(here / "root" / "svhn", classes=10)  # no images of SVHN's size: a set of another name
    (here / "root" / "svhn_train.npz").rename(here / "root" / "own_train.npz")
    (here / "root" / "svhn_test.npz").rename(here / "root" / "own_test.npz")
    write_pair(here / "root" / "mnist", side=28, classes=10)
    for name in ("own", "mnist"):
        assert run.main(["--dataset", name, "--data-root", "root", *TINY, "--out", name]) == 0
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    for name in ("own", "mnist"):
        assert evaluate.main([f"../{name}", "--count", "1"]) == 0


def test_data_that_were_moved_are_found_by_the_data_root(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(here / "sets" / "mine")
    assert run.main(["--dataset", "sets/mine", *TINY, "--out", "one"]) == 0
    (here / "sets").rename(here / "moved")
    assert evaluate.main(["one", "--count", "1"]) == 3
    said = capsys.readouterr().err
    assert "sets/mine_train.npz" in said and "--data-root" in said
    assert evaluate.main(["one", "--count", "1", "--data-root", "moved"]) == 0
    (here / "root").mkdir()
    (here / "moved").rename(here / "root" / "sets")
    assert evaluate.main(["one", "--count", "1", "--data-root", "root"]) == 0


def test_a_record_of_an_earlier_version_names_its_data_as_typed(here: Path) -> None:
    write_pair(here / "mine")
    described = load("mine").describe()
    del described["place"]
    assert load_recorded(described).fingerprint == described["fingerprint"]
    for name in ("digits", "./digits", "~/digits"):  # all of them were the bundled digits then
        assert load_recorded({"name": name}).fingerprint == load("digits").fingerprint


def test_another_set_of_that_name_nearer_by_is_not_taken_for_the_recorded_one(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(here / "mine")
    described = json.loads(json.dumps(load("mine").describe()))
    write_pair(here / "other" / "mine", seed=1)
    monkeypatch.chdir(here / "other")
    assert load_recorded(described).fingerprint == described["fingerprint"]
    assert load_recorded(described).name == "mine"
    assert load_recorded(described, data_root=here).fingerprint == described["fingerprint"]


def test_the_bundled_digits_have_no_place() -> None:
    assert load("digits").describe()["place"] is None


def test_a_stored_set_says_where_its_data_were(here: Path) -> None:
    write_pair(here / "mine")
    assert run.main(["--dataset", "./mine", *TINY, "--out", "one"]) == 0
    assert synthetic.load("one").recipe["data"]["place"] == str(here / "mine")
