"""The house's walls, read from every file's imports (ARCHITECTURE.md): who may import whom, and no circles.

A room is a folder of a wing (`empirical/data`) or a file that stands beside the folders (`theory/scaling.py`). Imports
inside functions count like all others.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WINGS = ("theory", "empirical", "shared", "figures")
FORBIDDEN = {
    "theory": {"torch", "torchvision", "empirical", "figures"},
    "empirical": {"theory", "figures"},
    "shared": {"theory", "empirical", "figures", "torch", "torchvision"},
}
# The one file of `shared` that measures networks.
ALLOWED = {("shared/measures/difficulty.py", "torch")}
# From ground to top: a room imports rooms of its own floor or below, never above. Names are rooms of the wing.
FLOORS = {
    "shared": (("terminal", "measures", "difficulty"), ("records",), ("comparison",)),
    "empirical": (
        ("runtime", "correction"),
        ("data", "networks"),
        ("synthetic", "training"),
        ("coresets", "selection",),
        ("distillation",),
        ("gradient_matching", "evaluation", "trajectory_matching"),
        ("distribution_matching",),
        ("settings",),
        ("experiment",),
        ("run", "evaluate", "experts", "sweep"),
    ),
}


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import; an empty name for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.module or "", alias.name) for alias in node.names)


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of the house."""
    found = {}
    for path in (p for wing in WINGS for p in (ROOT / wing).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def targets(path: Path) -> set[str]:
    """The house's modules that a file imports."""
    known, found = modules(), set()
    for module, name in imported(path):
        full = f"{module}.{name}"
        found |= {full} if full in known else {module} & known.keys()
    return found


def room(module: str) -> str:
    """`empirical.data.npz` -> `empirical.data`."""
    return ".".join(module.split(".")[:2])


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The circles of a graph, as the chains of a depth-first walk that come back to themselves."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(node: str, chain: list[str]) -> None:
        if node in chain:
            found.append([*chain[chain.index(node) :], node])
        elif node not in done:
            for other in sorted(arrows.get(node, ())):
                walk(other, [*chain, node])
            done.add(node)

    for node in sorted(arrows):
        walk(node, [])
    return found


@pytest.mark.parametrize("wing", sorted(FORBIDDEN))
def test_imports_only_go_down_between_wings(wing):
    files = sorted((ROOT / wing).rglob("*.py"))
    assert files
    for path in files:
        where = path.relative_to(ROOT).as_posix()
        crossed = {module.split(".")[0] for module, _ in imported(path)} & FORBIDDEN[wing]
        crossed -= {name for file, name in ALLOWED if file == where}
        assert not crossed, f"{where} imports {sorted(crossed)}"


@pytest.mark.parametrize("wing", sorted(FLOORS))
def test_imports_only_go_down_between_rooms(wing):
    floor = {name: level for level, names in enumerate(FLOORS[wing]) for name in names}
    for module, path in modules().items():
        if module == wing or not module.startswith(f"{wing}."):
            continue
        own = module.split(".")[1]
        assert own in floor, f"{module} stands on no floor"
        for target in targets(path):
            if target.startswith(f"{wing}.") and (other := target.split(".")[1]) != own:
                assert floor[other] <= floor[own], f"{module} imports {target}, which is above it"


def test_no_files_and_no_rooms_import_in_circles():
    files = {module: targets(path) - {module} for module, path in modules().items()}
    rooms: dict[str, set[str]] = {}
    for module, others in files.items():
        rooms.setdefault(room(module), set()).update(room(o) for o in others if room(o) != room(module))
    # A package's own name (`theory`) is its public face: it imports its rooms, and who imports it comes from outside.
    assert circles(files) == []
    assert circles(rooms) == []


def test_the_walk_finds_a_circle():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == [["a", "b", "c", "a"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_theory_does_not_load_torch():
    code = "import sys, theory, theory.__main__; sys.exit(any(m.split('.')[0] == 'torch' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_correction_needs_torch_alone():
    """Who only wants the penalty in a loop of their own installs nothing else."""
    path = ROOT / "empirical" / "correction.py"
    assert {module.split(".")[0] for module, _ in imported(path)} - sys.stdlib_module_names == {"torch"}


def test_no_file_is_longer_than_four_hundred_lines():
    rooms = (*WINGS, "tests", "benchmarks", "examples")
    files = [p for name in rooms for p in (ROOT / name).rglob("*.py")]
    long = {p.name: n for p in files if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long
