"""Names that users gave: in files, pictures, Markdown and HTML, whatever they hold."""

import re

import matplotlib.pyplot as plt
import pytest

from figures.compare.page import Bullets, Heading, Paragraph, Picture, Table, to_html, to_markdown
from figures.names import LONGEST, markdown, shown, stem, stems

NASTY = [
    "../../etc/passwd", "a/b", "a\\b", "C:\\x", "..", ".", "", "   ", "-rf", ".hidden", "a\nb", "a\0b", "a\x1b[31mb",
    "$x_$ and $", r"$\frac{1}{$", "[/red]", "<b>&amp;", "a|b", "x" * 400, "日本", "é" * 80, 'con*?"<>|:', "`rm -rf`",
]  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_a_stem_is_one_visible_file_in_its_folder(name, tmp_path):
    found = stem(name)
    assert found and len(found) <= LONGEST and not found.startswith((".", "-"))
    assert re.fullmatch(r"[\w.-]+", found)
    path = tmp_path / f"norms-{found}-ipc1.png"
    path.write_bytes(b"")
    assert path.parent == tmp_path and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_plain_names_stay_as_they_are_and_paths_give_their_last_part():
    assert stem("fashion-mnist") == "fashion-mnist" and stem("v1.2_b") == "v1.2_b"
    assert stems(["digits", "data/cats/"]) == {"digits": "digits", "data/cats/": "cats"}


def test_different_names_never_share_a_file():
    names = ["a/digits", "b/digits", "digits", "DIGITS", "x y", "x-y", "x/y", "x*y", "ü", "", "...", *NASTY]
    found = stems(names)
    assert len({s.casefold() for s in found.values()}) == len(set(names)) == len(found)
    assert stems(reversed(names)) == found


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.filterwarnings("ignore:Glyph")  # a font need not know every script
def test_a_picture_shows_a_name_as_text(name):
    figure, axes = plt.subplots()
    axes.set_title(shown(name))
    figure.suptitle(f"{shown(name)}; theory: {shown(name)}")
    axes.plot([0, 1], label=shown(name) or "x")
    axes.legend()
    figure.canvas.draw()
    plt.close(figure)
    assert "\n" not in shown(name) and "\x1b" not in shown(name) and len(shown(name)) <= LONGEST + name.count("$")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gain of +0.22 [0.1, 0.3] (p = 0.19)", "gain of +0.22 [0.1, 0.3] (p = 0.19)"),
        ("N_eff and p0 ~ phi h", "N_eff and p0 ~ phi h"),
        ("*bold* _it_ ~~no~~", r"\*bold\* \_it\_ \~\~no\~\~"),
        ("[x](http://e.vil)", r"[x\](http://e.vil)"),
        ("![x](y)", r"![x\](y)"),
        ("[x]: y", r"[x\]: y"),
        ("a `code` \\ b", r"a \`code\` \\ b"),
        ("<script>", r"\<script>"),
        ("&lt; & x", r"\&lt; & x"),
        ("# no heading", r"\# no heading"),
        ("- no list", r"\- no list"),
        ("1. no list", r"1\. no list"),
        ("> no quotation", r"\> no quotation"),
        ("two\n\n# lines", "two # lines"),
        ("-0.5 is a number, #1 a name", "-0.5 is a number, #1 a name"),
    ],
)
def test_markdown_shows_text_as_it_is(text, found):
    assert markdown(text) == found


def test_a_page_holds_names_in_their_places(tmp_path):
    nasty = "a|b\n# [x](y) <img src=z> `c`"
    picture = tmp_path / "figures" / "p q.png"
    picture.parent.mkdir()
    picture.write_bytes(b"\x89PNG")
    blocks = [Heading(nasty), Paragraph(nasty), Bullets([nasty]), Table([{nasty: nasty, "n": "-"}]),
              Picture(picture, f"{nasty}]")]  # fmt: skip
    lines = to_markdown(blocks, tmp_path).splitlines()
    assert lines[0].startswith("## a|b # [x\\](y)") and sum(line.startswith("#") for line in lines) == 1
    table = [line for line in lines if line.startswith("| ")]
    assert len(table) == 3 and {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3}
    assert "](figures/p%20q.png)" in "\n".join(lines) and not re.search(r"(?<!\\)<img", "\n".join(lines))
    page = to_html(blocks, nasty)
    assert "<img src=z>" not in page and page.count("<img") == 1 and "&lt;img src=z&gt;" in page
