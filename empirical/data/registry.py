"""The data sets known by name, and the door by which one becomes known.

    from empirical.data import register_dataset

    @register_dataset("stripes", flip=True)              # in any file, loaded by --plugin FILE
    def stripes(root):                                   # the folder of --data-root
        return (train_images, train_labels), (test_images, test_labels)

or, where files lie in the data root, `add_dataset(DatasetSpec("stripes", sources=(NpzPair("stripes"),)))`. The
project's own data sets come in by the same door (`digits.py`, `published.py`, `tiny_imagenet.py`). Any pair of `.npz`
files and any folder of pictures needs no name at all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from empirical.data.errors import UnknownDataset
from empirical.data.preprocessing import Normalisation
from empirical.data.sources import FunctionSource, Source
from empirical.runtime.registry import Registry, key

DIGIT_NAMES = tuple("0123456789")


@dataclass(frozen=True)
class DatasetSpec:
    """A named data set.

    Attributes:
        name: letters and digits, perhaps with - or _ between.
        sources: where its files may lie, in the order in which they are looked for.
        classes: number of classes; what the labels say if None.
        channels: of an image; what the images have if None.
        side: height and width of an image in pixels; what the images have if None.
        flip: whether a left-right mirrored image keeps its label.
        normalisation: published constants; measured on the training split if None.
        class_names: one a class; what the source says, else numbers, if None.

    """

    name: str
    _: KW_ONLY
    sources: tuple[Source, ...]
    classes: int | None = None
    channels: int | None = None
    side: int | None = None
    flip: bool = False
    normalisation: Normalisation | None = None
    class_names: tuple[str, ...] | None = None

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether images of (height, width, channels) are of this data set."""
        wanted = (self.side, self.side, self.channels)
        return all(w is None or w == found for w, found in zip(wanted, shape, strict=True))


SPECS: Registry[DatasetSpec] = Registry("data set")
DEFAULT = "digits"


def add(spec: DatasetSpec) -> DatasetSpec:
    """Makes a data set known by its name; returns the spec.

    Raises:
        ValueError: the name is taken by another data set (the same file may be imported again), or is no name.

    """
    caller = sys._getframe(1)
    place = (str(Path(caller.f_code.co_filename).resolve()), caller.f_lineno)
    SPECS.add(spec.name, spec, place)
    return spec


def register(
    name: str,
    *,
    classes: int | None = None,
    flip: bool = False,
    normalisation: Normalisation | None = None,
    class_names: Sequence[str] | None = None,
    files: Sequence[str] = (),
    download: Callable[[Path], None] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: makes the data that the decorated function returns known by a name.

    The function takes the data root (a `Path`; or nothing) and returns `((images, labels), (images, labels))`, train
    and test: uint8 [N, H, W] or [N, H, W, 1 or 3], channels last, and integers [N] from 0 up; or an
    `empirical.data.arrays.Pair`. It is called when the data are needed, not before.

    Args:
        name: letters and digits, perhaps with - or _ between.
        classes: number of classes; what the labels say if None.
        flip: whether a left-right mirrored image keeps its label.
        normalisation: constants; measured on the training split if None.
        class_names: one a class.
        files: that must be in the data root; without them the user is told what is missing.
        download: what `--download` calls, with the data root, to fetch missing files.

    Raises:
        ValueError: the name is taken by another function (the same file may be imported again), or is no name.

    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        spec = DatasetSpec(
            name,
            sources=(FunctionSource(function, tuple(files), download),),
            classes=classes,
            flip=flip,
            normalisation=normalisation,
            class_names=tuple(class_names) if class_names is not None else None,
        )
        SPECS.add(name, spec, function)
        return function

    return decorate


def names() -> list[str]:
    """The known names, the project's own first."""
    return list(SPECS)


def is_path(text: str) -> bool:
    """Whether a text means a place on the disk, whatever it spells: it has a separator, or starts with `.` or `~`."""
    separators = [s for s in (os.sep, os.altsep) if s]
    return text.startswith((".", "~")) or any(s in text for s in separators)


def find(name: str) -> DatasetSpec | None:
    """The spec of that name, or None.

    Case, `-`, `_` and blanks do not matter (`FashionMNIST`, `fashion_mnist`); a path is never a name (`./mnist`).
    """
    return None if is_path(name) else SPECS.find(name)


def borne(text: str) -> DatasetSpec | None:
    """The spec of a name, or of the name that the last part of a path bears (`somewhere/mnist`); or None."""
    return find(text) or find(Path(text).name)


def unknown(name: str, root: str) -> UnknownDataset:
    """The error for a name that is neither known nor files, with the nearest valid name."""
    near = SPECS.nearest(name, cutoff=0.5) if key(name) else None
    guess = f" Did you mean {near}?" if near else ""
    return UnknownDataset(
        f"unknown data set {name!r}.{guess} Valid names: {', '.join(SPECS)}; or the prefix of a file pair "
        f"PREFIX_train.npz, PREFIX_test.npz, or a folder of pictures, as a path or below {root}; or what a plugin has"
    )
