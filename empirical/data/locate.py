"""From what a user typed to the data: a known name, a path, or a prefix below the data root.

    mnist                        a known name: its files in the data root, and only they
    ./mnist  d/mnist  ~/mnist    a path, whatever it spells: `_train.npz` and `_test.npz` with that beginning, or a
                                 folder of pictures
    mine                         no known name: the same, in the current folder and then in the data root

A path whose last part is a known name bears that name. If its images are of that data set's size and its labels of as
many classes, it takes the constants, class names and `flip`; else it is a data set of its own, and a warning says so.
The published settings of that name (presets, lambda, protocol) count either way: they are chosen by the name alone.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

from empirical.data.arrays import Pair, class_count
from empirical.data.errors import CorruptData, MissingData, UnknownDataset
from empirical.data.picture_folder import PictureFolders
from empirical.data.registry import DatasetSpec, find, is_path, unknown
from empirical.data.sources import NpzPair, Source

_FORM = (
    "a local data set is a pair PREFIX_train.npz and PREFIX_test.npz, each with images (uint8 [N, H, W] or "
    "[N, H, W, 3]) and labels (integers [N]), or folders PREFIX/train/CLASS and PREFIX/test/CLASS of pictures"
)


class Found(NamedTuple):
    """Data as they were found.

    Attributes:
        spec: of the data set, where a name's constants count; else None.
        pair: both splits.
        classes: number of classes.
        source: where they were, in words.
        place: absolute path that finds them again, from any folder: the data root of a name, the prefix of files;
            None if no file is needed.

    """

    spec: DatasetSpec | None
    pair: Pair
    classes: int
    source: str
    place: str | None


def locate(name: str, root: Path, download: bool) -> Found:
    """Both splits of a data set, read and verified.

    Raises:
        UnknownDataset: no such name or files. MissingData: files absent. CorruptData: files unusable.

    """
    spec = find(name)
    return _of_files(name, root) if spec is None else _of_name(spec, root, download)


def expanded(path: str | Path) -> Path:
    """A path with `~` and `~user` at its beginning replaced by the home folder.

    Raises:
        ValueError: no such user.

    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"{path}: there is no user with that home folder") from None


def _of_name(spec: DatasetSpec, root: Path, download: bool) -> Found:
    source = _present(spec.sources, root)
    if source is None and download:
        source = next((s for s in spec.sources if s.downloadable), None)
        if source is not None:
            source.download(root)
    if source is None:
        raise MissingData(_missing_message(spec, root))
    pair, where = source.read(root), source.where(root)
    shape = pair.train.images.shape[1:]
    if not spec.accepts(shape):
        raise CorruptData(
            f"{where}: images are {list(shape)}, but {spec.name} has "
            f"{[spec.side, spec.side, spec.channels]} (height, width, channels)"
        )
    why = f"; {spec.name} has {spec.classes} classes (for a data set of your own, give its path, such as ./{spec.name})"
    classes = class_count(pair, spec.classes, where, why)
    return Found(spec, pair, classes, where, str(root.absolute()) if source.files(root) else None)


def _present(sources: tuple[Source, ...], root: Path) -> Source | None:
    return next((s for s in sources if all(f.exists() for f in s.files(root))), None)


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


def _of_files(name: str, root: Path) -> Found:
    missing: list[Path] = []
    for prefix in _prefixes(name, root):
        for source in (NpzPair(prefix.name), PictureFolders(prefix.name)):
            files = source.files(prefix.parent)
            if all(f.exists() for f in files):
                return _own(source, prefix)
            if any(f.exists() for f in files):
                missing += [f for f in files if not f.exists()]
    if not missing and is_path(name):
        missing = NpzPair(_prefixes(name, root)[0].name).files(_prefixes(name, root)[0].parent)
    if missing:
        absent = ", ".join(map(str, dict.fromkeys(missing)))
        raise MissingData(f"{name}: missing {absent}; {_FORM}; or name the folder they are in with --data-root")
    raise unknown(name, str(root))


def _prefixes(name: str, root: Path) -> list[Path]:
    """Where a prefix may lead, in order: as typed, below the root, and its last part in the root."""
    if not name.strip():
        raise UnknownDataset(f"{name!r} names no data set; {_FORM}")
    typed = expanded(name)
    places = dict.fromkeys([typed, root / typed, root / typed.name])
    return [prefix for place in places for prefix in _stems(place)]


def _stems(place: Path) -> list[Path]:
    """The prefix itself, and what it is if the name of one of its files was typed."""
    stem = place.name.removesuffix(".npz")
    half = next((s for s in ("_train", "_test") if stem.endswith(s) and stem != s), None)
    whole = [] if half is None else [place.with_name(stem.removesuffix(half))]
    as_typed = [place.with_name(stem)] if stem else [place]
    return [*whole, *as_typed] if stem != place.name else [*as_typed, *whole]


def _own(source: Source, prefix: Path) -> Found:
    """A data set of the user's files, under a name's constants where it bears the name and is like it."""
    pair, where = source.read(prefix.parent), source.where(prefix.parent)
    classes = class_count(pair, None, where)
    spec = find(prefix.name)
    shape = pair.train.images.shape[1:]
    if spec is not None and not (spec.accepts(shape) and spec.classes in (None, classes)):
        warnings.warn(
            f"{where}: {classes} classes of images {list(shape)}, unlike {spec.name} whose name the files bear: its "
            "constants and class names are not taken, its published settings are; rename the files if neither is meant",
            stacklevel=2,
        )
        spec = None
    return Found(spec, pair, classes, where, str(prefix.absolute()))
