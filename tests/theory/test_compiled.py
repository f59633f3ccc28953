"""A cache of compiled code helps and is never a condition: read-only installations, full disks, damaged files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("theory", "shared", "figures", "empirical")
KERNEL = "from theory.saddle_point.gaussian import phi; print(phi(0.0))"
PHI = "0.3989422804014327"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The packages in a folder of their own, where no `__pycache__` of the theory can be made: each is a file."""
    site = tmp_path_factory.mktemp("site")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (site / "theory", *(path for path in (site / "theory").rglob("*") if path.is_dir())):
        (folder / "__pycache__").write_text("not a folder")
    return site


def run(site, tmp_path, *arguments, limit=None, **environment):
    """Run Python on the copy: the home, its caches and NUMBA_CACHE_DIR lie below a file unless named."""
    blocked = tmp_path / "a file"
    blocked.touch()
    usual = {name: str(blocked / name) for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    scratch = {"TMPDIR": str(tmp_path), "MPLCONFIGDIR": str(tmp_path), "PYTHONPATH": str(site)}
    command = [sys.executable, "-P", *arguments]
    if limit is not None:  # the largest file that may be written, in blocks of a kilobyte
        command = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash", *command]
    return subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **usual, **scratch, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["theory", "theory.distilled", "figures"])
def test_a_read_only_installation_runs_with_a_temporary_cache_and_one_warning(installed, tmp_path, module):
    found = run(installed, tmp_path, "-m", module, "--help")
    assert found.returncode == 0 and "usage" in found.stdout
    lines = [line for line in found.stderr.splitlines() if "compiled code" in line]
    assert len(lines) <= 1 and "Traceback" not in found.stderr


def test_the_temporary_cache_is_used_again_and_belongs_to_the_user_alone(installed, tmp_path):
    for _ in range(2):
        found = run(installed, tmp_path, "-c", KERNEL)
        assert found.stdout.strip() == PHI
        assert found.stderr.count("usual folders") == 1 and len(found.stderr.splitlines()) == 1
    (folder,) = tmp_path.glob("easy-or-hard-*")
    assert folder.stat().st_mode & 0o077 == 0
    stats = "print(phi.stats.cache_hits, sum(phi.stats.cache_hits.values()))"
    assert run(installed, tmp_path, "-c", f"{KERNEL}; {stats}").stdout.split()[-1] == "1"


def test_a_temporary_folder_that_others_may_write_to_is_not_trusted(installed, tmp_path):
    folder = tmp_path / f"easy-or-hard-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    found = run(installed, tmp_path, "-c", KERNEL)
    assert found.stdout.strip() == PHI and found.stderr.count("no folder for compiled code") == 1
    assert not list(folder.iterdir())


def test_without_any_writable_folder_everything_is_compiled_for_the_call(installed, tmp_path):
    nowhere = f"import tempfile; tempfile.tempdir = {str(tmp_path / 'a file' / 'x')!r}; "
    found = run(installed, tmp_path, "-c", nowhere + KERNEL)
    assert found.stdout.strip() == PHI
    assert found.stderr.count("no folder for compiled code") == 1 and len(found.stderr.splitlines()) == 1


def test_a_full_disk_costs_the_next_call_its_cache_and_nothing_else(installed, tmp_path):
    cache = tmp_path / "cache"
    found = run(installed, tmp_path, "-c", KERNEL, limit=0, NUMBA_CACHE_DIR=str(cache))
    assert found.stdout.strip() == PHI
    assert found.stderr.count("compiled code cannot be kept") == 1 and len(found.stderr.splitlines()) == 1
    assert not list(cache.rglob("*.nb*"))


@pytest.mark.parametrize(("kind", "content"), [("nbi", b""), ("nbi", b"rubbish"), ("nbc", b"\x80\x04].")])
def test_a_damaged_cache_is_made_again(installed, tmp_path, kind, content):
    cache = tmp_path / "cache"
    assert run(installed, tmp_path, "-c", KERNEL, NUMBA_CACHE_DIR=str(cache)).stderr == ""
    for path in cache.rglob(f"*.{kind}"):
        path.write_bytes(content)
    found = run(installed, tmp_path, "-c", KERNEL, NUMBA_CACHE_DIR=str(cache))
    assert found.stdout.strip() == PHI and found.stderr.count("made again") == 1
    assert run(installed, tmp_path, "-c", KERNEL, NUMBA_CACHE_DIR=str(cache)).stderr == ""


def test_a_kernel_is_compiled_again_when_one_that_it_calls_has_changed(installed, tmp_path):
    site = shutil.copytree(installed, tmp_path / "site")
    (site / "theory" / "outer.py").write_text(
        "from theory._compiled import compiled\nfrom theory.inner import inner\n\n"
        "@compiled\ndef outer():\n    return inner()\n"
    )
    for value in (1.0, 2.0):
        (site / "theory" / "inner.py").write_text(
            f"from theory._compiled import compiled\n\n@compiled\ndef inner():\n    return {value}\n"
        )
        found = run(
            site, tmp_path, "-c", "from theory.outer import outer; print(outer())", NUMBA_CACHE_DIR=str(tmp_path / "c")
        )
        assert float(found.stdout) == value


@pytest.mark.slow
def test_without_a_cache_the_theory_is_the_same(installed, tmp_path):
    nowhere = f"import tempfile; tempfile.tempdir = {str(tmp_path / 'a file' / 'x')!r}; "
    found = run(installed, tmp_path, "-c", nowhere + "from theory import solve; print(solve(1.0).test_error)")
    assert float(found.stdout) == pytest.approx(0.2657114699383, abs=1e-12)
