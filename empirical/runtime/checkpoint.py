"""Checkpoints that survive a kill at any time, and a lock that keeps two processes out of one folder.

A checkpoint is one safetensors file, written beside its place and renamed: tensors, and a JSON document in
the header with a checksum of both. No pickle. Optimiser buffers, generator states (`torch.Generator.get_state` is a
uint8 tensor) and images go into the tensors, counters and names into the document; both come back exactly as they were.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from empirical.runtime.checksum import KEY as SUM
from empirical.runtime.checksum import checksum, is_intact
from shared.terminal.atomic import guarded, remove_parts, unguarded, write_atomically

_KEY = "document"


class BadCheckpoint(ValueError):  # noqa: N818
    """A file that is no checkpoint, or a damaged one."""

    exit_status = 2


def atomic_save(path: str | Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> Path:
    """Write tensors (of any device; stored contiguous) and a JSON document as one file, in one step."""
    contiguous = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in tensors.items()}
    text = json.dumps(document)
    return write_atomically(path, save(contiguous, {_KEY: text, SUM: checksum(text, contiguous)}))


def load(path: str | Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on the device, and document.

    Raises:
        FileNotFoundError: no such file.
        BadCheckpoint: not a checkpoint of this kind, or not as it was written.

    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    try:
        with safe_open(str(path), framework="pt", device=device) as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCheckpoint(f"{path} is not a readable checkpoint: {error}; {CURE}") from error
    if _KEY not in header:
        raise BadCheckpoint(f"{path} is a safetensors file, but not one written here")
    if not is_intact(header, (_KEY,), header[_KEY], tensors):
        raise BadCheckpoint(f"{path} is damaged: its content is not what its checksum says; {CURE}")
    try:
        document = json.loads(header[_KEY])
    except ValueError as error:
        raise BadCheckpoint(f"{path} is damaged: its document is not JSON; {CURE}") from error
    if not isinstance(document, dict):
        raise BadCheckpoint(f"{path} is damaged: its document is no object; {CURE}")
    return tensors, document


CURE = "remove the file to start again from the beginning"
"""What to do about a damaged checkpoint: the command that made it starts anew without one."""


class FolderInUse(RuntimeError):  # noqa: N818
    """Another process works in the folder."""

    exit_status = 2


class FolderLost(OSError):  # noqa: N818
    """A folder that this process had locked was removed, or removed and made again by another process."""

    exit_status = 2


class NoLocks(OSError):  # noqa: N818
    """The folder's file system cannot lock files."""

    exit_status = 2


HELD = (errno.EWOULDBLOCK, errno.EAGAIN)
"""What a lock that another process holds is refused with; any other refusal says that there are no locks."""


def _no_locks(folder: Path, error: OSError) -> NoLocks:
    return NoLocks(
        f"{folder} is on a file system without file locks ({error.strerror}), which keep two processes from writing "
        "one folder: have it mounted with locks (Lustre: -o flock, NFS: without nolock), or name one on a local disk"
    )


class Lock:
    """Exclusive use of a folder by one process, as a context manager.

    The lock is the operating system's on the file `.lock`, so it ends with its process, however that ends: a
    file left by a dead process is no obstacle. The file names the holder, for the message that a second
    process gets. What a killed process left half-written is removed on entry. While the lock is held, every write
    below the folder asks first whether it still is: a folder that was removed has no second writer.

        with Lock(folder):
            ...

    Raises:
        FolderInUse: on entry, if another process (or another `Lock` of this one) holds it.
        NoLocks: on entry, if the file system has no locks.
        FolderLost: by a write, if the folder is no longer the one that was locked.

    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / ".lock"
        self._place = Path(folder)
        self._file: IO[str] | None = None

    def acquire(self) -> Lock:
        """Take the lock or raise; at once, without waiting."""
        made = not self.path.parent.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._place = self.path.parent.resolve()
        while self._file is None:
            file = self.path.open("a+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                holder = file.read().strip() or "another process"
                file.close()
                if error.errno not in HELD:
                    self.path.unlink(missing_ok=True)
                    if made:
                        self.path.parent.rmdir()
                    raise _no_locks(self.path.parent, error) from error
                raise FolderInUse(
                    f"{self.path.parent} is in use by {holder}; wait for it or choose another folder"
                ) from error
            if self._is_at_its_place(file):
                self._file = file
            else:  # removed by its last holder between our opening and locking it
                file.close()
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()
        remove_parts(self._place)
        guarded(self._place, self.ask)
        return self

    def ask(self) -> None:
        """Before a write: whether the folder is still ours.

        Raises:
            FolderLost: it was removed, and perhaps made again by another process.

        """
        if self._file is None or not self._is_at_its_place(self._file):
            raise FolderLost(
                f"{self.path.parent} was removed, or is another process's now: this one writes nothing more there"
            )

    def _is_at_its_place(self, file: IO[str]) -> bool:
        try:
            there, ours = (self._place / self.path.name).stat(), os.fstat(file.fileno())
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Give the folder free; the file goes too."""
        if self._file is not None:
            unguarded(self.ask)
            if self._is_at_its_place(self._file):  # another's, in a folder made anew, is not ours to remove
                (self._place / self.path.name).unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_in_use(folder: Path) -> bool:
    """Whether a process holds a folder's lock; looks without leaving a trace, and leaves dead processes' files alone.

    Raises:
        NoLocks: the file system has no locks.

    """
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in HELD:
            raise _no_locks(folder, error) from error
        return True
    finally:
        os.close(descriptor)
    return False
