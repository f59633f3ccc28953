"""Lists of checksums in every form that programs write them: a good file passes, a wrong sum is always found."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from empirical.data.checksums import read_sums, verify_listed
from empirical.data.datasets import CorruptData, load

Form = Callable[[str, str], str]
FORMS: dict[str, Form] = {
    "text": lambda s, n: f"{s}  {n}\n",
    "binary": lambda s, n: f"{s} *{n}\n",
    "here": lambda s, n: f"{s}  ./{n}\n",
    "binary, here": lambda s, n: f"{s} *./{n}\n",
    "bsd": lambda s, n: f"SHA256 ({n}) = {s}\n",
    "bsd, here": lambda s, n: f"SHA256 (./{n}) = {s}\n",
    "openssl": lambda s, n: f"SHA2-256({n})= {s}\n",
    "older openssl": lambda s, n: f"SHA256({n})= {s}\n",
    "upper case": lambda s, n: f"{s.upper()}  {n}\n",
    "upper case bsd": lambda s, n: f"SHA256 ({n}) = {s.upper()}\n",
    "byte-order mark": lambda s, n: f"\ufeff{s}  {n}\n",
    "crlf": lambda s, n: f"{s}  {n}\r\n",
    "byte-order mark, crlf, binary": lambda s, n: f"\ufeff{s} *{n}\r\n",
    "no end of line": lambda s, n: f"{s}  {n}",
    "comments and blanks": lambda s, n: f"# sums\n\n   \n  # of {n}\n{s}  {n}\n\n",
    "one blank": lambda s, n: f"{s} {n}\n",
    "tab": lambda s, n: f"{s}\t{n}\n",
    "blank at the end": lambda s, n: f"{s}  {n} \n",
    "blank in front": lambda s, n: f" {s}  {n}\n",
    "from the folder above": lambda s, n: f"{s}  data/{n}\n",
    "from elsewhere": lambda s, n: f"{s}  /somewhere/else/{n}\n",
    "from a drive": lambda s, n: f"{s} *C:\\data\\{n}\n",
    "among others": lambda s, n: f"{'0' * 64}  other.npz\n{s}  {n}\n{'1' * 64} *third\n",
    "said twice": lambda s, n: f"{s}  {n}\n{s.upper()} *./{n}\n",
}
NAMES = ["mine_train.npz", "with blank_train.npz", "back\\slash.npz", "new\nline.npz", "(odd) = name.npz", "é.npz"]


def escaped(form: Form, value: str, name: str) -> str:
    """As `sha256sum` writes names that hold a backslash or an end of line."""
    if not set(name) & set("\\\n\r"):
        return form(value, name)
    written = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    text = form(value, written)
    mark, text = text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")
    lines = text.splitlines(keepends=True)
    return mark + "".join("\\" * (value.lower() in line.lower()) + line for line in lines)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_good_file_passes_and_a_changed_one_is_found(tmp_path: Path, form: str, name: str) -> None:
    if set(name) & set("\\\n") and form in ("from a drive", "blank in front"):
        pytest.skip("no program writes this")
    path = tmp_path / name
    path.write_bytes(b"content")
    value = hashlib.sha256(b"content").hexdigest()
    (tmp_path / "SHA256SUMS").write_bytes(escaped(FORMS[form], value, name).encode())
    verify_listed(path)
    path.write_bytes(b"Content")
    with pytest.raises(CorruptData, match="sha256 checksum is") as caught:
        verify_listed(path)
    assert caught.value.exit_status == 3 and "delete" not in str(caught.value) and "restore" in str(caught.value)


STRANGE = {
    "a word": "hello\n",
    "a sum without a name": "0" * 64 + "\n",
    "a sum that is short": "0" * 63 + "  mine_train.npz\n",
    "a sum that is long": "0" * 65 + "  mine_train.npz\n",
    "another algorithm": f"MD5 (mine_train.npz) = {'0' * 32}\n",
    "no hexadecimal digits": "x" * 64 + "  mine_train.npz\n",
    "html": "<html><body>404</body></html>\n",
    "a signature": "-----BEGIN PGP SIGNED MESSAGE-----\n",
    "json": '{"mine_train.npz": "00"}\n',
    "a long line": "a" * 10_000 + "\n",
    "after a good one": "0" * 64 + "  other.npz\nwhat?\n",
    "two sums of one file": "0" * 64 + "  mine_train.npz\n" + "1" * 64 + "  mine_train.npz\n",
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_strange_line_is_one_sentence(tmp_path: Path, case: str) -> None:
    path = tmp_path / "mine_train.npz"
    path.write_bytes(b"content")
    (tmp_path / "SHA256SUMS").write_text(STRANGE[case], encoding="utf-8")
    with pytest.raises(CorruptData, match=r"SHA256SUMS: .*; write it again with sha256sum$") as caught:
        verify_listed(path)
    assert caught.value.exit_status == 3 and len(str(caught.value)) < len(str(tmp_path)) + 220


@pytest.mark.parametrize("content", [b"\xff\xfe0\x000\x00", b"\x00\x01\x02", bytes(range(128, 256))])
def test_a_list_that_is_no_text_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "SHA256SUMS").write_bytes(content)
    with pytest.raises(CorruptData, match="write it again with sha256sum"):
        read_sums(tmp_path / "SHA256SUMS")


def test_a_row_of_another_file_of_that_name_is_not_this_files(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "old"):
        folder.mkdir(exist_ok=True)
        (folder / "mine.npz").write_bytes(str(folder).encode())
    wrong = hashlib.sha256(str(tmp_path / "old").encode()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{wrong}  old/mine.npz\n", encoding="utf-8")
    verify_listed(tmp_path / "mine.npz")


def test_a_wrong_sum_ends_loading_before_the_archive_is_opened(tmp_path: Path) -> None:
    for split in ("train", "test"):
        np.savez(tmp_path / f"mine_{split}.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.arange(2))
    (tmp_path / "SHA256SUMS").write_text(f"SHA256 (./mine_test.npz) = {'0' * 64}\n", encoding="utf-8")
    with pytest.raises(CorruptData, match=r"mine_test\.npz: the sha256 checksum is"):
        load(str(tmp_path / "mine"))
