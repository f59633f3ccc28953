"""An installed package is as good as a checkout: a wheel in an environment of its own, used outside the source folder.

What the package stands on (torch, numba, ...) is lent by the environment that runs the tests: its folder goes on the
path without its `.pth` files, so that an editable installation of this source is not found by mistake.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("theory", "empirical", "shared", "figures")
MODULES = {
    "easy-or-hard-theory": "theory",
    "easy-or-hard-theory-distilled": "theory.distilled",
    "easy-or-hard-figures": "figures",
    "easy-or-hard-figures-tables": "figures.tables",
    "easy-or-hard-run": "empirical.run",
    "easy-or-hard-sweep": "empirical.sweep",
    "easy-or-hard-evaluate": "empirical.evaluate",
    "easy-or-hard-experts": "empirical.experts",
}


def test_every_command_is_installed_under_its_name():
    assert set(PROJECT["scripts"]) == set(MODULES)
    for target in PROJECT["scripts"].values():
        module, function = target.split(":")
        file = ROOT / (module.replace(".", "/") + ".py")
        assert f"def {function}(" in file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """(Run a command of the installed package: arguments -> finished process, the wheel)."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("installed")
    source, home, away = folder / "source", folder / "home", folder / "away"
    away.mkdir()
    shutil.copytree(
        ROOT, source, ignore=lambda at, names: [n for n in names if Path(at) == ROOT and n not in
                                                {*PACKAGES, "pyproject.toml", "README.md", "LICENSE"}]
    )  # fmt: skip
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, source]
    subprocess.run(build, check=True, cwd=away)
    (wheel,) = folder.glob("*.whl")
    venv.create(home, symlinks=True)
    subprocess.run(
        [*pip, "--python", home / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True, cwd=away,
    )  # fmt: skip
    lent = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    lent |= {"PYTHONPATH": sysconfig.get_path("purelib"), "NUMBA_CACHE_DIR": str(folder / "numba")}

    def run(*arguments):
        command = [home / "bin" / arguments[0], *arguments[1:]]
        return subprocess.run(command, cwd=away, env=lent, capture_output=True, text=True, check=False)

    return run, wheel


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_data_and_says_that_it_is_typed(installed):
    held = set(zipfile.ZipFile(installed[1]).namelist())
    for package in PACKAGES:
        data = [p for p in (ROOT / package).rglob("*") if p.suffix in (".toml", ".csv", ".typed", ".py")]
        assert {str(p.relative_to(ROOT)) for p in data if "__pycache__" not in p.parts} <= held


@pytest.mark.slow
def test_the_version_is_the_project_s(installed):
    told = installed[0]("python", "-c", "import importlib.metadata as m; print(m.version('easy-or-hard'))")
    assert told.stdout.strip() == PROJECT["version"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_every_command_helps(installed, name):
    by_name, by_module = installed[0](name, "--help"), installed[0]("python", "-m", MODULES[name], "--help")
    assert by_name.returncode == by_module.returncode == 0, by_name.stderr + by_module.stderr
    assert by_name.stdout == by_module.stdout and f"python -m {MODULES[name]}" in by_name.stdout


@pytest.mark.slow
def test_a_small_run_of_each_works_outside_the_source(installed):
    run, _ = installed
    where = run("python", "-c", "import theory, empirical; print(theory.__file__, empirical.__file__)").stdout
    assert str(ROOT) not in where and "site-packages" in where
    small = ("--iterations", "2", "--eval-networks", "1", "--eval-epochs", "2", "--no-compare")
    commands = [
        ("easy-or-hard-theory", "solve", "--alpha", "2"),
        ("easy-or-hard-theory", "crossover", "--fraction", "0.3"),
        ("easy-or-hard-run", *small, "--out", "runs/one", "--quiet"),
        ("easy-or-hard-evaluate", "runs/one", "--count", "1", "--epochs", "2"),
        ("easy-or-hard-figures", "runs", "runs/one", "--out", "pictures"),
        ("easy-or-hard-figures-tables", "runs/one"),
        ("easy-or-hard-figures", "--list"),
        ("easy-or-hard-sweep", "--sweep", "demo", "--dry-run"),
    ]
    for command in commands:
        done = run(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    refused = run("easy-or-hard-theory", "solve", "--alpha", "-1")
    assert refused.returncode == 2 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
