"""A data set by name or path, whole on the device as uint8, indexed by class.

    data = load("digits")                                    # bundled, no download
    data = load("mnist", data_root="data", download=True)    # mnist_{train,test}.npz or torchvision's layout
    data = load("path/to/prefix")                            # prefix_train.npz and prefix_test.npz
    x = data.normalise(data.train.images[:256])              # float, on the device

Nothing loops over images. Missing files raise `MissingData`, unusable ones `CorruptData`, before any work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from empirical.data.arrays import Arrays, Pair, class_count, fingerprint
from empirical.data.digits import held_out
from empirical.data.errors import CorruptData, DataError, MissingData, UnknownDataset
from empirical.data.preprocessing import Normalisation, Preprocessing, to_pixels
from empirical.data.registry import DEFAULT, SPECS, DatasetSpec, find, unknown
from empirical.data.sources import NpzPair, Source

__all__ = [
    "DEFAULT",
    "DEFAULT_ROOT",
    "SPECS",
    "CorruptData",
    "DataError",
    "Dataset",
    "MissingData",
    "Split",
    "UnknownDataset",
    "load",
]

DEFAULT_ROOT = Path("data")
SUBSET_SEED = 1
"""Of the choice of `train_images`; not the hold-out's 0, so that neither choice depends on the other."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split, on one device.

    `images`: uint8 [N, C, H, W], contiguous; `labels`: int64 [N]; `classes`: how many labels there may be.
    """

    images: Tensor
    labels: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def class_sizes(self) -> tuple[int, ...]:
        """Images in each class."""
        return tuple(torch.bincount(self.labels, minlength=self.classes).tolist())

    @cached_property
    def _order(self) -> Tensor:
        """All indices, class after class."""
        return torch.argsort(self.labels, stable=True)

    @cached_property
    def _class_starts(self) -> tuple[int, ...]:
        """Where each class begins in that order."""
        return tuple(accumulate(self.class_sizes[:-1], initial=0))

    @cached_property
    def by_class(self) -> tuple[Tensor, ...]:
        """For each class the indices of its images, ascending, int64 on the device."""
        return torch.split(self._order, list(self.class_sizes))

    def draw(self, generator: Generator, count: int) -> tuple[Tensor, ...]:
        """For each class `count` indices without replacement (all, shuffled, if the class is smaller)."""
        orders = [
            torch.randperm(size, generator=generator, device=generator.device)[:count] for size in self.class_sizes
        ]
        # One copy to the device for all classes, which the host does not wait for.
        places = torch.cat([o + start for o, start in zip(orders, self._class_starts, strict=True)])
        indices = self._order[places.to(self._order.device, non_blocking=True)]
        return torch.split(indices, [len(o) for o in orders])

    def subset(self, indices: Tensor) -> Split:
        """The images at `indices`, in that order."""
        indices = indices.to(self.labels.device)
        return Split(self.images[indices], self.labels[indices], self.classes)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train, test and (on request) validation split, and how pixels become network inputs.

    Attributes:
        name: as it was asked for.
        class_names: one a class.
        preprocessing: normalisation by published constants, else by the training split's; or whitening.
        flip: whether a mirrored image is known to keep its label (false for digits and for unnamed sets).
        source: where the files were found, in words.
        fingerprint: sha256 of the pixels and labels of train (what of it is used) and test, before any hold-out.
        root: the data root, as it was given.
        held_out: share of the training split that became the validation split.
        held_out_seed: of that draw.
        train_images: how many training images were asked for; None for all.

    """

    name: str
    train: Split
    test: Split
    validation: Split | None
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    flip: bool
    source: str
    fingerprint: str
    root: str | None = None
    held_out: float = 0
    held_out_seed: int = 0
    train_images: int | None = None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.train.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.train.images.device

    def normalise(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Network inputs from uint8 images [N, C, H, W]."""
        return self.preprocessing.apply(to_pixels(images, dtype))

    def denormalise(self, inputs: Tensor) -> Tensor:
        """Floating pixels (in [0, 1] for real images, unclipped otherwise) from network inputs."""
        return self.preprocessing.invert(inputs)

    def with_preprocessing(self, preprocessing: Preprocessing) -> Dataset:
        """The same data behind another map, such as `Whitening.fit(dataset.train.images)`."""
        return replace(self, preprocessing=preprocessing)

    def describe(self) -> dict[str, Any]:
        """What a run record keeps: plain JSON values."""
        return {
            "name": self.name,
            "source": self.source,
            "root": self.root,
            "fingerprint": self.fingerprint,
            "shape": list(self.shape),
            "classes": self.classes,
            "sizes": {
                "train": len(self.train),
                "test": len(self.test),
                "validation": len(self.validation) if self.validation is not None else 0,
            },
            "held_out": self.held_out,
            "held_out_seed": self.held_out_seed,
            "train_images": self.train_images,
            "flip": self.flip,
            "preprocessing": self.preprocessing.describe(),
        }


def load(
    name_or_path: str = DEFAULT,
    *,
    data_root: str | Path | None = None,
    download: bool = False,
    device: str | torch.device = "cpu",
    validation: float = 0,
    seed: int = 0,
    train_images: int | None = None,
) -> Dataset:
    """Read, verify and index a data set, and put it on the device once.

    Args:
        name_or_path: a name of `SPECS`, or the prefix of a pair `PREFIX_{train,test}.npz` as a path or
            below the root. A prefix that ends in a known name (`somewhere/mnist`), with images of its size,
            takes that set's constants, class names and `flip`.
        data_root: folder with `<name>_{train,test}.npz` or torchvision's layout; `data` if None.
        download: fetch what is missing, by torchvision or (Tiny-ImageNet) from its published address.
        device: where the images live.
        validation: share of each class, in (0, 1), held out of the training split; 0 for none.
        seed: of that hold-out.
        train_images: use about so many training images, each class in its proportion, drawn once and for all (the
            same for every seed); None for all.

    Raises:
        UnknownDataset: no such name or pair. MissingData: files absent. CorruptData: files unusable.
        ValueError: `validation` outside [0, 1), or fewer `train_images` than classes or more than there are.

    """
    if not 0 <= validation < 1:
        raise ValueError(f"validation is a share of the training split in [0, 1), got {validation}")
    root = Path(data_root) if data_root is not None else DEFAULT_ROOT
    spec, pair, source = _locate(name_or_path, root, download)
    classes = class_count(pair, spec.classes if spec else None, source)
    names = pair.class_names or (spec.class_names if spec else None) or tuple(map(str, range(classes)))
    if len(names) != classes:
        raise CorruptData(f"{source}: {len(names)} class names for {classes} classes")
    if train_images is not None:
        pair = replace(pair, train=_some(pair.train, train_images, classes))
    mark = fingerprint(pair)
    train, held = pair.train, None
    if validation:
        mask = held_out(train.labels, validation, seed)
        held = Arrays(train.images[mask], train.labels[mask])
        train = Arrays(train.images[~mask], train.labels[~mask])
    train_split = _to_device(train, classes, device)
    normalisation = spec.normalisation if spec else None
    return Dataset(
        name=name_or_path,
        train=train_split,
        test=_to_device(pair.test, classes, device),
        validation=_to_device(held, classes, device) if held else None,
        class_names=names,
        preprocessing=normalisation or Normalisation.measured(train_split.images),
        flip=spec.flip if spec else False,
        source=source,
        fingerprint=mark,
        root=str(data_root) if data_root is not None else None,
        held_out=float(validation),
        held_out_seed=seed,
        train_images=train_images,
    )


def _some(arrays: Arrays, count: int, classes: int) -> Arrays:
    """About `count` of the images, each class in its proportion; in the order in which they stand."""
    size = len(arrays.labels)
    if not classes <= count <= size:
        raise ValueError(f"--train-images is between {classes} (one a class) and {size} (all), not {count}")
    mask = held_out(arrays.labels, count / size, SUBSET_SEED) if count < size else np.ones(size, bool)
    return Arrays(arrays.images[mask], arrays.labels[mask])


def _to_device(arrays: Arrays, classes: int, device: str | torch.device) -> Split:
    images = torch.from_numpy(np.ascontiguousarray(arrays.images.transpose(0, 3, 1, 2)))
    return Split(images.to(device), torch.from_numpy(arrays.labels).to(device), classes)


def _locate(name: str, root: Path, download: bool) -> tuple[DatasetSpec | None, Pair, str]:
    """The spec (None for an unnamed pair), both splits, and a sentence on where they came from."""
    spec = find(name)
    if spec is None:
        return _read_prefix(name, root)
    source = _present(spec.sources, root)
    if source is None and download:
        source = next((s for s in spec.sources if s.downloadable), None)
        if source is not None:
            source.download(root)
    if source is None:
        raise MissingData(_missing_message(spec, root))
    pair = source.read(root)
    if not _fits(spec, pair):
        raise CorruptData(
            f"{_where(source, root)}: images are {list(pair.train.images.shape[1:])}, but {spec.name} has "
            f"{[spec.side, spec.side, spec.channels]} (height, width, channels)"
        )
    return spec, pair, _where(source, root)


def _present(sources: tuple[Source, ...], root: Path) -> Source | None:
    return next((s for s in sources if all(f.exists() for f in s.files(root))), None)


def _where(source: Source, root: Path) -> str:
    files = source.files(root)
    return ", ".join(map(str, files[:2])) + (", ..." if len(files) > 2 else "") if files else "scikit-learn"


def _fits(spec: DatasetSpec, pair: Pair) -> bool:
    return pair.train.images.shape[1:] == (spec.side, spec.side, spec.channels)


def _missing_message(spec: DatasetSpec, root: Path) -> str:
    ways = []
    for source in spec.sources:
        absent = [f for f in source.files(root) if not f.exists()]
        ways.append(", ".join(str(f.relative_to(root)) for f in absent))
    fetch = "or repeat with --download" if any(s.downloadable for s in spec.sources) else ""
    return (
        f"{spec.name}: files are missing from {root.absolute()}; put there either "
        + "; or ".join(ways)
        + f"; or name another folder with --data-root {fetch}".rstrip()
    )


def _read_prefix(name: str, root: Path) -> tuple[DatasetSpec | None, Pair, str]:
    prefix = name.removesuffix(".npz").removesuffix("_train").removesuffix("_test")
    candidates = [Path(prefix)] if Path(prefix).is_absolute() else [Path(prefix), root / prefix]
    some = []
    for candidate in candidates:
        source = NpzPair(candidate.name)
        files = source.files(candidate.parent)
        if all(f.exists() for f in files):
            pair = source.read(candidate.parent)
            spec = find(candidate.name)
            return spec if spec and _fits(spec, pair) else None, pair, _where(source, candidate.parent)
        some += files if any(f.exists() for f in files) or "/" in name else []
    if some:
        absent = ", ".join(str(f) for f in some if not f.exists())
        raise MissingData(
            f"{name}: missing {absent}; a local data set is a pair PREFIX_train.npz and PREFIX_test.npz, "
            "each with images (uint8 [N, H, W] or [N, H, W, 3]) and labels (integers [N])"
        )
    raise unknown(name, str(root))
