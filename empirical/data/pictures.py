"""Picture files (PNG, JPEG, ...) as one uint8 array: sizes and colours are read first, pixels after, in parallel.

Grey stays grey (one channel) where every picture is grey; else all get three channels. Transparency is dropped.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from empirical.data.errors import CorruptData, TooLarge, decoding
from empirical.runtime.memory import refuse_too_large

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_GREY = ("1", "L", "LA", "La")
_EIGHT_BITS = (*_GREY, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_CURE = "restore it from where it came, or move it out of the folder"


class Head(NamedTuple):
    """What a picture says of itself before its pixels are read."""

    width: int
    height: int
    grey: bool


def is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a picture; hidden files are none."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def heads(paths: Sequence[Path]) -> list[Head]:
    """Size and kind of every picture.

    Raises:
        CorruptData: a file is no picture, or has more than 8 bits a channel.

    """
    with warnings.catch_warnings():  # a picture of absurd size is refused by its size, like any other
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with ThreadPoolExecutor() as pool:
            return list(pool.map(_head, paths, chunksize=256))


def common_size(paths: Sequence[Path], found: Sequence[Head], where: str) -> tuple[int, int]:
    """(height, width) of all pictures.

    Raises:
        CorruptData: they differ, or do not fit into memory.

    """
    sizes = Counter((head.height, head.width) for head in found)
    (height, width), _ = sizes.most_common(1)[0]
    for path, head in zip(paths, found, strict=True):
        if (head.height, head.width) != (height, width):
            raise CorruptData(
                f"{where}: pictures of {len(sizes)} sizes: {path} is {head.height} x {head.width} pixels, most are "
                f"{height} x {width}; bring all to one size"
            )
    channels = 1 if all(head.grey for head in found) else 3
    refuse_too_large(2 * len(paths) * height * width * channels, where, error=TooLarge)
    return height, width


def decode(paths: Sequence[Path], size: tuple[int, int], grey: bool, cure: str = _CURE) -> NDArray[np.uint8]:
    """Pixels [N, height, width, 1 or 3] of pictures of one size (height, width); `cure` ends what is said of a bad one.

    Raises:
        CorruptData: a picture is damaged, or of another size.

    """
    height, width = size
    images = np.empty((len(paths), height, width, 1 if grey else 3), np.uint8)

    def fill(index: int) -> None:
        path = paths[index]
        with decoding(path, _kind(path), cure), Image.open(path) as picture:
            if picture.size != (width, height):
                raise CorruptData(f"{path}: {picture.size} pixels, expected {(width, height)}")
            pixels = np.asarray(picture.convert("L" if grey else "RGB"))
            images[index] = pixels[..., None] if grey else pixels

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        list(pool.map(fill, range(len(paths)), chunksize=256))
    return images


def _kind(path: Path) -> str:
    """The format that a file's name promises."""
    ending = path.suffix[1:].upper()
    return {"JPG": "JPEG", "TIF": "TIFF"}.get(ending, ending or "picture")


def _head(path: Path) -> Head:
    with decoding(path, _kind(path), _CURE), Image.open(path) as picture:
        if picture.mode not in _EIGHT_BITS:
            raise CorruptData(f"{path}: pixels of mode {picture.mode}; 8 bits a channel are needed")
        return Head(picture.width, picture.height, picture.mode in _GREY)
