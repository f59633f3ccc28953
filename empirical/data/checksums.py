"""Checksums of files, and the list `SHA256SUMS` beside them, in every form that the usual programs write.

    <64 hexadecimal digits>  name         sha256sum; or ` *name` (binary), `./name`, and a backslash in front of a line
    SHA256 (name) = <64 digits>           sha256sum --tag, BSD's sha256, openssl (`SHA2-256(name)= `)

Digits of either case; a byte-order mark, CRLF, blank lines and comments (`#`) do no harm. A list with any other line is
refused: what cannot be read could be the sum of the very file that is asked for.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PureWindowsPath

from empirical.data.errors import CorruptData, decoding

NAME = "SHA256SUMS"
_GNU = re.compile(r"(?P<escaped>\\?)(?P<sum>[0-9a-fA-F]{64})(?: [ *]|\s+)(?P<name>.+)")
_BSD = re.compile(r"(?P<escaped>\\?)(?i:SHA-?(?:2-)?256) ?\((?P<name>.+)\) ?= ?(?P<sum>[0-9a-fA-F]{64})")
_ESCAPES = {r"\\": "\\", r"\n": "\n", r"\r": "\r"}


def digest(path: Path, algorithm: str) -> str:
    """Hexadecimal checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def verify(path: Path, expected: str, algorithm: str, cure: str) -> None:
    """Raise `CorruptData` unless the file has the expected checksum; `cure` ends its sentence."""
    with decoding(path, "file", cure):
        found = digest(path, algorithm)
    if found != expected.lower():
        raise CorruptData(
            f"{path}: the {algorithm} checksum is {found}, expected {expected.lower()}; "
            f"the file is truncated or altered: {cure}"
        )


def verify_listed(path: Path) -> None:
    """Compare a file with the list beside it, if there is one and it names the file.

    Raises:
        CorruptData: the sum is another one, or the list cannot be read, or gives two sums.

    """
    sums = path.parent / NAME
    if not sums.is_file():
        return
    found = {value for name, value in read_sums(sums) if _means(name, path)}
    if len(found) > 1:
        raise CorruptData(f"{sums}: gives different sums for {path.name}; write it again with sha256sum")
    for value in found:
        cure = f"restore the file from where it came, or write {NAME} again if the change was meant"
        verify(path, value, "sha256", cure)


def read_sums(sums: Path) -> list[tuple[str, str]]:
    """Names and lower-case sums of a list, in order.

    Raises:
        CorruptData: a line is no sum with a name, or the file is no text.

    """
    cure = "write it again with sha256sum"
    with decoding(sums, "list of checksums", cure):
        lines = sums.read_text(encoding="utf-8-sig").split("\n")
    rows = []
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _BSD.fullmatch(line.strip()) or _GNU.fullmatch(line.lstrip())
        if match is None:
            shown = line if len(line) <= 60 else f"{line[:57]}..."
            raise CorruptData(
                f"{sums}: line {number} is {shown!r}, not a sha256 sum (64 hexadecimal digits) and a file name; {cure}"
            )
        name = match["name"]
        if match["escaped"]:
            name = re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found[0]], name)
        rows.append((name, match["sum"].lower()))
    return rows


def _means(listed: str, path: Path) -> bool:
    """Whether a listed name is that of the file.

    A list may have been written from another folder, or before the files moved: a name with folders that lead to no
    file stands for the file of that last part.
    """
    folder = path.absolute().parent
    for name in {listed, listed.rstrip(), listed.replace("\\", "/")}:
        place = os.path.normpath(folder / name)
        if place == str(folder / path.name):
            return True
        if path.name in (Path(name).name, PureWindowsPath(name).name) and not Path(place).exists():
            return True
    return False
