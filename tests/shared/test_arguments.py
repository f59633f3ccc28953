"""A command line that cannot be read ends in one sentence and status 2; help and good arguments pass untouched."""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro
from tyro import _fmtlib

from shared.terminal.arguments import one_sentence, read_arguments


@dataclass
class Options:
    """Options.

    Attributes:
        method: how it is done, in words that fill more than a line of a narrow terminal and then some more of them.
        images: how many.
        kind: of two.

    """

    method: str = "dsa"
    images: int | None = None
    kind: Literal["flat", "sharp"] = "flat"


def parse(*arguments):
    return read_arguments(lambda: tyro.cli(Options, args=arguments, prog="some command"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metod", "dc"], "unrecognized options: --metod, dc; perhaps you meant --method; for full helptext"),
        (["--images", "few"], "--images: no type matching {None}|INT could be instantiated from ['few']; --images"),
        (["--images"], "missing value for argument '--images'; expected 1 values; for full"),
        (["--kind", "soft"], "invalid choice 'soft' for argument '--kind'; expected one of"),
        (["dc"], "unrecognized options: dc; for full helptext, run some command --help"),
    ],
)
@pytest.mark.parametrize(("columns", "encoding"), [("40", "utf-8"), ("200", "utf-8"), ("60", "ascii")])
def test_what_cannot_be_read_is_refused_in_one_line(capsys, monkeypatch, arguments, said, columns, encoding):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(_fmtlib, "_FORCE_UTF8_BOXES", encoding == "utf-8")
    with pytest.raises(SystemExit) as stop:
        parse(*arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith(f"error: {said}") and error.count("\n") == 1 and error.endswith("--help\n")
    assert not set(error) & set("╭╮╰╯│─") and "\x1b" not in error


def test_good_arguments_help_and_warnings_pass(capsys):
    assert parse("--method", "dc", "--images", "3") == Options("dc", 3)
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0 and "usage: some command" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        read_arguments(lambda: print("to the side", file=sys.stderr) or sys.exit(0))
    assert capsys.readouterr().err == "to the side\n"
    assert read_arguments(lambda: print("a warning", file=sys.stderr)) is None
    assert capsys.readouterr().err == "a warning\n"


def test_colours_and_an_empty_box():
    assert one_sentence("\x1b[31m╭─ T ─╮\x1b[0m\n│ \x1b[1mBad\x1b[0m thing.  │\n╰─╯") == "bad thing"
    assert one_sentence("") == "the arguments cannot be read"


@dataclass
class Inner:
    """Options within options."""

    experts: Path | None = None


@dataclass
class Typed:
    """Options."""

    places: tyro.conf.Positional[tuple[Path, ...]] = ()
    out: Path = Path("output")
    inner: Annotated[Inner, tyro.conf.arg(name="")] = field(default_factory=Inner)
    seed: int = 0
    seeds: tuple[int, ...] = (0,)


def typed(*arguments):
    return read_arguments(lambda: tyro.cli(Typed, args=arguments, prog="some command"))


def test_a_tilde_is_expanded_in_every_path_option(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = typed("~/a", "b", "~", "./~x", "c~", "--out=~/d", "--experts", "~/e f")
    assert found.places == (tmp_path / "a", Path("b"), tmp_path, Path("~x"), Path("c~"))
    assert (found.out, found.inner.experts) == (tmp_path / "d", tmp_path / "e f")
    assert typed().out == Path("output")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", ""], "--out is empty: name a file or folder"),
        (["--experts", ""], "--experts is empty"),
        (["a", ""], "PLACES is empty"),
        (["--out", "~nobody-of-this-name/x"], "--out is ~nobody-of-this-name/x, but there is no such user"),
        (["--seed", "-1"], "--seed is a whole number from 0 to 9223372036854775807, not -1"),
        (["--seed", str(2**63)], f"--seed is a whole number from 0 to {2**63 - 1}, not {2**63}"),
        (["--seeds", "0", "-3"], "--seeds is a whole number from 0 to 9223372036854775807, not -3"),
    ],
)
def test_paths_and_seeds_that_mean_nothing_are_refused_by_their_flag(arguments, said):
    with pytest.raises(ValueError, match="^" + re.escape(said)):
        typed(*arguments)


def test_the_ends_of_the_range_of_seeds_are_taken():
    assert (typed("--seed", "0").seed, typed("--seed", str(2**63 - 1)).seed) == (0, 2**63 - 1)
