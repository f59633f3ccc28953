"""Where the files of a data set may be: sources that name the files they need, read them, and may fetch them.

`files(root)` names what must exist, `read(root)` verifies and reads, `download(root)` fetches where that is
possible. Checksums are compared before a file is parsed.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from empirical.data.arrays import Arrays, Pair, checked
from empirical.data.errors import CorruptData, DataError


class Source(Protocol):
    """One way in which a data set may lie on disk."""

    @property
    def downloadable(self) -> bool:
        """Whether `download` can fetch it."""
        ...

    def files(self, root: Path) -> list[Path]:
        """The files (or folders) that must exist under `root`."""
        ...

    def read(self, root: Path) -> Pair:
        """Both splits, verified; `CorruptData` if a file is not what it should be."""
        ...

    def download(self, root: Path) -> None:
        """Fetch the files into `root`; only where `downloadable`."""
        ...


def digest(path: Path, algorithm: str) -> str:
    """Hexadecimal checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def verify(path: Path, expected: str, algorithm: str) -> None:
    """Raise `CorruptData` unless the file has the expected checksum."""
    found = digest(path, algorithm)
    if found != expected:
        raise CorruptData(
            f"{path}: the {algorithm} checksum is {found}, expected {expected}; "
            "the file is truncated or altered: delete it and fetch it again"
        )


@dataclass(frozen=True)
class NpzPair:
    """`<stem>_train.npz` and `<stem>_test.npz` in the root, with `images` and `labels` (and maybe `classes`).

    A file `SHA256SUMS` beside them, in the format of `sha256sum`, is honoured.
    """

    stem: str
    downloadable: bool = False

    def files(self, root: Path) -> list[Path]:
        """The two archives."""
        return [root / f"{self.stem}_{split}.npz" for split in ("train", "test")]

    def read(self, root: Path) -> Pair:
        """Both archives; the class names come from the training file's `classes`, if it is there."""
        train, test = self.files(root)
        train_arrays, names = read_npz(train)
        return Pair(train_arrays, read_npz(test)[0], names)

    def download(self, root: Path) -> None:
        """Local files have no address."""
        raise DataError(f"{', '.join(map(str, self.files(root)))}: local files cannot be downloaded")


# numpy reports a cut or altered archive in any of these ways
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, AttributeError, TypeError)


def read_npz(path: Path) -> tuple[Arrays, tuple[str, ...] | None]:
    """One split from an archive, and its `classes` where given; no pickled object is ever loaded."""
    expected = _listed_checksum(path)
    if expected is not None:
        verify(path, expected, "sha256")
    if not zipfile.is_zipfile(path):
        raise CorruptData(f"{path}: not a .npz archive, or cut short; write it again by numpy.savez")
    try:
        # opened here, since numpy leaves a damaged archive open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            absent = [key for key in ("images", "labels") if key not in archive.files]
            if absent:
                present = ", ".join(archive.files)
                raise CorruptData(f"{path}: no array {' and '.join(absent)}; it has {present}")
            names = tuple(map(str, archive["classes"].tolist())) if "classes" in archive.files else None
            return checked(archive["images"], archive["labels"], str(path)), names
    except _UNREADABLE as error:
        # numpy's own words would advise to unpickle what nobody should
        what = "it holds Python objects, not numbers" if "pickle" in str(error) else str(error)
        raise CorruptData(f"{path}: not a readable .npz archive ({what}); write it again by numpy.savez") from error


def _listed_checksum(path: Path) -> str | None:
    sums = path.parent / "SHA256SUMS"
    if not sums.is_file():
        return None
    rows = (line.split(maxsplit=1) for line in sums.read_text().splitlines() if line.strip())
    return {name.strip().lstrip("*"): value for value, name in rows}.get(path.name)


@dataclass(frozen=True)
class TorchvisionSet:
    """What torchvision's data set `title` keeps under its root, with the published md5 of each file.

    torchvision reads CIFAR from Python pickles; only files whose checksum is the published one reach it.
    """

    title: str
    md5: Mapping[str, str]
    split_by_name: bool = False
    downloadable: bool = True

    def files(self, root: Path) -> list[Path]:
        """Every file that torchvision will open."""
        return [root / name for name in self.md5]

    def read(self, root: Path) -> Pair:
        """Both splits through torchvision, after the checksums."""
        for name, expected in self.md5.items():
            verify(root / name, expected, "md5")
        return Pair(self._split(root, True), self._split(root, False), self._class_names(root))

    def _build(self, root: Path, train: bool, download: bool) -> Any:
        from torchvision import datasets  # heavy: only when asked for

        chosen = {"split": "train" if train else "test"} if self.split_by_name else {"train": train}
        return getattr(datasets, self.title)(root=str(root), download=download, **chosen)

    def _split(self, root: Path, train: bool) -> Arrays:
        data = self._build(root, train, download=False)
        images = np.asarray(data.data)
        if self.split_by_name:  # SVHN comes channel first
            images = images.transpose(0, 2, 3, 1)
        labels = np.asarray(data.labels if self.split_by_name else data.targets)
        return checked(images, labels, f"{root} ({self.title}, {'train' if train else 'test'})")

    def _class_names(self, root: Path) -> tuple[str, ...] | None:
        names = getattr(self._build(root, False, download=False), "classes", None)
        return tuple(map(str, names)) if names else None

    def download(self, root: Path) -> None:
        """Fetch both splits through torchvision."""
        root.mkdir(parents=True, exist_ok=True)
        try:
            for train in (True, False):
                self._build(root, train, download=True)
        except (OSError, RuntimeError, ValueError) as error:
            wanted = ", ".join(map(str, self.files(root)))
            raise DataError(f"downloading {self.title} failed ({error}); wanted: {wanted}") from error
