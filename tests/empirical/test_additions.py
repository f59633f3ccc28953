"""What somebody adds costs the files that ARCHITECTURE.md names, and works in every command.

The examples are what users copy: a method, and a data set with an augmentation and a network, each in one file of their
own. Rows of the families and a new flag are added here as they would be inside the project. (A figure from outside is
tested in tests/figures/test_registry.py.)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import pytest
import torch

import empirical
from empirical import evaluate, networks, run
from empirical.data.augmentation import OPERATIONS
from empirical.data.datasets import load
from empirical.data.registry import SPECS
from empirical.experiment import families, gradient_matching, register_method, trajectory_matching
from empirical.experiment.families import recorded_roles, unread
from empirical.experiment.resolve import resolve, with_preset
from empirical.gradient_matching.matching_loss import GradientMatchingLoss, MatchingLoss
from empirical.settings.identity import identity
from empirical.settings.roles import roles, setting
from empirical.settings.settings import Settings
from empirical.sweep import __main__ as sweep
from empirical.sweep import options as sweep_options
from empirical.sweep.options import unread_by_launcher
from shared.records.records import read
from shared.terminal import plugins

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
METHOD, DATA = EXAMPLES / "method_of_your_own.py", EXAMPLES / "data_of_your_own.py"
SHORT = [
    *("--preset", "laptop", "--iterations", "3", "--batch-real", "8", "--eval-networks", "1", "--eval-epochs", "1"),
    *("--quiet", "--device", "cpu"),
]
TINY = [*SHORT, "--width", "4", "--depth", "1"]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is unknown to the next."""
    monkeypatch.delenv(plugins.VARIABLE, raising=False)
    monkeypatch.setattr(families, "_METHODS", dict(families._METHODS))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("easy_or_hard_plugin"):
            del sys.modules[name]
    plugins.os.environ.pop(plugins.VARIABLE, None)


def test_a_method_from_a_users_file_is_run_recorded_resumed_and_judged(tmp_path: Path) -> None:
    command = ["--plugin", str(METHOD), "--method", "means", *TINY, "--no-compare", "--sdc", "0.1"]
    assert run.main([*command, "--out", str(tmp_path / "r")]) == 0
    stored = read(tmp_path / "r")
    assert stored.settings["method"] == "means"
    assert stored.roles is not None and stored.roles.family == "other"
    assert len(stored.series("norm")[0]) == 3
    assert run.main(["--plugin", str(METHOD), "--resume", "--out", str(tmp_path / "r")]) == 0
    assert evaluate.main([str(tmp_path / "r"), "--out", str(tmp_path / "again.json")]) == 0
    again = json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))
    assert again["convnet"]["accuracies"] == (stored.summary or {})["evaluation"]["accuracies"]


def test_the_comparison_and_the_cost_of_a_users_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--plugin", str(METHOD), "--method", "means", *TINY]
    assert run.main([*command, "--dry-run"]) == 0
    assert "\n  distillation  " in capsys.readouterr().out
    assert run.main([*command, "--whole-epochs", "1", "--out", str(tmp_path / "r")]) == 0
    assert {"means", "means + SDC 0.002", "random"} <= set((read(tmp_path / "r").summary or {})["results"])


def test_a_users_method_is_swept_also_in_processes_of_their_own(tmp_path: Path) -> None:
    command = ["--plugin", str(METHOD), "--methods", "means", "--lambdas", "0", "0.1", *TINY, "--workers", "2"]
    assert sweep.main([*command, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "grid.csv").read_text(encoding="utf-8").count("means") == 2


def test_help_names_what_a_plugin_brings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--plugin", str(METHOD), "--help"])
    assert "mean features of each class" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--method", "meens"], "nearest is 'means'"),
        (["--method", "means", "--initialisation", "selected"], "others take noise or real"),
        (["--method", "means", "--iterations", "0"], "--iterations is at least 1"),
    ],
)
def test_a_users_method_is_checked_like_others(
    wrong: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["--plugin", str(METHOD), *wrong, "--dry-run"]) == 2
    assert words in capsys.readouterr().err


def test_a_data_set_an_augmentation_and_a_network_from_a_users_file(tmp_path: Path) -> None:
    command = ["--plugin", str(DATA), "--dataset", "stripes", "--network", "linear", "--augmentation", "invert"]
    assert run.main([*command, *SHORT, "--no-compare", "--out", str(tmp_path / "r")]) == 0
    assert empirical.load(tmp_path / "r").images.shape == (3, 1, 16, 16)
    assert evaluate.main([str(tmp_path / "r")]) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "is not a file"), ("1 / 0\n", "ZeroDivisionError"), ("def f(:\n", "SyntaxError")],
)
def test_a_plugin_that_cannot_be_used_is_one_sentence(
    text: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plugin.py"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert run.main(["--plugin", str(path), "--dry-run"]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error


def test_an_installed_package_brings_a_method_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "brings_means.py").write_text(METHOD.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        metadata.EntryPoint("means", "brings_means", plugins.GROUP),
        metadata.EntryPoint("broken", "no_such_module", plugins.GROUP),
    ]
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: points if group == plugins.GROUP else [])
    try:
        assert run.main(["--method", "means", *TINY, "--dry-run"]) == 0
    finally:
        sys.modules.pop("brings_means", None)
    captured = capsys.readouterr()
    assert captured.out.startswith("means on digits")
    assert captured.err.count("the plugin no_such_module is left out") == 1


def test_a_record_never_loads_a_file_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--plugin", str(METHOD), "--method", "means", *TINY, "--no-compare"]
    assert run.main([*command, "--out", str(tmp_path / "r")]) == 0
    plugins.os.environ.pop(plugins.VARIABLE)
    assert run.main(["--resume", "--out", str(tmp_path / "r")]) == 2
    assert "method_of_your_own.py: give it again" in capsys.readouterr().err


def test_a_plugin_is_recorded_once_by_its_whole_path_and_given_again_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(METHOD.read_text(encoding="utf-8").replace('"means"', '"centres"'))
    monkeypatch.chdir(tmp_path / "own")
    command = ["--plugin", "mine.py", "--plugin", "./mine.py", "--method", "centres", *TINY, "--no-compare"]
    assert run.main([*command, "--out", "r"]) == 0
    assert read(tmp_path / "own" / "r").settings["plugin"] == [str((tmp_path / "own" / "mine.py").resolve())]
    monkeypatch.chdir(tmp_path)
    assert run.main(["--plugin", "own/mine.py", "--resume", "--out", "own/r"]) == 0
    assert len(read(tmp_path / "own" / "r").settings["plugin"]) == 1


NAMED = {
    "network": ("linear", lambda: networks.registry._factories),
    "data set": ("stripes", lambda: SPECS),
    "augmentation": ("invert", lambda: OPERATIONS),
}


@pytest.mark.parametrize("what", NAMED)
def test_a_set_made_with_a_plugin_is_judged_with_it_or_the_cure_is_named(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--plugin", str(DATA), "--dataset", "stripes", "--network", "linear", "--augmentation", "invert"]
    assert run.main([*command, *SHORT, "--no-compare", "--out", str(tmp_path / "r")]) == 0
    name, registry = NAMED[what]
    monkeypatch.delitem(registry(), name)
    monkeypatch.delenv(plugins.VARIABLE)
    capsys.readouterr()
    assert evaluate.main([str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"unknown {what} '{name}'" in error and "give that with --plugin" in error


@pytest.mark.parametrize(("typed", "near"), [("DSA", "dsa"), ("Mtt", "mtt"), ("herdin", "herding")])
def test_a_method_in_other_letters_hears_the_nearest(typed: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--method", typed, "--dry-run"]) == 2
    assert f"the nearest is '{near}'" in capsys.readouterr().err


def test_a_method_name_that_is_taken_is_refused_with_a_cure() -> None:
    with pytest.raises(ValueError, match=r"registered already.*: give yours another name"):
        register_method("dsa")(lambda experiment: None)  # type: ignore[arg-type,return-value]


def test_a_gradient_matching_method_is_one_row(tmp_path: Path) -> None:
    gradient_matching.register("plainer", gradient_matching.MethodSettings(False, False, "real"), "DC from real images")
    assert run.main(["--method", "plainer", *TINY, "--no-compare", "--out", str(tmp_path / "r")]) == 0
    assert read(tmp_path / "r").settings["initialisation"] == "real"


def test_a_gradient_matching_method_may_bring_a_loss(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Doubled:
        published: GradientMatchingLoss

        def __call__(self, *arguments: object) -> object:
            found = self.published(*arguments)  # type: ignore[arg-type]
            return replace(found, loss=2 * found.loss)

    def doubled(published: GradientMatchingLoss) -> MatchingLoss:
        return Doubled(published)  # type: ignore[return-value]

    row = gradient_matching.MethodSettings(False, False, "real", loss=doubled)
    gradient_matching.register("doubled", row)
    gradient_matching.register("single", replace(row, loss=None))
    for name in ("doubled", "single"):
        tiny = [*TINY, "--no-compare", "--iterations", "1", "--probe-every", "0"]
        assert run.main(["--method", name, *tiny, "--out", str(tmp_path / name)]) == 0
    (one,), (two,) = (read(tmp_path / name).series("loss")[1] for name in ("single", "doubled"))
    assert two == pytest.approx(2 * one, rel=1e-6)


def test_a_trajectory_method_is_one_row(tmp_path: Path) -> None:
    trajectory_matching.register("later", trajectory_matching.MethodSettings("sgd", propagate=True, labels="learned"))
    tiny = [
        *("--width", "4", "--depth", "1", "--iterations", "2", "--syn-steps", "2", "--expert-count", "1"),
        *("--expert-training-epochs", "2", "--max-start-epoch", "1", "--expert-epochs", "1", "--eval-it", "2"),
        *("--eval-networks", "1", "--eval-epochs", "1", "--lr-y", "1", "--quiet", "--device", "cpu"),
    ]
    place = ["--experts", str(tmp_path / "experts"), "--out", str(tmp_path / "r")]
    assert run.main(["--method", "later", *tiny, "--no-compare", *place]) == 0
    assert empirical.load(tmp_path / "r").label_kind == "logits"


def test_a_flag_is_one_field() -> None:
    """Everything that is asked of a setting is asked of its field: identity, cell, comparison, who reads it, bounds."""

    @dataclass(frozen=True)
    class Extended(Settings):
        """One experiment, and one flag more."""

        sharpness: float = setting(1.0, read_by=("gradient",), above=0.0, compared=True)

    role = roles(Extended)["sharpness"]
    assert role.makes and role.compared and role.bounds is not None and -1.0 not in role.bounds
    told = unread(["--sharpness", "2"], [Extended(method="mtt")])
    assert told == ["--sharpness is read by dc, dsa, dcc, dsac, not by mtt"]
    assert unread(["--sharpness", "2"], [Extended(method="dc")]) == []


def test_a_flag_of_later_leaves_the_names_of_runs_that_do_not_use_it() -> None:
    later = setting(None, makes="changed").metadata["role"]
    assert not later.names_the_run(None, None)
    assert later.names_the_run(0.5, None)
    assert setting(1.0).metadata["role"].names_the_run(1.0, 1.0)
    assert not setting(1.0, makes=False).metadata["role"].names_the_run(2.0, 1.0)


UNREAD = {
    "mtt": ["--matching-steps", "--distance", "--hard-threshold", "--warm-up-steps", "--rho", "--lr-y"],
    "tesla": ["--rho", "--alpha", "--network-epochs", "--batch-real", "--bfloat16"],
    "dsa": ["--syn-steps", "--no-zca", "--expert-count", "--warm-up-iterations", "--forgetting-keep"],
    "dc": ["--teacher-label", "--threshold", "--make-experts", "--compiled-student"],
    "random": ["--iterations", "--learning-rate", "--momentum", "--feature-epochs", "--probe-every"],
    "herding": ["--forgetting-epochs", "--augmentation"],
    "whole": ["--ipc", "--eval-epochs", "--eval-batch", "--batch_syn=3"],
}


@pytest.mark.parametrize(("method", "flag"), [(m, flag) for m, flags in UNREAD.items() for flag in flags])
def test_a_flag_that_the_method_never_reads_is_told(method: str, flag: str) -> None:
    (told,) = unread([flag, "1"], [Settings(method=method, sdc=0.1 if method in ("mtt", "dsa") else None)])
    assert told.endswith(f", not by {method}")
    typed = flag.split("=", maxsplit=1)[0].removeprefix("--").removeprefix("no-")
    assert told.startswith("--" + typed.replace("_", "-"))


@pytest.mark.parametrize(
    ("flag", "without", "given"),
    [
        ("--sdc-power", Settings(), Settings(sdc=0.1)),
        ("--sdc-reduction", Settings(), Settings(asdc=(0.1, 0.2))),
        ("--asdc-steps", Settings(sdc=0.1), Settings(asdc=(0.1, 0.2))),
        ("--sdc-steps", Settings(method="mtt"), Settings(method="mtt", compare=True)),
        ("--whole-epochs", Settings(), Settings(method="whole")),
    ],
)
def test_a_flag_without_what_it_needs_is_told(flag: str, without: Settings, given: Settings) -> None:
    (told,) = unread([flag, "1"], [without])
    assert told.startswith(f"{flag} has no effect without ")
    assert unread([flag, "1"], [given]) == []


@pytest.mark.parametrize(
    ("flags", "launcher", "told"),
    [
        (["--slurm-partition", "gpu"], "local", 1),
        (["--slurm-hours=3", "--slurm-memory", "2", "--slurm-gpus", "0", "--wait"], "local", 4),
        (["--cells-per-gpu", "2", "--cancel"], "local", 2),
        (["--slurm-partition", "gpu", "--slurm-gpus", "2"], "slurm", 0),
    ],
)
def test_a_flag_of_another_launcher_is_told(flags: list[str], launcher: str, told: int) -> None:
    said = unread_by_launcher(sweep_options.parse([*flags, "--launcher", launcher]))
    assert len(said) == told
    assert all("has no effect without --launcher slurm" in line for line in said)


@pytest.mark.parametrize("flag", ["--slurm-hours", "--slurm-memory"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e300", "0", "-1"])
def test_what_a_job_asks_for_is_a_number_in_range(flag: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{flag} is a finite number above 0"):
        sweep_options.parse([f"{flag}={value}"])


def test_what_is_read_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--method", "dsac", "--warm-up-steps", "2", "--sdc", "0.1", "--sdc-power", "2", "--dry-run"]) == 0
    assert "note" not in capsys.readouterr().err
    assert run.main(["--method", "mtt", "--matching-steps", "2", "--dry-run", "--no-compare"]) == 0
    assert "note: --matching-steps is read by dc, dsa, dcc, dsac, not by mtt" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["dc", "dsac", "mtt", "datm", "random", "whole"])
def test_a_record_says_of_its_settings_what_the_earlier_version_knew_by_heart(method: str) -> None:
    from shared.records.records import plain
    from shared.records.roles import earlier_roles

    resolved = resolve(with_preset(Settings(method=method), "laptop"), load("digits"))
    newer = {"plugin", "scores", "sdc_pull", "asdc_pull", "eval_along"}
    known = {name: value for name, value in plain(resolved).items() if name not in newer}
    now, before = recorded_roles(resolved), earlier_roles(known)
    assert now.family == before.family
    assert set(before.free) <= set(now.free)
    assert set(now.free) - set(before.free) == newer
    unread_before = {name for name in before.unread if name != "trajectory"}
    assert unread_before <= set(now.unread)
    counted = set(now.counted(plain(resolved)))
    assert {"dataset", "method", "ipc", "width"} - {"ipc"} <= counted
    assert not any(torch.is_tensor(value) for value in identity(resolved).values())
