"""Keeping freed memory for the next pass, instead of handing it back to the system and asking anew.

The C library's allocator maps every large tensor afresh and trims its heap, so that each pass pays for the system's
clearing of its pages: a quarter of the time of a student's step at width 128 with a hundred images, up to a tenth
of it at smaller sizes. Kept memory has gaps, so the peak is higher: by 1.6 in the first case, by a tenth elsewhere.
Measured by the option `--kept-heap` of `benchmarks.trajectory_matching` and `benchmarks.gradient_matching`.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Names of glibc's settings (malloc.h)."""


def keep_freed_memory() -> None:
    """For the rest of this process, where its C library is glibc; does nothing elsewhere. Results do not change."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return
    mallopt(_TRIM_THRESHOLD, -1)  # never
    mallopt(_MMAP_MAX, 0)  # large tensors come from the heap, too
    mallopt(_TOP_PAD, 64 << 20)
