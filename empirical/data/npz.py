"""One split from an `.npz` archive: nothing is allocated, inflated or executed before its headers have been read.

An archive is a zip of `.npy` files. Each says its type and shape in a few bytes, and the zip says how long it is; both
must agree, be of a kind that a data set can have, and fit into the memory that is free. No pickle is ever loaded.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from empirical.data.arrays import Arrays, checked
from empirical.data.checksums import verify_listed
from empirical.data.errors import CorruptData, TooLarge, decoding
from empirical.runtime.memory import refuse_too_large

_CURE = "write it again by numpy.savez"
_KIND = ".npz archive"


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes: int


def read_npz(path: Path) -> tuple[Arrays, tuple[str, ...] | None]:
    """The split in an archive (`images`, `labels`), and its class names `classes` where given.

    Raises:
        CorruptData: the archive is damaged, its checksum is not the listed one, or it holds something else.

    """
    verify_listed(path)
    with decoding(path, _KIND, _CURE):
        if not path.is_file():
            raise CorruptData(f"{path}: not a {_KIND} but a folder or device; {_CURE}")
        if not zipfile.is_zipfile(path):
            raise CorruptData(f"{path}: not a {_KIND}, or cut short; {_CURE}")
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            absent = [key for key in ("images", "labels") if key not in members]
            if absent:
                raise CorruptData(f"{path}: no array {' and '.join(absent)}; it has {_names(members)}")
            wanted = {key: members[key] for key in ("images", "labels", "classes") if key in members}
            headers = {key: _header(archive, entry, path) for key, entry in wanted.items()}
            if headers["images"].dtype != np.uint8:
                raise CorruptData(f"{path}: images are {headers['images'].dtype}; uint8 (0..255) is needed")
            # the images are held twice while they are put into the order of networks
            refuse_too_large(2 * sum(h.bytes for h in headers.values()), str(path), error=TooLarge)
            arrays = {key: _array(archive, entry) for key, entry in wanted.items()}
    split = checked(arrays["images"], arrays["labels"], str(path))
    return split, _class_names(arrays["classes"], path) if "classes" in arrays else None


def _names(members: Iterable[str]) -> str:
    """The first few, as they may be shown."""
    shown = [name if name.isprintable() else repr(name) for name in members]
    return ", ".join(shown[:10]) + (", ..." if len(shown) > 10 else "") or "none"


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> _Header:
    """Type and shape that an array declares, checked against its length; nothing but the header is read."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        size = file.tell()
    if dtype.hasobject:
        raise CorruptData(f"{path}: {entry.filename} holds Python objects, not numbers; {_CURE}")
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size + declared != entry.file_size:
        raise CorruptData(
            f"{path}: {entry.filename} declares an array of shape {list(shape)} and type {dtype}, {declared} bytes, "
            f"but holds {entry.file_size - size}; {_CURE}"
        )
    return _Header(shape, dtype, declared)


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        file.read()  # to the end, where the archive's own checksum is compared
        return array


def _class_names(names: NDArray[Any], path: Path) -> tuple[str, ...]:
    """As text; byte strings are UTF-8."""
    if names.ndim != 1:
        raise CorruptData(f"{path}: classes has shape {list(names.shape)}; one name a class is needed")
    return tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names.tolist())
