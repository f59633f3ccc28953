"""Where sets, checkpoints and experts may lie."""

from __future__ import annotations

from pathlib import Path

from shared.terminal.command import refuse_folder


def refuse_place(folder: Path, flag: str = "--out") -> None:
    """Say beforehand that tensors cannot be written into a folder; makes nothing.

    Raises:
        ValueError: as `refuse_folder`; or its whole name is not text in UTF-8, which safetensors cannot open.

    """
    name = str(folder.absolute())
    if "\0" in name or name.encode("utf-8", "replace").decode() != name:
        raise ValueError(f"{folder}: this name is not text in UTF-8, as safetensors needs; name another with {flag}")
    refuse_folder(folder, flag)
