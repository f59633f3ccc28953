"""What an import costs: help loads nothing compiled, solving neither simulation nor plots, and names lead home."""

import subprocess
import sys
from pathlib import Path

import pytest

import theory

ROOT = Path(__file__).resolve().parents[2]


def loaded_after(code):
    """Names of the modules that a fresh process has loaded after some code."""
    told = "import sys\n" + code + "\nsys.stderr.write(' '.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(found.stderr.split())


def test_help_loads_nothing_that_compiles_or_draws():
    code = "import theory.__main__\ntry: theory.__main__.main(['--help'])\nexcept SystemExit: pass"
    loaded = loaded_after(code)
    assert not loaded & {"numba", "scipy", "matplotlib", "theory.saddle_point.kept", "theory.simulation"}


def test_solving_loads_no_simulation_no_root_finder_and_no_plots():
    loaded = loaded_after("from theory.__main__ import main\nmain(['solve', '--alpha', '2'])")
    assert "theory.saddle_point.order_parameters" in loaded
    assert not loaded & {"matplotlib", "scipy.optimize", "theory.simulation", "theory.max_margin", "theory.scaling"}


@pytest.mark.parametrize("name", theory.__all__)
def test_every_public_name_leads_home(name):
    assert getattr(theory, name) is not None and name in dir(theory)


def test_a_name_that_is_none_is_said():
    with pytest.raises(AttributeError, match="no attribute 'slove'"):
        _ = theory.slove
    assert callable(theory.max_margin)
