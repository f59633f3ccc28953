"""Files that are whole or absent: written beside their place, flushed to the disk, then renamed. A write that fails
says of which file.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 50
"""Characters of a file's name that its scratch file bears: what is added must not make the name too long."""


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Replace `path` by `content` in one step; a kill at any time leaves the old file or the new one.

    Text is written as UTF-8, what is no text (a file's name may be none) as an escape. Folders on the way are made.

    Returns:
        The path.

    Raises:
        OSError: with the name of the file: no space is left, it may not be written, and the like.

    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with naming(path):
        _replace(path, data)
        _sync_folder(path.parent)
    return path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make a failed system call in the block say which file it was about: the system does not say it of a write.

    Raises:
        OSError: the same error, of this file.

    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _replace(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name[:_LONGEST]}.{secrets.token_hex(4)}.part")
    descriptor = _nameless(path.parent)
    nameless = descriptor is not None
    if descriptor is None:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
            os.fsync(descriptor)
            if nameless:
                _give_name(descriptor, scratch)
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _nameless(folder: Path) -> int | None:
    """A file in a folder that has no name yet, so that a kill leaves nothing of it; None where the system has none."""
    if not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except (AttributeError, OSError):  # another system; or a file system without such files
        return None


def _give_name(descriptor: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # only with a folder's descriptor does Python follow the link to the file itself
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system allows a folder to be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
