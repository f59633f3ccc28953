"""What can be wrong with a data set, as exceptions that carry the command line's exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataError(Exception):
    """The data cannot be used as they are on disk."""

    exit_status = 3


class MissingData(DataError):  # noqa: N818
    """Files are not there; the message names each one, the folder, and how to get them."""


class CorruptData(DataError):  # noqa: N818
    """A file is there but is truncated, altered, or not what its name promises."""


class TooLarge(DataError):  # noqa: N818
    """What is asked for does not fit into memory; said before any is taken."""


class UnknownDataset(ValueError):  # noqa: N818
    """No data set of that name, and no file pair at that path."""

    exit_status = 2


@contextmanager
def decoding(path: Path, kind: str, cure: str) -> Iterator[None]:
    """Around what decodes a file: whatever it raises becomes one sentence, "FILE: not a readable KIND (why); CURE".

    A decoder of a damaged file may raise anything, so nothing is enumerated here.

    Raises:
        CorruptData: the file cannot be decoded, or read. DataError: as raised inside.

    """
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        why = error.strerror or _words(error)
        raise CorruptData(f"{path}: not a readable {kind} ({why}); {cure}") from error
    except Exception as error:
        raise CorruptData(f"{path}: not a readable {kind} ({_words(error)}); {cure}") from error


def _words(error: Exception) -> str:
    """One line, even where the library says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
