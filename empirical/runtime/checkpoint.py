"""Checkpoints that survive a kill at any time, and a lock that keeps two processes out of one folder.

A checkpoint is one safetensors file, written beside its place and renamed: tensors, and a JSON document in
the header. No pickle. Optimiser buffers, generator states (`torch.Generator.get_state` is a uint8 tensor)
and images go into the tensors, counters and names into the document; both come back exactly as they were.
"""

from __future__ import annotations

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

from shared.terminal.atomic import write_atomically

_KEY = "document"


class BadCheckpoint(ValueError):  # noqa: N818
    """A file that is no checkpoint, or a damaged one."""

    exit_status = 2


def atomic_save(path: str | Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> Path:
    """Write tensors (of any device; stored contiguous) and a JSON document as one file, in one step."""
    contiguous = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in tensors.items()}
    return write_atomically(path, save(contiguous, {_KEY: json.dumps(document)}))


def load(path: str | Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on the device, and document.

    Raises:
        FileNotFoundError: no such file.
        BadCheckpoint: not a checkpoint of this kind.

    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    try:
        with safe_open(str(path), framework="pt", device=device) as file:
            header = file.metadata() or {}
            if _KEY not in header:
                raise BadCheckpoint(f"{path} is a safetensors file, but not one written here")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header[_KEY])  # noqa: SIM118
    except SafetensorError as error:
        raise BadCheckpoint(f"{path} is not a readable checkpoint: {error}") from error


class FolderInUse(RuntimeError):  # noqa: N818
    """Another process works in the folder."""

    exit_status = 2


class Lock:
    """Exclusive use of a folder by one process, as a context manager.

    The lock is the operating system's on the file `.lock`, so it ends with its process, however that ends: a
    file left by a dead process is no obstacle. The file names the holder, for the message that a second
    process gets.

        with Lock(folder):
            ...

    Raises:
        FolderInUse: on entry, if another process (or another `Lock` of this one) holds it.

    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / ".lock"
        self._file: IO[str] | None = None

    def acquire(self) -> Lock:
        """Take the lock or raise; at once, without waiting."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while self._file is None:
            file = self.path.open("a+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                holder = file.read().strip() or "another process"
                file.close()
                raise FolderInUse(
                    f"{self.path.parent} is in use by {holder}; wait for it or choose another folder"
                ) from error
            if self._still_there(file):
                self._file = file
            else:  # removed by its last holder between our opening and locking it
                file.close()
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()
        return self

    def _still_there(self, file: IO[str]) -> bool:
        try:
            return os.fstat(file.fileno()).st_ino == self.path.stat().st_ino
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the folder free; the file goes too."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
