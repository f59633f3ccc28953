"""The house's walls: who may import whom, read from every file's imports (ARCHITECTURE.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "theory": {"torch", "torchvision", "empirical", "figures"},
    "empirical": {"theory", "figures"},
    "shared": {"theory", "empirical", "figures", "torchvision"},
}
# The one file of `shared` that measures networks.
ALLOWED = {("shared/difficulty.py", "torch")}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_imports_only_go_down(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        where = path.relative_to(ROOT).as_posix()
        crossed = set(imported(path)) & FORBIDDEN[room]
        if room == "shared":
            crossed |= set(imported(path)) & {"torch"}
        crossed -= {name for file, name in ALLOWED if file == where}
        assert not crossed, f"{where} imports {sorted(crossed)}"


def test_theory_does_not_load_torch():
    code = "import sys, theory, theory.__main__; sys.exit(any(m.split('.')[0] == 'torch' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_no_file_is_longer_than_four_hundred_lines():
    rooms = ("theory", "empirical", "shared", "figures", "tests", "benchmarks")
    files = [p for room in rooms for p in (ROOT / room).rglob("*.py")]
    long = {p.name: n for p in files if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long
