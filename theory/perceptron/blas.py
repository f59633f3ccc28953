"""Dense linear algebra inside compiled kernels: scipy's own BLAS and LAPACK, called by symbol name.

numba refuses to cache a kernel that holds a raw pointer, because the pointer is different in the next
process. A symbol *name* is the same everywhere, so the addresses that scipy exports
(`scipy.linalg.cython_blas`) are registered with LLVM under names of our own, and the kernels call those
names: they compile once, and load from the cache afterwards.

Conventions. Triangular factors are stored row-major and upper, K = U^T U, so that rows are contiguous. BLAS
reads the same memory column-major and sees the lower factor L = U^T. Integers pass through a
scratch array `ints` (int32, [8]) that the caller owns: an address taken from a temporary could outlive it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import scipy.linalg.cython_blas
import scipy.linalg.cython_lapack
from numba import types
from numba.extending import get_cython_function_address
from threadpoolctl import ThreadpoolController

from theory._compiled import compiled

REASSOCIATE = {"reassoc", "contract", "nsz"}  # sums may use SIMD lanes; infinities and NaN stay as they are

_PREFIX = "easy_or_hard_"


def _external(module: Any, routine: str, arguments: int) -> Any:
    """`routine` of a scipy cython module as a function that numba can call and cache."""
    if "int *" not in str(module.__pyx_capi__[routine]):
        raise ImportError(f"scipy's {routine} does not take C ints, which the compiled solver passes")
    llvm.add_symbol(_PREFIX + routine, get_cython_function_address(module.__name__, routine))
    return types.ExternalFunction(_PREFIX + routine, types.void(*[types.intp] * arguments))


_dsyrk = _external(scipy.linalg.cython_blas, "dsyrk", 10)
_dtrsv = _external(scipy.linalg.cython_blas, "dtrsv", 8)
_dgemv = _external(scipy.linalg.cython_blas, "dgemv", 11)
_dpotrf = _external(scipy.linalg.cython_lapack, "dpotrf", 5)

_LOWER = np.frombuffer(b"L", np.uint8).copy()
_PLAIN = np.frombuffer(b"N", np.uint8).copy()
_TRANSPOSED = np.frombuffer(b"T", np.uint8).copy()
_NUMBERS = np.array([0.0, 1.0])
_ZERO = 0
_ONE = 8


@compiled(nogil=True)
def gram(rows: np.ndarray, count: int, U: np.ndarray, ints: np.ndarray) -> None:
    """Set the upper triangle of U[:count, :count] to rows[:count] rows[:count]^T."""
    ints[0], ints[1], ints[2], ints[3] = count, rows.shape[1], rows.shape[1], U.shape[1]
    at = ints.ctypes.data
    number = _NUMBERS.ctypes.data
    _dsyrk(_LOWER.ctypes.data, _TRANSPOSED.ctypes.data, at, at + 4, number + _ONE, rows.ctypes.data, at + 8,
           number + _ZERO, U.ctypes.data, at + 12)  # fmt: skip


@compiled(nogil=True)
def cholesky(U: np.ndarray, count: int, ints: np.ndarray) -> int:
    """Replace the upper triangle of U[:count, :count] by its Cholesky factor; 0, or the pivot that failed."""
    ints[0], ints[1], ints[2] = count, U.shape[1], 0
    at = ints.ctypes.data
    _dpotrf(_LOWER.ctypes.data, at, U.ctypes.data, at + 4, at + 8)
    return ints[2]


@compiled(nogil=True)
def solve_transposed(U: np.ndarray, count: int, x: np.ndarray, ints: np.ndarray) -> None:
    """Set x[:count] = U^-T x[:count]."""
    ints[0], ints[1], ints[2] = count, U.shape[1], 1
    at = ints.ctypes.data
    _dtrsv(_LOWER.ctypes.data, _PLAIN.ctypes.data, _PLAIN.ctypes.data, at, U.ctypes.data, at + 4,
           x.ctypes.data, at + 8)  # fmt: skip


@compiled(nogil=True)
def solve_upper(U: np.ndarray, count: int, x: np.ndarray, ints: np.ndarray) -> None:
    """Set x[:count] = U^-1 x[:count]."""
    ints[0], ints[1], ints[2] = count, U.shape[1], 1
    at = ints.ctypes.data
    _dtrsv(_LOWER.ctypes.data, _TRANSPOSED.ctypes.data, _PLAIN.ctypes.data, at, U.ctypes.data, at + 4,
           x.ctypes.data, at + 8)  # fmt: skip


@compiled(nogil=True)
def times(rows: np.ndarray, count: int, x: np.ndarray, out: np.ndarray, ints: np.ndarray) -> None:
    """Set out[:count] = rows[:count] x."""
    ints[0], ints[1], ints[2] = rows.shape[1], count, 1
    at = ints.ctypes.data
    number = _NUMBERS.ctypes.data
    _dgemv(_TRANSPOSED.ctypes.data, at, at + 4, number + _ONE, rows.ctypes.data, at, x.ctypes.data, at + 8,
           number + _ZERO, out.ctypes.data, at + 8)  # fmt: skip


@compiled(nogil=True)
def transposed_times(rows: np.ndarray, count: int, x: np.ndarray, out: np.ndarray, ints: np.ndarray) -> None:
    """Set out = rows[:count]^T x[:count]."""
    ints[0], ints[1], ints[2] = rows.shape[1], count, 1
    at = ints.ctypes.data
    number = _NUMBERS.ctypes.data
    if count == 0:
        out[:] = 0.0
        return
    _dgemv(_PLAIN.ctypes.data, at, at + 4, number + _ONE, rows.ctypes.data, at, x.ctypes.data, at + 8,
           number + _ZERO, out.ctypes.data, at + 8)  # fmt: skip


class _SingleThread:
    """BLAS at one thread while anyone is inside; the old setting comes back when the last one leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._controller: Any = None
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                if self._controller is None:
                    self._controller = ThreadpoolController()  # searches the loaded libraries: milliseconds
                self._limiter = self._controller.limit(limits=1, user_api="blas")
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limiter.restore_original_limits()


_single_thread = _SingleThread()


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Keep every BLAS of this process at one thread inside the block (safe under concurrent use).

    One problem is too small to gain from a threaded BLAS, and several are solved side by side.
    """
    _single_thread.enter()
    try:
        yield
    finally:
        _single_thread.leave()
