"""The site builds without a warning; what its pages show is what comes out: examples are run, flags are looked up."""

import doctest
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))


def blocks(page: str, *languages: str) -> list[str]:
    """What stands in a page's fences of these languages."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [inside for language, inside in fences if language in languages]


EXECUTED = [page for page in PAGES if blocks(page, "pycon")]


def test_the_guides_have_examples_that_are_run():
    guides = {"docs/getting-started.md", "docs/theory.md", "docs/distillation.md", "docs/difficulty.md"}
    assert guides <= set(EXECUTED)


@pytest.mark.parametrize("page", EXECUTED)
def test_the_examples_of_a_page_print_what_it_shows(page):
    text = "\n\n".join(blocks(page, "pycon"))
    example = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    said: list[str] = []
    found = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert found.attempted > 0
    assert not found.failed, "".join(said)


def commands(page: str) -> list[list[str]]:
    """The words of each `python -m MODULE ...` in a block of a terminal's or the shell's."""
    text = "\n".join(blocks(page, "console", "")).replace("\\\n", " ")
    lines = (re.search(r"python -m ((?:theory|empirical|figures|benchmarks)\b.*)", line) for line in text.splitlines())
    return [re.sub(r"\s#.*", "", line[1]).split() for line in lines if line]


@cache
def help_of(*module: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", *module, "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


SUBCOMMANDS = {"theory": 1, "figures": 1}
"""Commands whose first word chooses what the flags belong to."""


def parts(words: list[str]) -> tuple[list[str], list[str]]:
    """Module with its subcommand, and the flags."""
    chosen = [words[0]]
    for word in words[1:]:
        if word.startswith("-") or words[0] not in SUBCOMMANDS or not re.fullmatch(r"[a-z-]+", word):
            break
        chosen.append(word)
    return chosen, [word.split("=")[0] for word in words if word.startswith("--")]


def test_every_command_of_the_pages_has_the_flags_that_they_show():
    shown = {(tuple(chosen), flag) for page in PAGES for words in commands(page) for chosen, flags in [parts(words)]
             for flag in flags}  # fmt: skip
    assert len({chosen for chosen, _ in shown}) > 8
    missing = [
        " ".join([*chosen, flag])
        for chosen, flag in sorted(shown)
        if not re.search(rf"{re.escape(flag)}(?![\w-])", help_of(*chosen))
    ]
    assert not missing


def test_the_site_builds_offline_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    ended = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    made = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert {Path(page).stem for page in PAGES if page != "README.md"} <= made
    outside = r"(?:src|href)=\"https?://[^\"]*\.(?:js|css|woff2?)"
    assert not re.search(outside, (tmp_path / "site" / "index.html").read_text(encoding="utf-8"))
