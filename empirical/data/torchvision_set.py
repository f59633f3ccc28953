"""Data sets in torchvision's layout, read through torchvision once every file has its published checksum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from empirical.data.arrays import Arrays, Pair, checked
from empirical.data.checksums import verify
from empirical.data.errors import DataError, decoding
from empirical.data.sources import Source


@dataclass(frozen=True)
class TorchvisionSet(Source):
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
        cure = "fetch it again by --download, with a new folder for --data-root"
        for name, expected in self.md5.items():
            verify(root / name, expected, "md5", cure)
        with decoding(root, f"{self.title} in torchvision's layout", cure):
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
