import subprocess
import sys
from pathlib import Path

import pytest

from shared.command import READER_GONE, leave, plain_warnings, sentence

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("end", ["return 0", "raise SystemExit(0)"])
def test_a_reader_that_leaves_ends_the_command_without_a_word(end):
    program = f"""
from shared.command import leave
def main():
    print("line\\n" * 200_000)
    {end}
leave(main)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(5)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == READER_GONE
    process.stderr.close()


def test_the_status_is_that_of_the_command():
    for status in (0, 2, 4):
        with pytest.raises(SystemExit) as stop:
            leave(lambda status=status: status)
        assert stop.value.code == status


def test_a_failed_system_call_is_a_sentence_without_its_number(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught:
        (tmp_path / "file" / "x").open()
    assert sentence(caught.value) == f"{tmp_path / 'file' / 'x'}: Not a directory"
    assert sentence(ValueError("one\n  two")) == "one two"


def test_a_warning_is_shown_once(capsys):
    show = plain_warnings()
    for text in ("first", "second", "first"):
        show(UserWarning(text), UserWarning, "file", 1)
    assert capsys.readouterr().err == "warning: first\nwarning: second\n"
