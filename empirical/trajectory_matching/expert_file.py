"""One file an expert: its snapshots, memory-mapped, behind a JSON header that says how they came about.

The file is a safetensors file with one float32 tensor `snapshots` [epochs + 1, P] (row 0 is the initialisation) and
a header: `identity` (data, preprocessing, network, recipe: what a run must share with its experts), seed, accuracy
after each epoch, a checksum a row; and a checksum of the header. Only the rows asked for are read. It is written row by
row beside its place and renamed when it is whole, so a partial file is never read. No pickle.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from empirical.runtime.checksum import KEY as SUM
from empirical.runtime.checksum import checksum, is_intact
from shared.records.records import plain
from shared.terminal.atomic import ask_guards, naming, put_in_place, scratch_beside

FORMAT = "easy-or-hard expert trajectory"
SCHEMA = 1
TENSOR = "snapshots"


class BadExpert(ValueError):  # noqa: N818
    """An expert that is missing, damaged, of another schema, or of another run."""

    exit_status = 2


def file_of(folder: Path, index: int) -> Path:
    """Where expert number `index` lies."""
    return folder / f"expert-{index:04d}.safetensors"


def write(path: Path, rows: Iterable[Tensor], count: int, size: int, header: Mapping[str, Any]) -> Path:
    """Streams `count` rows [size] into a file that appears whole or not at all.

    Raises:
        ValueError: the rows are not as many, or not of that size.

    """
    header = {"format": FORMAT, "schema": SCHEMA, **plain(header)}
    ask_guards(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sums: list[int] = []
    rows_descriptor, data = scratch_beside(path)
    descriptor, part = scratch_beside(path)
    try:
        with naming(data), os.fdopen(rows_descriptor, "wb") as file:
            for row in rows:
                if row.shape != (size,):
                    raise ValueError(f"a snapshot has {size} numbers, not {list(row.shape)}")
                raw = raw_row(row)
                sums.append(zlib.crc32(raw))
                file.write(raw)
        if len(sums) != count:
            raise ValueError(f"{count} snapshots are needed, got {len(sums)}")
        text = json.dumps({**header, "checksums": sums})
        described = {
            "__metadata__": {"header": text, SUM: checksum(text, {})},
            TENSOR: {"dtype": "F32", "shape": [count, size], "data_offsets": [0, 4 * count * size]},
        }
        encoded = json.dumps(described).encode()
        encoded += b" " * (-len(encoded) % 8)
        with naming(path), os.fdopen(descriptor, "wb") as file, data.open("rb") as source:
            file.write(len(encoded).to_bytes(8, "little") + encoded)
            while block := source.read(1 << 22):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(part, path)
    finally:
        data.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    return path


def raw_row(row: Tensor) -> bytes:
    """A snapshot [P] as it is stored: float32."""
    return row.detach().cpu().contiguous().float().numpy().tobytes()


@dataclass(frozen=True)
class ExpertFile:
    """One expert on disk.

    Attributes:
        path: of the file.
        header: its provenance.
        snapshots: rows in the file, epochs + 1.
        size: numbers a row, P.

    """

    path: Path
    header: dict[str, Any]
    snapshots: int
    size: int

    @staticmethod
    def open(path: Path) -> ExpertFile:
        """Reads the header only.

        Raises:
            BadExpert: no such file, not an expert, or a damaged one.

        """
        if not path.is_file():
            raise BadExpert(f"no expert {path}; make experts with python -m empirical.experts")
        try:
            with safe_open(str(path), framework="pt") as file:
                stored = file.metadata() or {}
                shape = file.get_slice(TENSOR).get_shape() if TENSOR in file.keys() else []  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        if "header" not in stored:
            raise BadExpert(f"{path} is a safetensors file, but not an expert written here")
        if not is_intact(stored, ("header",), stored["header"], {}):
            raise _damaged(path, "its header is not what its checksum says")
        header = _decoded(path, stored["header"], shape)
        return ExpertFile(path, header, *shape)

    def rows(self, *epochs: int) -> list[Tensor]:
        """The snapshots after these epochs, each a fresh float32 [P] on the CPU.

        Raises:
            BadExpert: a row is not what was written, or not finite.

        """
        found = []
        try:
            with safe_open(str(self.path), framework="pt") as file:
                snapshots = file.get_slice(TENSOR)
                rows = [snapshots[epoch : epoch + 1][0].clone() for epoch in epochs]
        except (SafetensorError, OSError, ValueError, IndexError) as error:
            raise _damaged(self.path, str(error)) from error
        for epoch, row in zip(epochs, rows, strict=True):
            if zlib.crc32(raw_row(row)) != self.header["checksums"][epoch]:
                raise BadExpert(f"{self.path} is damaged at epoch {epoch}; remove it and make it again")
            if not torch.isfinite(row).all():
                raise BadExpert(f"{self.path} diverged: its snapshot of epoch {epoch} is not finite")
            found.append(row)
        return found

    def require(self, identity: Mapping[str, Any]) -> None:
        """Refuses an expert of another data set, preprocessing, network or recipe.

        Raises:
            BadExpert: naming the first thing that differs and both values.

        """
        theirs, ours = self.header["identity"], plain(identity)
        for key in {**ours, **theirs}:
            if theirs.get(key) != ours.get(key):
                made, wanted = excerpts(str(theirs.get(key)), str(ours.get(key)))
                raise BadExpert(
                    f"{self.path} was made with {key} = {made}, this run has {wanted}: "
                    "name another folder, or take the settings of those experts"
                )


def _damaged(path: Path, what: str) -> BadExpert:
    return BadExpert(f"{path} is damaged ({what}); remove it and make it again")


def _decoded(path: Path, text: str, shape: Sequence[int]) -> dict[str, Any]:
    """The header of an expert whose snapshots have this shape.

    Raises:
        BadExpert: it is another program's, of another schema, or does not fit the snapshots.

    """
    try:
        header = json.loads(text)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BadExpert(f"{path} is a safetensors file, but not an expert written here")
    if header.get("schema") != SCHEMA:
        raise BadExpert(f"{path}: schema {header.get('schema')}, this version reads schema {SCHEMA}")
    sums, accuracies = header.get("checksums"), header.get("accuracies")
    if len(shape) != 2 or not isinstance(sums, list) or len(sums) != shape[0]:
        raise _damaged(path, "it has not as many checksums as snapshots")
    if not isinstance(header.get("identity"), dict):
        raise _damaged(path, "it does not say what it was made of")
    if accuracies is not None and (not isinstance(accuracies, list) or len(accuracies) != shape[0]):
        raise _damaged(path, "it has not as many accuracies as snapshots")
    return header


def excerpts(first: str, second: str, most: int = 60) -> tuple[str, str]:
    """Two different texts in a line each; of long ones the words from shortly before the first difference."""
    first, second = " ".join(first.split()), " ".join(second.split())
    if max(len(first), len(second)) <= most:
        return first, second
    pairs = enumerate(zip(first, second, strict=False))
    same = next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))
    begin = first.rfind(" ", 0, max(0, same - most // 2)) + 1

    def cut(text: str) -> str:
        return ("... " if begin else "") + text[begin : begin + most] + (" ..." if len(text) > begin + most else "")

    return cut(first), cut(second)
