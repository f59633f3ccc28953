"""Where the data of a data set may be: sources that name the files they need, read them, and may fetch them."""

from __future__ import annotations

import inspect
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from empirical.data.arrays import Arrays, Pair, checked
from empirical.data.errors import CorruptData, DataError
from empirical.data.npz import read_npz


class Source(ABC):
    """One way in which a data set may lie on disk; a subclass reads it, and says what it needs."""

    downloadable: bool = False
    """Whether `download` can fetch it."""

    def files(self, root: Path) -> list[Path]:
        """The files (or folders) that must exist under `root`; none if the data come from elsewhere."""
        return []

    @abstractmethod
    def read(self, root: Path) -> Pair:
        """Both splits, verified; `CorruptData` if a file is not what it should be."""

    def download(self, root: Path) -> None:
        """Fetch the files into `root`; only where `downloadable`."""
        raise DataError(f"{self.where(root)}: these cannot be downloaded")

    def where(self, root: Path) -> str:
        """Where the data are, in words."""
        files = self.files(root)
        return ", ".join(map(str, files[:2])) + (", ..." if len(files) > 2 else "")


@dataclass(frozen=True)
class NpzPair(Source):
    """`<stem>_train.npz` and `<stem>_test.npz` in the root, with `images` and `labels` (and maybe `classes`).

    A file `SHA256SUMS` beside them, as `sha256sum` writes it, is honoured.
    """

    stem: str

    def files(self, root: Path) -> list[Path]:
        """The two archives."""
        return [root / f"{self.stem}_{split}.npz" for split in ("train", "test")]

    def read(self, root: Path) -> Pair:
        """Both archives; the class names come from the training file's `classes`, if it is there."""
        train, test = self.files(root)
        train_arrays, names = read_npz(train)
        return Pair(train_arrays, read_npz(test)[0], names)


@dataclass(frozen=True)
class FunctionSource(Source):
    """What a function returns; see `empirical.data.registry.register`."""

    function: Callable[..., Any]
    needed: tuple[str, ...] = ()
    fetch: Callable[[Path], None] | None = field(default=None, compare=False)

    @property
    def downloadable(self) -> bool:  # type: ignore[override]
        """Whether there is something to call."""
        return self.fetch is not None

    def files(self, root: Path) -> list[Path]:
        """What the function was registered to need."""
        return [root / name for name in self.needed]

    def read(self, root: Path) -> Pair:
        """Both splits as the function gives them, verified."""
        where, names = self.where(root), None
        with _explained(where):
            found = self.function(root) if inspect.signature(self.function).parameters else self.function()
        if isinstance(found, Pair):
            names = found.class_names
            found = tuple((split.images, split.labels) for split in (found.train, found.test))
        try:
            parts = [(np.asarray(images), np.asarray(labels)) for images, labels in found]
        except (TypeError, ValueError) as error:
            raise CorruptData(f"{where}: the function must return {_FORM}, not {type(found).__name__}") from error
        if len(parts) != 2:
            raise CorruptData(f"{where}: the function must return {_FORM}, not {len(parts)} of these")
        splits: list[Arrays] = [
            checked(*arrays, f"{where} ({name})") for arrays, name in zip(parts, ("train", "test"), strict=True)
        ]
        return Pair(splits[0], splits[1], names)

    def download(self, root: Path) -> None:
        """Calls the function that was registered for it."""
        if self.fetch is None:
            super().download(root)
        else:
            root.mkdir(parents=True, exist_ok=True)
            with _explained(f"the download of {self.where(root)}"):
                self.fetch(root)

    def where(self, root: Path) -> str:
        """The function and its file."""
        code = getattr(self.function, "__code__", None)
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"{name} of {code.co_filename}" if code else name


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """An error of a user's function as one sentence with the line that raised it."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = " ".join(str(error).split())
        raise DataError(f"{where}: {type(error).__name__}: {words} ({last.filename}, line {last.lineno})") from error


_FORM = "((train images, train labels), (test images, test labels))"
