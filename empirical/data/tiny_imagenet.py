"""Tiny-ImageNet from its folder of JPEGs, with download.

Layout, as distributed: `tiny-imagenet-200/wnids.txt`, `train/<wnid>/images/*.JPEG`, `val/images/*.JPEG` with
`val/val_annotations.txt`; a `val/<wnid>/[images/]*.JPEG` tree, which many scripts make of it, is read too.
The test split has no labels, so the validation split is the test set. Labels are ranks of the WordNet ids in
alphabetical order; about 2 % of the images are grey and are repeated over three channels.
"""

from __future__ import annotations

import shutil
import tempfile
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from empirical.data.arrays import Arrays, Pair, checked
from empirical.data.errors import CorruptData, DataError
from empirical.data.sources import verify

FOLDER = "tiny-imagenet-200"
ADDRESS = f"http://cs231n.stanford.edu/{FOLDER}.zip"
ZIP_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
SIDE = 64


@dataclass(frozen=True)
class TinyImageNetFolder:
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
        ids = sorted((folder / "wnids.txt").read_text().split())
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
                    f"{folder / name}: class {ids[label]} has {counts[label]} images, expected {each}; "
                    f"unpack {FOLDER}.zip again"
                )
        return Pair(_decode(train, folder / "train"), _decode(test, folder / "val"), tuple(ids))

    def download(self, root: Path) -> None:
        """Fetch the archive, check its md5, and unpack it; an interrupted download leaves nothing behind."""
        root.mkdir(parents=True, exist_ok=True)
        archive = root / f"{FOLDER}.zip"
        if not archive.exists():
            partial = archive.with_suffix(".zip.part")
            try:
                with urllib.request.urlopen(self.address, timeout=60) as response, partial.open("wb") as file:
                    shutil.copyfileobj(response, file, 1 << 20)
                verify(partial, self.zip_md5, "md5")
                partial.replace(archive)
            except OSError as error:
                raise DataError(
                    f"downloading {self.address} failed ({error}); fetch it by hand as {archive} and repeat"
                ) from error
            finally:
                partial.unlink(missing_ok=True)
        verify(archive, self.zip_md5, "md5")
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(scratch)
            shutil.rmtree(root / FOLDER, ignore_errors=True)
            (Path(scratch) / FOLDER).rename(root / FOLDER)


def _pictures(folder: Path) -> list[Path]:
    inner = folder / "images" if (folder / "images").is_dir() else folder
    return sorted(inner.glob("*.JPEG"))


def _validation_pictures(folder: Path, ids: list[str]) -> list[tuple[Path, int]]:
    label_of = {wnid: label for label, wnid in enumerate(ids)}
    annotations = folder / "val_annotations.txt"
    if not annotations.is_file() or not (folder / "images").is_dir():
        return [(path, label) for wnid, label in label_of.items() for path in _pictures(folder / wnid)]
    entries = []
    for line in annotations.read_text().splitlines():
        name, wnid, *_ = line.split("\t")
        if wnid not in label_of:
            raise CorruptData(f"{annotations}: unknown class id {wnid}")
        entries.append((folder / "images" / name, label_of[wnid]))
    return entries


def _decode(entries: list[tuple[Path, int]], where: Path) -> Arrays:
    images = np.empty((len(entries), SIDE, SIDE, 3), np.uint8)

    def fill(index: int) -> None:
        path = entries[index][0]
        try:
            with Image.open(path) as picture:
                if picture.size != (SIDE, SIDE):
                    raise CorruptData(f"{path}: {picture.size} pixels, expected {(SIDE, SIDE)}")
                images[index] = np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise CorruptData(f"{path}: not a readable JPEG ({error})") from error

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        list(pool.map(fill, range(len(entries)), chunksize=256))
    return checked(images, np.array([label for _, label in entries]), str(where))
