"""Standard streams that never end the work: what cannot be written is dropped, and remembered for the exit status.

A reader that leaves (`command | head`), a full disk behind `command > file` and a stream that the shell closed
(`command >&-`) concern what is printed, not what is made: a command goes on, writes its files, and says at its end
how it went.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class Lasting:
    """A text stream that takes everything and keeps the first error of writing to the stream below it.

    Attributes:
        error: the first failure; None: all was written.

    """

    def __init__(self, below: IO[str]):
        self._below = below
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or drop what can no longer be written; returns the length of the text."""
        if self.error is None:
            try:
                self._below.write(text)
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Flush, if there is still something to flush to."""
        if self.error is None:
            try:
                self._below.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.error = error
        # What is still buffered goes nowhere, so that the interpreter's own last flush has nothing to say.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._below.fileno())
            os.close(nowhere)

    def writelines(self, lines: Any) -> None:
        """Write one text after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def hold_descriptors() -> None:
    """Open the null device as 0, 1 and 2 where the shell closed them, so that no file of ours gets their number."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


@contextlib.contextmanager
def lasting_streams() -> Iterator[tuple[Lasting, Lasting]]:
    """Put `Lasting` streams in the place of `sys.stdout` and `sys.stderr` for the block."""
    hold_descriptors()
    before = sys.stdout, sys.stderr  # None where the shell closed the stream
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        stdout, stderr = (Lasting(_encodable(stream or nowhere)) for stream in before)
        sys.stdout, sys.stderr = stdout, stderr
        try:
            yield stdout, stderr
        finally:
            stdout.flush()
            stderr.flush()
            sys.stdout, sys.stderr = before


def _encodable(stream: IO[str]) -> IO[str]:
    """The stream; what its encoding lacks (or a file's name that is no text) is written as an escape, not refused."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")
    return stream
