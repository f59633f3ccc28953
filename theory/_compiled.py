"""Compilation by numba, and where the machine code is kept: the one place that decides for every kernel.

A cache saves the next command some tens of seconds, and is never a condition for running. It lies where numba puts it
(`NUMBA_CACHE_DIR`, beside the source, the user's cache folder); where none of these can be written to, in a private
folder of the system's temporary folder; where that fails too, or the disk is full, nothing is kept. One warning says
so.

numba judges by a kernel's own file whether its machine code is stale, although that code holds the kernels that it
calls. So an entry's key holds a digest of all files with kernels.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

_MARK = b"@compiled"  # files with this line hold kernels


def _digest_of_kernels() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        source = path.read_bytes()
        if _MARK in source:
            digest.update(source)
    return digest.hexdigest()


_KERNELS = _digest_of_kernels()


class _Cache(FunctionCache):
    """numba's cache of a function, except that what cannot be stored or read costs a compilation and nothing else."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What is stored for a signature, or None."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a damaged file may raise anything
            _warn_once(f"compiled code in {self.cache_path} cannot be read ({_reason(error)}) and is made again")
            self._try(self.flush)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store what was compiled for a signature, if it can be stored."""
        self._try(lambda: super(_Cache, self).save_overload(sig, data))

    def _try(self, write: Any) -> None:
        try:
            write()
        except OSError as error:
            _warn_once(
                f"compiled code cannot be kept in {self.cache_path} ({_reason(error)}): the next call compiles again; "
                "NUMBA_CACHE_DIR may name another folder"
            )

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _KERNELS)


def compiled(function: Any = None, /, **options: Any) -> Any:
    """Decorator: compile a function at its first call, keeping the machine code for the next process if possible.

    Args:
        function: the function, or None where options are given (`@compiled(nogil=True)`).
        options: as for `numba.njit`.
    """
    if function is None:
        return lambda f: compiled(f, **options)
    kernel = numba.njit(**options)(function)
    cache = _cache_of(function)
    if cache is not None:
        kernel._cache = cache  # numba's own `cache=True` sets this to a cache that raises
    return kernel


def _cache_of(function: Any) -> _Cache | None:
    """A cache for a function in the first place that can be written to, or None."""
    try:
        return _Cache(function)
    except RuntimeError:  # numba knows no place
        pass
    config: Any = numba.config
    usual = config.CACHE_DIR
    try:
        config.CACHE_DIR = str(_private_folder())
        cache = _Cache(function)
    except (OSError, RuntimeError):
        _warn_once(
            "no folder for compiled code can be written to: every call compiles again, for some tens of seconds; "
            "NUMBA_CACHE_DIR may name a folder"
        )
        return None
    finally:
        config.CACHE_DIR = usual
    _warn_once(
        f"the usual folders for compiled code cannot be written to: it is kept in {cache.cache_path}; "
        "NUMBA_CACHE_DIR may name another folder"
    )
    return cache


def _private_folder() -> Path:
    """A folder of this user in the temporary folder that nobody else may write to: what is in it will be run.

    Raises:
        OSError: there is none.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"easy-or-hard-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    shared = os.name == "posix" and (found.st_uid != user or bool(found.st_mode & 0o077))
    if shared or not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is not this user's alone")
    return folder


_warned = False


def _warn_once(text: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        # Named by the package: a command's user is not helped by a line number in here.
        warnings.warn_explicit(text, RuntimeWarning, "theory", 0)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
