"""What a run, a sweep cell, an expert folder and a cached simulation are called must never change by accident.

`identities.json` was written by the program as it was before settings said their own role; folders made then are
resumed and read today. A change that is meant (a new setting that counts) rewrites the file:

    python tests/empirical/test_identities.py
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import theory
from empirical.data.datasets import load, load_recorded
from empirical.experiment.experts import TrajectoryMatchingSettings, expert_folder, expert_recipe
from empirical.experiment.families import family_of
from empirical.experiment.resolve import resolve, with_preset
from empirical.experiment.resuming import run_identity
from empirical.networks.choice import NetworkChoice
from empirical.settings.identity import identity
from empirical.settings.settings import Settings
from empirical.settings.trajectory import TrajectorySettings
from empirical.sweep.cells import Cell
from figures.compare import predicted
from figures.theory import simulated
from shared.records.records import plain

GOLDEN = Path(__file__).parent.parent / "golden" / "identities.json"

CASES: dict[str, tuple[dict[str, Any], str | None]] = {
    "dsa": ({}, None),
    "dc published": ({"method": "dc", "dataset": "mnist"}, None),
    "dsa sdc": ({"sdc": 0.01, "ipc": 10, "seed": 3}, None),
    "dsa published sdc": ({"dataset": "svhn", "sdc": "published", "ipc": 10}, None),
    "dsa asdc": ({"asdc": (0.002, 0.008), "asdc_shape": "concave"}, None),
    "dcc": ({"method": "dcc", "dataset": "cifar10", "ipc": 10}, "table1"),
    "dsac": ({"method": "dsac", "dataset": "cifar100", "sdc_power": 2}, None),
    "dsac noise": ({"method": "dsac", "initialisation": "noise", "distance": "cosine", "compiled": "on"}, None),
    "dc threshold": ({"method": "dc", "hard_threshold": 0.5, "network": "mlp"}, None),
    "mtt": ({"method": "mtt"}, None),
    "mtt published": ({"method": "mtt", "dataset": "cifar10", "ipc": 10, "sdc": "published"}, None),
    "ftd": ({"method": "ftd", "dataset": "cifar10"}, None),
    "ftd laptop": ({"method": "ftd", "trajectory": {"syn_steps": 4, "rho": 0.02}}, None),
    "tesla": ({"method": "tesla", "dataset": "tiny-imagenet"}, None),
    "datm": ({"method": "datm", "dataset": "cifar100", "ipc": 10}, None),
    "datm laptop": ({"method": "datm", "asdc": (0.001, 0.1)}, None),
    "random": ({"method": "random", "ipc": 5}, None),
    "herding": ({"method": "herding", "dataset": "cifar10", "ipc": 10, "feature_epochs": 3}, None),
    "forgetting": ({"method": "forgetting", "forgetting_keep": "lowest"}, None),
    "whole": ({"method": "whole", "dataset": "fashion-mnist"}, None),
    "dsa judged": ({"eval_batch": 32, "whole_batch": 16, "eval_epochs": 7, "train_images": 900}, None),
    "mtt zca": ({"method": "mtt", "trajectory": {"zca": True, "make_experts": True}, "validation": 0.1}, None),
}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()[:20]


def _named(changed: dict[str, Any], preset: str | None) -> dict[str, str]:
    """Every name that the settings of a case lead to."""
    changed = dict(changed)
    trajectory = TrajectorySettings(**changed.pop("trajectory", {}))
    first = {k: v for k, v in changed.items() if k in ("dataset", "method", "ipc", "network")}
    typed = replace(with_preset(replace(Settings(), **first), preset), **changed, trajectory=trajectory)
    data = load("digits", validation=typed.validation)
    if typed.train_images:  # as it was recorded then: 899 images where 900 were asked for, now exactly so many
        data = load_recorded({"name": "digits", "train_images": typed.train_images, "sizes": {"train": 899}})
    resolved = resolve(typed, data)
    cell = Cell(replace(resolved, repetitions=1, compare=False), data.fingerprint)
    found = {
        "identity": _digest(identity(resolved)),
        "run": _digest(run_identity(resolved, data)),
        "cell": cell.name,
        "group": cell.digest(("sdc",))[:20],
    }
    if isinstance(resolved, TrajectoryMatchingSettings):
        recipe = expert_recipe(resolved)
        choice = NetworkChoice(resolved.network, resolved.variant)
        seen = family_of(resolved).prepared(resolved, data, fitted=False)
        found["experts"] = str(expert_folder(seen, choice, recipe))
    return found


def _cached(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Names of cached simulations and predictions, for a theory of one line."""
    (folder / "__init__.py").write_text("one = 1\n", encoding="utf-8")
    monkeypatch.setattr(theory, "__file__", str(folder / "__init__.py"))
    settings = {"keep": "easy", "fraction": 0.2, "degrees": 20.0, "alphas": [0.5, 1.0], "dimension": 40, "trials": 5}
    return {
        "simulation": simulated._digest({**settings, "seed": 3}),
        "prediction": predicted._digest(True, (0.0, 0.2), "signed", 2.0, 24),
    }


@pytest.mark.parametrize("case", CASES)
def test_names_are_those_of_the_earlier_version(case: str) -> None:
    assert _named(*CASES[case]) == json.loads(GOLDEN.read_text(encoding="utf-8"))[case]


def test_cached_simulations_keep_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _cached(tmp_path, monkeypatch) == json.loads(GOLDEN.read_text(encoding="utf-8"))["cached"]


def test_the_cases_are_all_different() -> None:
    stored = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len({stored[case]["cell"] for case in CASES}) == len(CASES)


def _write() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        names: dict[str, Any] = {case: _named(*asked) for case, asked in CASES.items()}
        names["cached"] = _cached(Path(folder), patch)
    GOLDEN.write_text(json.dumps(names, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
