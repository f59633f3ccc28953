"""Files that are whole or absent: written beside their place, flushed to the disk, then renamed. A write that fails
says of which file.

Whoever owns a folder may register a guard for it (`guarded`): it is asked before every write below the folder, and
stops the write by raising.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 50
"""Characters of a file's name that its scratch file bears: what is added must not make the name too long."""
_SCRATCH = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
"""Names of files that are being written; such a file is left behind by a kill alone."""
_guards: list[tuple[Path, Callable[[], None]]] = []


def guarded(folder: Path, ask: Callable[[], None]) -> None:
    """From now on `ask` is called before each write below the folder, until `unguarded`."""
    _guards.append((folder.resolve(), ask))


def unguarded(ask: Callable[[], None]) -> None:
    """Ends `guarded`."""
    _guards[:] = [(folder, other) for folder, other in _guards if other != ask]


def ask_guards(path: str | Path) -> None:
    """Before a file is written or replaced: raises what a guard of a folder above it raises."""
    if _guards:
        place = Path(path).resolve()
        for folder, ask in [*_guards]:
            if place.is_relative_to(folder):
                ask()


def remove_parts(folder: Path) -> None:
    """Removes what a kill left half-written in a folder; for whoever alone writes there."""
    for part in folder.glob(".*.part"):
        if _SCRATCH.fullmatch(part.name):
            part.unlink(missing_ok=True)


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Replace `path` by `content` in one step; a kill at any time leaves the old file or the new one.

    Text is written as UTF-8, what is no text (a file's name may be none) as an escape. Folders on the way are made.

    Returns:
        The path.

    Raises:
        OSError: with the name of the file: no space is left, it may not be written, and the like.

    """
    path = Path(path)
    ask_guards(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with naming(path):
        _replace(path, data)
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


def scratch_beside(path: Path) -> tuple[int, Path]:
    """An open descriptor and the name of a new file beside `path`, to be renamed to it when it is whole."""
    scratch = path.with_name(f".{path.name[:_LONGEST]}.{secrets.token_hex(4)}.part")
    return os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), scratch


def put_in_place(scratch: Path, path: Path) -> None:
    """Renames a whole and flushed file, durably, with the permissions of what it replaces or the usual ones."""
    ask_guards(path)  # again: what was written may have taken a while
    scratch.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
    scratch.replace(path)
    _sync_folder(path.parent)


def _replace(path: Path, data: bytes) -> None:
    descriptor = _nameless(path.parent)
    nameless = descriptor is not None
    if descriptor is None:
        descriptor, scratch = scratch_beside(path)
    else:
        scratch = path.with_name(f".{path.name[:_LONGEST]}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
            if nameless:
                _give_name(descriptor, scratch)
        put_in_place(scratch, path)
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
