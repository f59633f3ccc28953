"""A figure costs one file: found by its decorator, listed, drawn, refused; without importing what it does not need."""

import csv
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from figures import registry
from figures.__main__ import main
from figures.desk import Desk
from shared.terminal import plugins

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "figure_of_your_own.py"
PLUGIN = '''
from dataclasses import dataclass
from figures.registry import command, figure

@figure("{name}", group="{group}", writes=("one", "two"))
def draw(desk):
    """Two files."""
    paths = [desk.out / f"{{stem}}.txt" for stem in ("one", "two")]
    for path in paths:
        path.write_text(str(desk.pick(1, 2)))
    return paths

@command("{name}-command")
@dataclass(frozen=True)
class Mine:
    """Says a word."""
    word: str = "hello"

    def run(self):
        if self.word == "no":
            raise ValueError("--word is no")
        print(self.word)
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A file with a figure and a command; what is registered is forgotten after the test."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN.format(name="mine", group="ours"))
    return path


def test_the_example_is_drawn_from_one_file(tmp_path, capsys):
    run = [sys.executable, "-m", "figures", "--plugin", str(EXAMPLE), "margins", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "margins at 8 sizes" in done.stdout and "1 figure in" in done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"margins.pdf", "margins.png", "margins.csv"}
    with (tmp_path / "margins.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 24


def test_a_figure_of_a_plugin_is_listed_drawn_and_of_its_group(plugin, tmp_path, capsys):
    assert main(["--plugin", str(plugin), "--list"]) == 0
    said = capsys.readouterr().out
    assert "mine" in said and "Two files. [ours] (one, two)" in said and "Says a word." in said
    for name in ("mine", "ours"):
        assert main(["--plugin", str(plugin), name, "--quick", "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name / "two.txt").read_text() == "1"
        assert f"wrote {tmp_path / name / 'one.txt'}, {tmp_path / name / 'two.txt'}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["figure", "command"])
def test_a_name_that_one_file_gives_twice_is_refused(plugin, capsys, kind):
    plugin.write_text(
        "from figures.registry import command, figure\n\n"
        "@figure('twice')\ndef one(desk):\n    ...\n\n"
        f"@{kind}('twice')\n{'def two(desk):' if kind == 'figure' else 'class Two:'}\n    ...\n"
    )
    assert main(["--plugin", str(plugin), "--list"]) == 2
    assert "two figures are called 'twice'" in capsys.readouterr().err


def test_a_command_of_a_plugin_has_flags_of_its_own(plugin, capsys):
    assert main(["--plugin", str(plugin), "mine-command", "--word", "yes"]) == 0
    assert capsys.readouterr().out == "yes\n"
    assert main([f"--plugin={plugin}", "mine-command", "--word", "no"]) == 2
    assert capsys.readouterr().err == "error: --word is no\n"


def test_an_installed_package_brings_figures_by_an_entry_point(plugin, monkeypatch, capsys):
    monkeypatch.syspath_prepend(plugin.parent)
    points = [
        metadata.EntryPoint("ours", "plugin", registry.ENTRY_POINTS),
        metadata.EntryPoint("broken", "no_such_module", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: points)
    try:
        assert main(["--list"]) == 0
    finally:
        sys.modules.pop("plugin", None)
    captured = capsys.readouterr()
    assert "mine" in captured.out
    assert captured.err.count("\n") == 1 and "the plugin no_such_module is left out" in captured.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "is not a file"),
        ("x = 1\n", "registers no figure"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def f(:\n", "SyntaxError"),
        (PLUGIN.format(name="z-scores", group="ours"), "two figures are called 'z-scores'"),
        (PLUGIN.format(name="theory", group="ours"), "same name ('theory')"),
        (PLUGIN.format(name="mine", group="runs"), "must not have the same name"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_refused_in_a_sentence(text, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    path = tmp_path / "plugin.py"
    if text is not None:
        path.write_text(text)
    assert main(["--plugin", str(path), "mine", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_command_among_figures_is_told_where_to_stand(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "compare"]) == 2
    assert "compare is a command with flags of its own: python -m figures compare" in capsys.readouterr().err


def test_listing_and_the_theorys_figures_need_no_torch():
    code = (
        "import sys; from figures.__main__ import main; main(['--list']); from figures import registry;"
        "[registry.draw_of(n) for n, e in registry.entries().items() if not e.is_command];"
        "sys.exit(any(m.split('.')[0] in ('torch', 'empirical') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True).returncode == 0


def test_a_missing_library_is_named(monkeypatch, capsys):
    def absent(name):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "import_module", absent)
    assert main(["difficulty"]) == 2
    assert "difficulty needs torch, which is not installed: pip install" in capsys.readouterr().err


def test_what_is_read_from_the_text_is_what_is_registered():
    """The list is made from decorators' literals; importing the files must give the same."""
    for name, entry in registry._own().items():
        made = registry.command_of(name) if entry.is_command else registry.draw_of(name)
        found = registry._registered[name]
        assert (found.name, found.module, found.is_command) == (name, entry.module, entry.is_command)
        assert (found.group, found.writes, found.said, found.made) == (entry.group, entry.writes, entry.said, made)


def test_desk_makes_shared_work_once(tmp_path):
    desk, calls = Desk(tmp_path, quick=True), []
    assert [desk.once("work", lambda: calls.append(1) or 7) for _ in range(3)] == [7, 7, 7]
    assert len(calls) == 1 and desk.pick(1, 2) == 1


def test_the_text_of_a_file_is_enough_to_list_it(tmp_path, monkeypatch):
    """A file dropped into the house's folder, however it names the decorator, without being imported."""
    (tmp_path / "theory").mkdir()
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "theory" / "new.py").write_text(
        'raise RuntimeError("imported")\n\n@registry.figure("a-b", group="g")\ndef draw(desk):\n    """Says it."""\n'
    )
    monkeypatch.setattr(registry.figures, "__file__", str(tmp_path / "__init__.py"))
    found = registry._own.__wrapped__()
    module = f"{tmp_path.name}.theory.new"
    assert found == {"a-b": registry.Entry("a-b", module, False, "g", ("a_b",), "Says it.")}
    (tmp_path / "theory" / "new.py").write_text("@figure(NAME)\ndef draw(desk):\n    pass\n")
    with pytest.raises(ValueError, match=r"new, line 2: what @figure is given must be literals"):
        registry._own.__wrapped__()
