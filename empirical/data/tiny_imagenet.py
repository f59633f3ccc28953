"""Tiny-ImageNet from its folder of JPEGs, with download.

Layout, as distributed: `tiny-imagenet-200/wnids.txt`, `train/<wnid>/images/*.JPEG`, `val/images/*.JPEG` with
`val/val_annotations.txt`; a `val/<wnid>/[images/]*.JPEG` tree, which many scripts make of it, is read too.
The test split has no labels, so the validation split is the test set. Labels are ranks of the WordNet ids in
alphabetical order; about 2 % of the images are grey and are repeated over three channels.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from empirical.data.arrays import Arrays, Pair, checked
from empirical.data.checksums import verify
from empirical.data.errors import CorruptData, DataError, decoding
from empirical.data.pictures import decode
from empirical.data.preprocessing import Normalisation
from empirical.data.registry import DatasetSpec, add
from empirical.data.sources import NpzPair, Source

FOLDER = "tiny-imagenet-200"
ADDRESS = f"http://cs231n.stanford.edu/{FOLDER}.zip"
ZIP_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
SIDE = 64
_CURE = f"unpack {FOLDER}.zip again"


@dataclass(frozen=True)
class TinyImageNetFolder(Source):
    """The unpacked archive under the root; `classes` and the two counts are what a whole copy has."""

    classes: int = 200
    train_per_class: int = 500
    test_per_class: int = 50
    address: str = ADDRESS
    zip_md5: str = ZIP_MD5
    downloadable: bool = True

    def files(self, root: Path) -> list[Path]:
        """The list of classes and the two image trees."""
        return [root / FOLDER / name for name in ("wnids.txt", "train", "val")]

    def read(self, root: Path) -> Pair:
        """Both splits, decoded in parallel; every class and every count is verified first."""
        folder = root / FOLDER
        ids = _class_ids(folder / "wnids.txt")
        found = len(set(ids))
        if found != self.classes:
            raise CorruptData(f"{folder / 'wnids.txt'}: {found} class ids, expected {self.classes}")
        train = [(p, label) for label, wnid in enumerate(ids) for p in _pictures(folder / "train" / wnid)]
        test = _validation_pictures(folder / "val", ids)
        expected = (("train", train, self.train_per_class), ("val", test, self.test_per_class))
        for name, entries, each in expected:
            counts = np.bincount([label for _, label in entries], minlength=self.classes)
            for label in np.flatnonzero(counts != each)[:1]:
                raise CorruptData(
                    f"{folder / name}: class {ids[label]} has {counts[label]} images, expected {each}; {_CURE}"
                )
        return Pair(_decoded(train, folder / "train"), _decoded(test, folder / "val"), tuple(ids))

    def download(self, root: Path) -> None:
        """Fetch the archive, check its md5, and unpack it; an interrupted download leaves nothing behind."""
        root.mkdir(parents=True, exist_ok=True)
        archive = root / f"{FOLDER}.zip"
        if not archive.exists():
            partial = archive.with_suffix(".zip.part")
            try:
                with urllib.request.urlopen(self.address, timeout=60) as response, partial.open("wb") as file:
                    shutil.copyfileobj(response, file, 1 << 20)
                verify(partial, self.zip_md5, "md5", f"fetch it by hand as {archive} and repeat")
                partial.replace(archive)
            except OSError as error:
                raise DataError(
                    f"downloading {self.address} failed ({error}); fetch it by hand as {archive} and repeat"
                ) from error
            finally:
                partial.unlink(missing_ok=True)
        verify(archive, self.zip_md5, "md5", "move it away and fetch it again by --download")
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(scratch)
            shutil.rmtree(root / FOLDER, ignore_errors=True)
            (Path(scratch) / FOLDER).rename(root / FOLDER)


def _class_ids(listed: Path) -> list[str]:
    """The ids of the list, in alphabetical order."""
    with decoding(listed, "list of class ids", _CURE):
        ids = sorted(listed.read_text(encoding="utf-8").split())
    for wnid in ids:
        _refuse_path(wnid, listed)
    return ids


def _refuse_path(name: str, listed: Path) -> None:
    """A list names things beside it, and leads nowhere else."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise CorruptData(f"{listed}: {name!r} is no plain name; {_CURE}")


def _pictures(folder: Path) -> list[Path]:
    inner = folder / "images" if (folder / "images").is_dir() else folder
    return sorted(inner.glob("*.JPEG"))


def _validation_pictures(folder: Path, ids: list[str]) -> list[tuple[Path, int]]:
    label_of = {wnid: label for label, wnid in enumerate(ids)}
    annotations = folder / "val_annotations.txt"
    if not annotations.is_file() or not (folder / "images").is_dir():
        return [(path, label) for wnid, label in label_of.items() for path in _pictures(folder / wnid)]
    with decoding(annotations, "list of pictures", _CURE):
        lines = annotations.read_text(encoding="utf-8").splitlines()
    entries = []
    for line in filter(None, lines):
        name, wnid = (*line.split("\t"), "")[:2]
        _refuse_path(name, annotations)
        if wnid not in label_of:
            raise CorruptData(f"{annotations}: unknown class id {wnid!r}")
        entries.append((folder / "images" / name, label_of[wnid]))
    return entries


def _decoded(entries: list[tuple[Path, int]], where: Path) -> Arrays:
    images = decode([path for path, _ in entries], (SIDE, SIDE), grey=False, cure=_CURE)
    return checked(images, np.array([label for _, label in entries]), str(where))


add(
    DatasetSpec(
        "tiny-imagenet",
        sources=(NpzPair("tiny_imagenet"), NpzPair("tinyimagenet"), TinyImageNetFolder()),
        classes=200,
        channels=3,
        side=SIDE,
        flip=True,
        normalisation=Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    )
)
