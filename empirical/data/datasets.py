"""A data set by name or path, whole on the device as uint8, indexed by class.

    data = load("digits")                                    # bundled, no download
    data = load("mnist", data_root="data", download=True)    # mnist_{train,test}.npz or torchvision's layout
    data = load("path/to/prefix")                            # prefix_train.npz and prefix_test.npz, or pictures
    x = data.normalise(data.train.images[:256])              # float, on the device

Nothing loops over images. Missing files raise `MissingData`, unusable ones `CorruptData`, before any work.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from empirical.data.arrays import Arrays, fingerprint
from empirical.data.errors import CorruptData, DataError, MissingData, UnknownDataset
from empirical.data.locate import expanded, locate
from empirical.data.preprocessing import Normalisation, Preprocessing, to_pixels
from empirical.data.registry import DEFAULT, SPECS, find
from empirical.data.stratified import held_out, subset

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
    "load_recorded",
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
        place: absolute path that finds the files again: the data root of a named set, the prefix of other files; None
            if there are none.
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
    place: str | None = None
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
            "place": self.place,
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
        name_or_path: a name of `SPECS`, or files as a path or below the root: the prefix of a pair
            `PREFIX_{train,test}.npz`, or a folder of pictures (`empirical.data.picture_folder`). Text with a separator,
            or that starts with `.` or `~`, is a path and never a name (`./mnist`). A path that ends in a known name
            takes that set's constants, class names and `flip` if its image size and number of classes are that
            set's, and is a set of its own if not (`empirical.data.locate`).
        data_root: folder with `<name>_{train,test}.npz` or torchvision's layout; `data` if None.
        download: fetch what is missing, by torchvision or (Tiny-ImageNet) from its published address.
        device: where the images live.
        validation: share of each class, in (0, 1), held out of the training split; 0 for none.
        seed: of that hold-out.
        train_images: use exactly so many training images, each class in its proportion and with at least one, drawn
            once and for all (the same for every seed); None for all.

    Raises:
        UnknownDataset: no such name or files. MissingData: files absent. CorruptData: files unusable.
        ValueError: `validation` outside [0, 1) or a class too small for it, or fewer `train_images` than classes or
            more than there are.

    """
    return _loaded(name_or_path, data_root, download, device, validation, seed, train_images)


def load_recorded(
    described: Mapping[str, Any],
    *,
    data_root: str | Path | None = None,
    download: bool = False,
    device: str | torch.device = "cpu",
) -> Dataset:
    """The data set that a record describes (`Dataset.describe`), from any folder.

    Args:
        described: of the record. One of an earlier version says where its data were as it was typed, and may have
            taken not exactly as many training images as asked for; it gets the same ones.
        data_root: where the files are now, if they were moved; else where they were.
        download: fetch what is missing.
        device: where the images live.

    Raises:
        KeyError: the record names no data set; others as `load`.

    """
    name, place = described["name"], described.get("place")
    if "place" not in described:  # an earlier version took `./digits` for the name that it spells
        spelled = SPECS.find("".join(c for c in name if c.isalnum()))
        name = spelled.name if spelled is not None else name
    if find(name) is None:  # files of the user's
        name = _below(expanded(data_root), name) if data_root is not None else _still_there(place, name)
    elif data_root is None and place is not None and Path(place).is_dir():
        data_root = place
    asked, sizes = described.get("train_images"), described.get("sizes", {})
    taken = sizes.get("train", 0) + sizes.get("validation", 0)
    found = _loaded(
        name,
        data_root if data_root is not None else described.get("root"),
        download,
        device,
        described.get("held_out", 0),
        described.get("held_out_seed", 0),
        asked,
        rounded=asked is not None and bool(sizes) and taken != asked,
    )
    return replace(found, name=described["name"])


def _still_there(place: str | None, name: str) -> str:
    """The recorded place of files, else what was typed then."""
    return place if place is not None and _exists(place) else name


def _below(root: Path, path: str) -> str:
    """A recorded path below another root, if it is there in whole or by its last part; else as it was."""
    typed = expanded(path)
    relative = [] if typed.is_absolute() else [root / typed]
    return next((str(p) for p in (*relative, root / typed.name) if _exists(str(p))), path)


def _exists(prefix: str) -> bool:
    """Whether files or folders with that beginning are there."""
    path = Path(prefix)
    return path.is_dir() or (path.parent.is_dir() and any(path.parent.glob(f"{glob.escape(path.name)}*")))


def _loaded(
    name: str,
    data_root: str | Path | None,
    download: bool,
    device: str | torch.device,
    validation: float,
    seed: int,
    train_images: int | None,
    rounded: bool = False,
) -> Dataset:
    """See `load`; `rounded`: the subset as an earlier version took it."""
    if not 0 <= validation < 1:
        raise ValueError(f"--validation is a share of the training split in [0, 1), not {validation}")
    root = expanded(data_root) if data_root is not None else DEFAULT_ROOT
    spec, pair, classes, source, place = locate(name, root, download)
    names = pair.class_names or (spec.class_names if spec else None) or tuple(map(str, range(classes)))
    if len(names) != classes:
        raise CorruptData(f"{source}: {len(names)} class names for {classes} classes")
    train, held = _some(pair.train, train_images, classes, rounded), None
    mark = fingerprint(replace(pair, train=train))
    if validation:
        _refuse_hold_out(train, validation, names, name, train_images)
        mask = held_out(train.labels, validation, seed)
        held = Arrays(train.images[mask], train.labels[mask])
        train = Arrays(train.images[~mask], train.labels[~mask])
    train_split = _to_device(train, classes, device)
    normalisation = spec.normalisation if spec else None
    return Dataset(
        name=name,
        train=train_split,
        test=_to_device(pair.test, classes, device),
        validation=_to_device(held, classes, device) if held else None,
        class_names=names,
        preprocessing=normalisation or Normalisation.measured(train_split.images),
        flip=spec.flip if spec else False,
        source=source,
        fingerprint=mark,
        root=str(data_root) if data_root is not None else None,
        place=place,
        held_out=float(validation),
        held_out_seed=seed,
        train_images=train_images,
    )


def _some(arrays: Arrays, count: int | None, classes: int, rounded: bool) -> Arrays:
    """`count` of the images, in the order in which they stand; all if None."""
    if count is None:
        return arrays
    size = len(arrays.labels)
    if not classes <= count <= size:
        raise ValueError(f"--train-images is between {classes} (one a class) and {size} (all), not {count}")
    mask = subset(arrays.labels, count, SUBSET_SEED, rounded)
    return Arrays(arrays.images[mask], arrays.labels[mask])


def _refuse_hold_out(train: Arrays, share: float, names: tuple[str, ...], name: str, count: int | None) -> None:
    """Says which class is too small for a hold-out, and what helps."""
    sizes = np.bincount(train.labels, minlength=len(names))
    if sizes.min() > 1:
        return
    more = f", or more than --train-images {count}" if count is not None else ""
    raise ValueError(
        f"--validation {share:g} holds a part of each class out of the training images, but class "
        f"{names[int(sizes.argmin())]} of {name} has one: give --validation 0{more}, or add images to the class"
    )


def _to_device(arrays: Arrays, classes: int, device: str | torch.device) -> Split:
    images = torch.from_numpy(np.ascontiguousarray(arrays.images.transpose(0, 3, 1, 2)))
    return Split(images.to(device), torch.from_numpy(arrays.labels).to(device), classes)
