"""A folder of pictures, one sub-folder a class, as a data set.

    ROOT/train/CLASS/*.png    ROOT/test/CLASS/*.png       (`val`, `valid`, `validation` where there is no `test`)
    ROOT_train/CLASS/*.png    ROOT_test/CLASS/*.png
    ROOT/CLASS/*.png          one picture in five of each class, chosen once and for all, is test

Classes are in alphabetical order of their folders, in numerical order where all names are numbers; folders that
`empirical.synthetic.export` wrote (`00_name`) give their names back. Pictures may lie up to two levels deeper; hidden
files and other endings are passed over.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from empirical.data.arrays import Arrays, Pair, checked
from empirical.data.errors import CorruptData, decoding
from empirical.data.pictures import ENDINGS, common_size, decode, heads, is_picture
from empirical.data.sources import Source
from empirical.data.stratified import held_out

DEPTH = 2
"""Levels below a class's folder in which pictures are looked for; a whole disk is not walked through by mistake."""
_TEST_NAMES = ("test", "val", "valid", "validation")
TEST_SHARE = 1 / 5
_SPLIT_SEED = 1797
_EXPORTED = re.compile(r"(\d+)_(.+)")


@dataclass(frozen=True)
class PictureFolders(Source):
    """Class folders at one place, named by `stem` below the root as in the module."""

    stem: str

    def splits(self, root: Path) -> tuple[Path, Path | None] | None:
        """The folders of train and test (None: it is held out of train); None if no pictures are there."""
        place = root / self.stem
        pairs = [(place / "train", place / name) for name in _TEST_NAMES]
        if place.name:
            pairs.append((place.with_name(f"{place.name}_train"), place.with_name(f"{place.name}_test")))
        for train, test in pairs:
            if _class_folders(test) and _class_folders(train):
                return train, test
        halves = any(_class_folders(place / name) for name in ("train", *_TEST_NAMES))
        return None if halves or not _class_folders(place) else (place, None)

    def files(self, root: Path) -> list[Path]:
        """The folders, or those of the first layout where there is none."""
        found = self.splits(root)
        if found is None:
            return [root / self.stem / name for name in ("train", "test")]
        return [folder for folder in found if folder is not None]

    def read(self, root: Path) -> Pair:
        """Both splits, decoded in parallel; sizes and class folders are verified first."""
        found = self.splits(root)
        if found is None:
            raise CorruptData(f"{self.where(root)}: no folders of pictures, one a class")
        folders = [folder for folder in found if folder is not None]
        classes = _class_folders(folders[0])
        _refuse_bare(folders[0], classes)
        paths, labels = _listed(folders[0], classes)
        tests, test_labels = _listed(folders[1], classes) if len(folders) > 1 else ([], [])
        everything = [*paths, *tests]
        known = heads(everything)
        size = common_size(everything, known, str(root / self.stem))
        grey = all(head.grey for head in known)
        train = checked(decode(paths, size, grey), np.array(labels), str(folders[0]))
        if tests:
            test = checked(decode(tests, size, grey), np.array(test_labels), str(folders[1]))
        else:
            train, test = _parted(train, classes, folders[0])
        return Pair(train, test, _class_names(classes))

    def where(self, root: Path) -> str:
        """The folders, and whether test is a part of train."""
        found = self.splits(root)
        alone = found is not None and found[1] is None
        return super().where(root) + (" (one picture in five of each class is test)" if alone else "")


def _class_folders(folder: Path) -> list[str]:
    """Names of the folders with pictures in or below them, in the order of labels."""
    if not folder.is_dir():
        return []
    with decoding(folder, "folder of pictures", "let it be read"):
        names = [f.name for f in folder.iterdir() if f.is_dir() and any(_pictures(f))]
    numbers = all(name.isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name) if numbers else 0, name))


def _refuse_bare(folder: Path, classes: list[str]) -> None:
    """A class whose pictures are not found would be missed without a word."""
    folders = sorted(f.name for f in folder.iterdir() if f.is_dir() and f.name[0] != "." and f.name != "__MACOSX")
    for name in folders:
        if name not in classes:
            raise CorruptData(
                f"{folder / name}: no pictures in this class's folder ({', '.join(ENDINGS)}, at most {DEPTH} levels "
                "deeper); put them there, or move the folder away"
            )


def _listed(folder: Path, classes: list[str]) -> tuple[list[Path], list[int]]:
    """Every picture with its label, class by class, in alphabetical order."""
    strange = sorted(set(_class_folders(folder)) - set(classes))
    if strange:
        raise CorruptData(
            f"{folder}: {strange[0]} is no class of the training pictures, which are {', '.join(classes[:10])}"
            f"{', ...' if len(classes) > 10 else ''}"
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        own = sorted(_pictures(folder / name))
        paths += own
        labels += [label] * len(own)
    return paths, labels


def _pictures(folder: Path) -> Iterator[Path]:
    """Those in a class's folder and up to `DEPTH` levels below it; nothing hidden."""
    if folder.name.startswith("."):
        return
    for place, inner, files in os.walk(folder, onerror=_refuse_unreadable):
        deep = len(Path(place).relative_to(folder).parts) >= DEPTH
        inner[:] = [] if deep else sorted(name for name in inner if not name.startswith("."))
        yield from (path for name in files if is_picture(path := Path(place, name)))


def _refuse_unreadable(error: OSError) -> None:
    """A class must not be missed because its folder may not be read; what has just gone is no loss."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _parted(whole: Arrays, classes: list[str], folder: Path) -> tuple[Arrays, Arrays]:
    sizes = np.bincount(whole.labels)
    if min(sizes) < 2:
        raise CorruptData(
            f"{folder}: class {classes[int(sizes.argmin())]} has one picture, of which none can be held out as test; "
            f"put the training pictures into {folder / 'train'} and test pictures into {folder / 'test'}"
        )
    warnings.warn(
        f"{folder}: no test pictures beside these; one in five of each class is taken out as test, always the same",
        stacklevel=2,
    )
    mask = held_out(whole.labels, TEST_SHARE, _SPLIT_SEED)
    return (
        Arrays(whole.images[~mask], whole.labels[~mask]),
        Arrays(whole.images[mask], whole.labels[mask]),
    )


def _class_names(folders: list[str]) -> tuple[str, ...]:
    """The folders' names; without their numbers where these are 0, 1, 2, ..."""
    exported = [_EXPORTED.fullmatch(name) for name in folders]
    if all(m and int(m[1]) == label for label, m in enumerate(exported)):
        return tuple(m[2] for m in exported if m)
    return tuple(folders)
