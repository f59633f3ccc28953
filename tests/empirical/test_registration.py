"""Data sets, augmentations and networks of a user's own file: known by name everywhere, given once."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from empirical import evaluate, networks, run
from empirical.data import DatasetSpec, Normalisation, NpzPair, add_dataset, register_augmentation, register_dataset
from empirical.data.arrays import Arrays, Pair
from empirical.data.augmentation import OPERATIONS, SiameseAugmentation, apply, draw, parse_strategy
from empirical.data.datasets import CorruptData, DataError, MissingData, UnknownDataset, load
from empirical.data.published import _MNIST
from empirical.data.registry import SPECS, find
from empirical.networks.registry import _factories
from empirical.runtime.registry import Registry
from empirical.settings.presets import table_name
from empirical.sweep import __main__ as sweep
from shared.terminal.plugins import VARIABLE

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "data_of_your_own.py"
SMALL = [
    *("--eval-networks", "1", "--eval-epochs", "2", "--batch-real", "8"),
    *("--device", "cpu", "--compiled", "off", "--quiet"),
]


@pytest.fixture(autouse=True)
def only_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    registries: list[Registry] = [SPECS, OPERATIONS, _factories]
    before = [dict(registry) for registry in registries]
    monkeypatch.setenv(VARIABLE, "")
    yield
    for name in [n for n, module in sys.modules.items() if getattr(module, "__file__", None) == str(EXAMPLE)]:
        del sys.modules[name]
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arrays(each: int = 4, classes: int = 3, side: int = 8) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (classes * each, side, side), dtype=np.uint8)
    return images, np.repeat(np.arange(classes), each)


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60


def test_one_file_brings_a_data_set_an_augmentation_and_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = ["--plugin", str(EXAMPLE), *SMALL]
    flags = [*own, "--dataset", "Stripes", "--network", "Linear", "--augmentation", "invert_crop", "--no-compare"]
    assert run.main([*flags, "--preset", "laptop", "--iterations", "2", "--method", "dsa", "--out", "one"]) == 0
    config = json.loads(Path("one/config.json").read_text(encoding="utf-8"))
    assert config["settings"]["augmentation"] == "invert_crop"
    assert config["data"]["shape"] == [1, 16, 16] and config["data"]["classes"] == 3
    assert evaluate.main(["one", "--networks", "linear", "mlp", "--count", "1", "--out", "judged.json"]) == 0
    assert set(json.loads(Path("judged.json").read_text(encoding="utf-8"))) == {"linear", "mlp"}
    axes = ["--methods", "dc", "--datasets", "stripes", "--lambdas", "0", "--workers", "1", "--network", "linear"]
    assert sweep.main([*own, *axes, "--iterations", "2", "--out", "sweep"]) == 0
    assert "stripes" in Path("sweep/grid.csv").read_text(encoding="utf-8")


def test_help_names_what_a_file_brings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--plugin", str(EXAMPLE), "--help"])
    said = capsys.readouterr().out
    assert "stripes" in said and "linear" in said and "invert" in said


def test_the_same_file_may_be_imported_again() -> None:
    first = imported(EXAMPLE)
    again = imported(EXAMPLE)
    assert first.stripes is not again.stripes
    assert torch.equal(load("stripes").train.images, load("stripes").train.images)
    assert OPERATIONS["invert"].apply is again.invert and networks.build("linear", (1, 4, 4), 3) is not None


def taken_dataset() -> None:
    @register_dataset("Fashion_MNIST")
    def other() -> object:
        return arrays(), arrays()


def taken_spec() -> None:
    add_dataset(DatasetSpec("digits", sources=(NpzPair("digits"),)))


def taken_augmentation() -> None:
    @register_augmentation("crop")
    def other(images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        return images


def taken_network() -> None:
    @networks.register("ConvNet")
    def other(shape: tuple[int, int, int], classes: int) -> networks.Classifier:
        raise NotImplementedError


@pytest.mark.parametrize("second", [taken_dataset, taken_spec, taken_augmentation, taken_network])
def test_a_name_that_is_taken_is_refused_in_one_sentence(second: Callable[[], None]) -> None:
    with pytest.raises(ValueError, match=r"named '\S+' is registered already by \S+: give yours another name$"):
        second()
    assert find("fashion-mnist") is not None and OPERATIONS["crop"].apply.__name__ == "_crop"


@pytest.mark.parametrize("name", ["", "-", "./mine", "a/b", "~x", ".hidden"])
def test_what_is_no_name_names_nothing(name: str) -> None:
    for door in (register_dataset(name), networks.register(name)):
        with pytest.raises(ValueError, match="cannot name a"):
            door(arrays)


@pytest.mark.parametrize("name", ["", "two_words", "Capital", "none", "condensation", "a-b"])
def test_an_operation_is_one_word_that_a_strategy_can_spell(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an augmentation"):
        register_augmentation(name)


def test_a_registered_name_is_the_nearest_valid_one_and_has_no_published_row() -> None:
    imported(EXAMPLE)
    with pytest.raises(UnknownDataset, match="Did you mean stripes"):
        load("stripse")
    with pytest.raises(ValueError, match="the nearest is 'invert'"):
        parse_strategy("color_invret")
    with pytest.raises(ValueError, match="the nearest is 'linear'"):
        networks.build("lineer", (1, 8, 8))
    assert table_name("STRIPES") == "stripes" == table_name("somewhere/stripes")


def test_a_registered_operation_is_drawn_and_applied_like_the_others() -> None:
    imported(EXAMPLE)
    images = torch.randn(2, 6, 3, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for count in (None, 6):
        drawn = draw(torch.Generator().manual_seed(1), ("invert",), (8, 8), groups=2, images=count)
        changed = apply(drawn, images)
        sign = 1 - 2 * drawn.parameters[..., 0]
        assert torch.equal(changed, images * sign[:, :, None, None, None])
        (gradient,) = torch.autograd.grad(changed.sum(), images)
        assert torch.equal(gradient, sign[:, :, None, None, None].expand_as(images))
    assert SiameseAugmentation(("invert", "crop")).name == "invert_crop"


def test_an_operation_on_whole_images_sees_them_and_must_keep_their_shape() -> None:
    seen = []

    @register_augmentation("mirror", whole_images=True)
    def mirror(images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        seen.append((images.shape, parameters.shape))
        return images.flip(-1)

    @register_augmentation("shrink")
    def shrink(images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        return images[..., :-1]

    images = torch.randn(2, 4, 3, 8, 8)
    drawn = draw(torch.Generator().manual_seed(0), ("mirror",), (8, 8), 2)
    assert torch.equal(apply(drawn, images), images.flip(-1))
    assert seen == [((2, 4, 3, 8, 8), (2, 1, 3))]
    with pytest.raises(ValueError, match=r"augmentation shrink turned .* the shape of images must stay"):
        apply(draw(torch.Generator().manual_seed(0), ("shrink",), (8, 8), 2), images)


def test_a_row_with_files_takes_its_constants_and_says_what_is_missing(tmp_path: Path) -> None:
    constants = Normalisation((0.3,), (0.2,))
    sources = (NpzPair("my_set"),)
    add_dataset(
        DatasetSpec("my-set", sources=sources, flip=True, normalisation=constants, class_names=("a", "b", "c"))
    )
    with pytest.raises(MissingData, match=r"my_set_train\.npz, my_set_test\.npz"):
        load("myset", data_root=tmp_path)
    images, labels = arrays()
    for split in ("train", "test"):
        np.savez(tmp_path / f"my_set_{split}.npz", images=images, labels=labels)
    data = load("My Set", data_root=tmp_path)
    assert data.preprocessing == constants and data.flip and data.class_names == ("a", "b", "c")
    with pytest.raises(MissingData, match="files are missing"):
        load("my-set", data_root=tmp_path / "elsewhere")


def test_a_function_reads_the_data_root_and_may_fetch(tmp_path: Path) -> None:
    def fetch(root: Path) -> None:
        np.savez(root / "mine.npz", images=arrays()[0], labels=arrays()[1])

    @register_dataset("fetched", files=("mine.npz",), download=fetch)
    def fetched(root: Path) -> Pair:
        with np.load(root / "mine.npz") as file:
            split = Arrays(file["images"], file["labels"])
        return Pair(split, split, ("x", "y", "z"))

    with pytest.raises(MissingData, match=r"mine\.npz.*--download"):
        load("fetched", data_root=tmp_path / "data")
    data = load("fetched", data_root=tmp_path / "data", download=True)
    assert data.class_names == ("x", "y", "z") and np.array_equal(data.train.images[:, 0].numpy(), arrays()[0])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "the function must return"),
        (3, "the function must return"),
        ((arrays(),), "the function must return"),
        ((arrays(), arrays(), arrays()), "the function must return"),
        ((arrays()[0], arrays()[1]), "the function must return"),
        ((arrays(), (arrays()[0].astype(float), arrays()[1])), "uint8"),
        ((arrays(), (arrays()[0], arrays()[1] + 10**12)), "a test label is 1000000000002"),
        (((arrays()[0], arrays()[1] + 1), arrays()), r"not 0, 1, 2, \.\.\.: 3 different, largest 3"),
    ],
)
def test_what_a_function_returns_is_checked(returned: object, message: str) -> None:
    @register_dataset("wrong")
    def wrong() -> object:
        return returned

    with pytest.raises(CorruptData, match=message) as caught:
        load("wrong")
    assert caught.value.exit_status == 3 and "wrong of" in str(caught.value)


@pytest.mark.parametrize("error", [KeyError("x"), FileNotFoundError(2, "No such file", "a.bin"), ZeroDivisionError()])
def test_a_function_that_fails_is_one_sentence_with_its_line(
    error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(root: Path) -> None:
        raise error

    register_dataset("failing")(fails)
    register_dataset("fetching", files=("a.bin",), download=fails)(fails)
    for name in ("failing", "fetching"):
        flags = ["--dataset", name, "--download", "--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
        assert run.main(flags) == 3
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and type(error).__name__ in said and f"{Path(__file__).name}, line " in said


def test_local_files_cannot_be_downloaded() -> None:
    with pytest.raises(DataError, match="cannot be downloaded"):
        NpzPair("mine").download(Path())
    assert _MNIST.downloadable
