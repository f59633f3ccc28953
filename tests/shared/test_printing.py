"""What is printed is what was given: no markup, no cut numbers, whatever the width."""

import re

import pytest

from shared.terminal.command import command
from shared.terminal.printing import Plain, Sheet

NAMES = ["runs/[x]", "[/x]", "[bold]a[/bold]", ":smile:", "[link=http://x]y[/link]", "a\\[b]", "[[x]]", "100 'q' True"]
NUMBERS = ("61.23", "0.71", "-0.0032", "1 x 20")


def sheet(name):
    drawn = Sheet(("set", "accuracy %", "std over networks", "gain over random", "n"), f"title {name}", caption=name)
    drawn.add_row(name, *NUMBERS)
    drawn.add_section()
    drawn.add_row("another name, long enough to be folded in a narrow place", *NUMBERS)
    return drawn


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("colour", [False, True])
def test_names_are_printed_as_they_are(capsys, monkeypatch, name, colour):
    if colour:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "300")
    Plain().print(f"{name}: written")
    Plain().print(sheet(name))
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert said.startswith(f"{name}: written\n")
    assert said.count(name) == 4


@pytest.mark.parametrize("columns", ["12", "30", "50", "80", "200"])
def test_no_number_is_cut_or_folded_in_any_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    Plain().print(sheet("dsa"))
    said = capsys.readouterr().out
    for number in NUMBERS:
        assert said.count(f" {number} ") == 2
    assert "…" not in said and said.count("title dsa") == 1
    room = max(int(columns), 28)
    assert all(len(line) <= room for line in said.splitlines())


def test_into_a_file_a_table_is_as_wide_as_it_is_and_a_path_stays_whole(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    Plain().print("/".join(["folder"] * 60))
    Plain().print(sheet("name " * 30))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "/".join(["folder"] * 60)
    assert sum(("name " * 30).strip() in line for line in said) == 3


def test_a_table_of_names_alone_folds_into_the_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    drawn = Sheet(("cell", "", "reason"), names=3)
    drawn.add_row("0123456789abcdef", "failed", "ValueError: [/x] " * 5)
    Plain().print(drawn)
    said = capsys.readouterr().out
    assert all(len(line) <= 40 for line in said.splitlines())
    assert said.count("[/x]") == 5


def test_a_table_with_a_numeric_name_keeps_it_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    drawn = Sheet(("alpha", "error", "kappa"), lines=False)
    drawn.add_row("0.3333333333", "0.358289", "1.605584")
    Plain().print(drawn)
    assert capsys.readouterr().out.count("0.3333333333") == 2


def test_markup_in_a_name_does_not_end_a_command():
    assert command(lambda: Plain().print(sheet("[/x]"))) == 0
