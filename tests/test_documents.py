"""What the documents say of the project is true of its files: paths, modules, examples, the version."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUIDES = tuple(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", *GUIDES)
PACKAGES = ("theory", "empirical", "shared", "figures")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def quoted(name: str) -> set[str]:
    """What stands between backquotes, outside blocks of code."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text(name), flags=re.DOTALL)))


def is_module(dotted: str) -> bool:
    place = ROOT.joinpath(*dotted.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_a_document_names_is_there(name):
    folders = r"(theory|empirical|shared|figures|tests|docs|examples|benchmarks)/"
    named = {word for word in quoted(name) if re.fullmatch(folders + r"[\w./*-]*", word)}
    missing = sorted(word for word in named if not list(ROOT.glob(word.rstrip("/"))))
    assert named or name in GUIDES
    assert not missing


def test_every_new_import_path_of_the_change_log_is_a_module():
    rows = re.findall(r"^\| `.*\| (.*) \|$", text("CHANGELOG.md"), flags=re.MULTILINE)
    paths = {p for row in rows for p in re.findall(r"`((?:theory|empirical|shared|figures)\.[\w.]+\.[a-z]\w*)`", row)}
    assert len(paths) > 30
    assert sorted(p for p in paths if not is_module(p)) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_in_documents_import_what_there_is(name):
    for block in re.findall(r"```python\n(.*?)```", text(name), flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
                assert is_module(node.module or ""), ast.unparse(node)


def test_the_citation_the_change_log_and_the_package_have_one_version():
    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    assert f"\nversion: {version}\n" in text("CITATION.cff")
    assert f"\n## [{version}]" in text("CHANGELOG.md")


def test_every_package_says_that_it_is_typed_and_the_wheel_carries_its_data():
    carried = tomllib.loads(text("pyproject.toml"))["tool"]["setuptools"]["package-data"]
    for package in PACKAGES:
        root = ROOT / package
        inside = {found for pattern in carried[package] for found in root.glob(pattern)}
        data = {p for p in root.rglob("*") if p.suffix in (".toml", ".csv", ".typed")}
        assert root / "py.typed" in data
        assert data <= inside


def test_every_dotted_name_in_a_docstring_is_somewhere():
    """The longest part of it that is a module holds the rest as a word."""
    pattern = r"`((?:theory|empirical|shared|figures|benchmarks)(?:\.\w+)+)`"
    found = {n for p in (*PACKAGES, "benchmarks", "examples") for f in (ROOT / p).rglob("*.py")
             for n in re.findall(pattern, f.read_text(encoding="utf-8"))}  # fmt: skip
    assert len(found) > 40
    for name in sorted(found):
        parts = name.split(".")
        k = next(k for k in range(len(parts), 0, -1) if is_module(".".join(parts[:k])))
        place = ROOT.joinpath(*parts[:k])
        source = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        assert not parts[k:] or re.search(rf"\b{parts[k]}\b", source.read_text(encoding="utf-8")), name


def test_the_grids_that_make_compare_takes_are_grids():
    from shared.comparison.grid import grids, read_csv

    (patterns,) = re.findall(r"--published \$\(wildcard ([^)]*)\)", text("Makefile"))
    found = sorted(path for pattern in patterns.split() for path in ROOT.glob(pattern))
    assert len(found) == 5
    assert all(grids(read_csv(path)) for path in found)
