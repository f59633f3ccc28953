import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import empirical
from empirical import evaluate, networks, run
from empirical.data.datasets import load
from empirical.distillation.loop import CHECKPOINT
from empirical.experiment.resolve import published_coefficient, resolve, with_preset
from empirical.runtime.checkpoint import Lock
from empirical.settings.identity import identity
from empirical.settings.settings import Settings
from shared.records.records import read

ROOT = Path(__file__).parents[2]
TINY = [
    "--width",
    "8",
    "--depth",
    "2",
    "--iterations",
    "4",
    "--batch-real",
    "8",
    "--eval-networks",
    "2",
    "--eval-epochs",
    "3",
    "--whole-epochs",
    "1",
    "--quiet",
    "--device",
    "cpu",
]


def go(*arguments):
    return run.main([*TINY, *map(str, arguments)])


def images(folder):
    return empirical.load(folder).images


def test_the_default_compares_and_leaves_a_record(tmp_path, capsys):
    assert go("--out", tmp_path / "r") == 0
    printed = capsys.readouterr().out
    for name in ("random", "dsa", "dsa + SDC 0.002", "whole"):
        assert name in printed
    files = {path.name for path in (tmp_path / "r").iterdir()}
    assert {"config.json", "metrics.jsonl", "synthetic.safetensors", "summary.json", "synthetic.png"} <= files
    stored = read(tmp_path / "r")
    assert set(stored.summary["results"]) == {"random", "dsa", "dsa + SDC 0.002", "whole"}
    assert len(images(tmp_path / "r")) == 10
    steps, distances = stored.series("distance")
    assert steps.tolist() == [0, 1, 2, 3]
    assert np.isfinite(distances).all()
    assert len(stored.series("gradn_synthetic_random")[0]) > 1
    # One record, paired: both runs start from the same images, draws and networks.
    corrected = read(tmp_path / "r" / "with-sdc")
    assert corrected.series("distance")[1][0] == distances[0]
    assert corrected.settings["sdc"] == 0.002


def test_the_stored_set_is_the_evaluated_set(tmp_path):
    from empirical.evaluate import Options, results

    assert go("--out", tmp_path / "r", "--no-compare") == 0
    again = results(Options(tmp_path / "r"), quiet=True)["convnet"]
    assert list(again.accuracies) == read(tmp_path / "r").summary["evaluation"]["accuracies"]


@pytest.mark.parametrize("method", ["dc", "dcc", "dsac"])
def test_every_method_runs(tmp_path, method):
    steps = ["--matching-steps", "2", "--network-epochs", "1", "--warm-up-iterations", "2"]
    assert go("--method", method, *steps, "--sdc", "0.1", "--out", tmp_path / "r") == 0
    assert len(read(tmp_path / "r").series("norm")[0]) == 8


@pytest.mark.parametrize("method", ["random", "herding", "forgetting", "whole"])
def test_coresets_are_methods_of_the_same_command(tmp_path, method):
    assert (
        go("--method", method, "--out", tmp_path / "r", "--feature-epochs", "1", "--forgetting-epochs", "2")
        == 0
    )
    assert method in read(tmp_path / "r").summary["results"]


def test_images_need_not_be_square(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    shades = (80 * labels[:, None, None, None] + rng.integers(0, 60, (30, 12, 20, 3))).astype(np.uint8)
    for split in ("train", "test"):
        np.savez(tmp_path / f"wide_{split}.npz", images=shades, labels=labels)
    assert go("--dataset", tmp_path / "wide", "--preset", "laptop", "--no-compare", "--out", tmp_path / "r") == 0
    assert images(tmp_path / "r").shape == (3, 3, 12, 20)
    with Image.open(tmp_path / "r" / "synthetic.png") as picture:
        wide, high = picture.size
    assert wide > 3 * high * 0.9, "three tiles, each wider than high"
    assert evaluate.main([str(tmp_path / "r")]) == 0


def test_what_is_held_out_is_the_same_for_every_seed(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        assert go("--no-compare", "--validation", "0.2", "--seed", seed, "--iterations", 1, "--out", folder) == 0
    first, second = (read(tmp_path / s).config["data"] for s in ("0", "1"))
    assert first == second and first["held_out"] == 0.2


def test_repetitions_have_their_own_folders_and_spread(tmp_path):
    assert go("--repetitions", "2", "--no-compare", "--out", tmp_path / "r") == 0
    assert not torch.equal(images(tmp_path / "r" / "seed0"), images(tmp_path / "r" / "seed1"))
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["results"]["dsa"]["distillations"] == 2


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--method", "dsaa"], 2, "nearest is 'dsa'"),
        (["--dataset", "fashion-mnst"], 2, "fashion-mnist"),
        (["--preset", "laptopp"], 2, "nearest is 'laptop'"),
        (["--network", "convent"], 2, "nearest is 'convnet'"),
        (["--ipc", "7"], 2, "nearest published, 10"),
        (["--ipc", "0"], 2, "at least 1"),
        (["--sdc", "0.1", "--asdc", "0.1", "0.2"], 2, "give one of them"),
        (["--asdc", "0", "0.2"], 2, "neither 0"),
        (["--asdc", "2", "1"], 2, "--asdc lets lambda grow along the run: END is not below START, as in 2 1"),
        (["--asdc", "-2", "-1"], 2, "END is not below START"),
        (["--seed", "-1"], 2, "--seed is a whole number from 0"),
        (["--method", "random", "--sdc"], 2, "--sdc"),
        (["--hard-threshold", "0"], 2, "above 0"),
        (["--augmentation", "flipp"], 2, "nearest is 'flip'"),
        (["--depth", "9"], 2, "largest depth is 4"),
        (["--device", "tpu"], 2, "auto, cpu, cuda"),
        (["--dataset", "svhn", "--data-root", "nowhere"], 3, "nowhere"),
        (["--resume"], 2, "nothing to resume"),
        (["--eval-batch", "0"], 2, "--eval-batch is at least 1"),
        (["--eval-epochs", "-1"], 2, "--eval-epochs is at least 0"),
        (["--method", "herding", "--feature-epochs", "-1"], 2, "--feature-epochs is at least 0"),
        (["--probe-every", "-1"], 2, "--probe-every is at least 0"),
        (["--asdc", "0.1", "0.2", "--asdc-steps", "0"], 2, "--asdc-steps is at least 1"),
        (["--network-rate", "inf"], 2, "finite number above 0"),
        (["--memory-budget", "inf"], 2, "finite number above 0"),
        (["--memory-budget", "1e-9"], 2, "does not hold the pass of one image"),
        (["--method", "random", "--ipc", "1000"], 2, "class 8 of digits has 139"),
        (["--method", "dc", "--ipc", "1000", "--matching-steps", "1", "--network-epochs", "1"], 2, "has 139"),
    ],
)
def test_bad_input_is_one_sentence_and_a_status(tmp_path, capsys, arguments, status, sentence):
    out = [] if "--resume" not in arguments else ["--out", str(tmp_path / "none")]
    assert run.main([*arguments, *(out or ["--out", str(tmp_path / "r")])]) == status
    error = capsys.readouterr().err.strip()
    assert sentence in error
    assert "\n" not in error
    assert not (tmp_path / "r").exists()


def test_a_flag_without_its_value_is_status_two(capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["--dataset"])
    assert stop.value.code == 2
    assert "--dataset" in capsys.readouterr().err


def test_a_folder_inside_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert go("--out", tmp_path / "file" / "r") == 2
    assert capsys.readouterr().err.strip() == f"error: {tmp_path / 'file'} is a file; --out needs a folder there"


@pytest.mark.parametrize(
    "changed",
    [["--sdc", "0.5"], ["--iterations", "5"], ["--seed", "4"], ["--method", "dc"], ["--ipc", "10"], ["--width", "5"]],
)
def test_a_finished_run_is_not_resumed_under_other_settings(tmp_path, capsys, changed):
    folder = tmp_path / "r"
    assert go("--no-compare", "--out", folder) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert go("--no-compare", "--out", folder, "--resume", *changed) == 2
    assert f"holds a run with {changed[0]} " in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_judged_again_by_another_protocol_only(tmp_path):
    folder = tmp_path / "r"
    assert go("--no-compare", "--out", folder) == 0
    made, first = images(folder), read(folder).summary
    assert run.main(["--resume", "--out", str(folder)]) == 0
    assert read(folder).summary == first
    assert run.main(["--resume", "--eval-networks", "3", "--out", str(folder)]) == 0
    second = read(folder).summary["evaluation"]["accuracies"]
    assert second[:2] == first["evaluation"]["accuracies"]
    assert len(second) == 3
    assert torch.equal(images(folder), made)


@pytest.mark.parametrize("content", ['{"settings": {"ip', "[1]"])
def test_damaged_settings_are_a_sentence(tmp_path, capsys, content):
    (tmp_path / "settings.json").write_text(content)
    assert run.main(["--resume", "--out", str(tmp_path)]) == 2
    assert "settings.json is damaged" in capsys.readouterr().err


def test_evaluate_refuses_before_it_works(tmp_path, capsys):
    assert go("--no-compare", "--out", tmp_path / "r") == 0
    capsys.readouterr()
    for options, words in (
        (["--networks", "mlp", "convet"], "nearest is 'convnet'"),
        (["--count", "0"], "--count is at least 1"),
        (["--epochs", "-1"], "--epochs is at least 0"),
        (["--out", str(tmp_path)], "is a folder"),
        (["--out", str(tmp_path / "r" / "config.json" / "x")], "is a file"),
    ):
        assert evaluate.main([str(tmp_path / "r"), *options]) == 2
        error = capsys.readouterr().err.strip()
        assert words in error
        assert "\n" not in error


def test_a_negative_lambda_is_warned_of_once(tmp_path, capsys):
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("always")
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        assert go("--sdc", "-0.1", "--no-compare", "--out", tmp_path / "r") == 0
    assert capsys.readouterr().err.count("harder") == 1


@pytest.mark.parametrize("preset", ["laptop", "published"])
@pytest.mark.parametrize(("network", "width"), [("lenet", {None}), ("resnet18", {32, 64}), ("convnet", {32, 128})])
def test_a_preset_gives_a_width_only_to_networks_that_have_one(preset, network, width):
    settings = run.parse(["--preset", preset, "--network", network])
    assert settings.width in width
    networks.build(settings.network, (1, 16, 16), 10, **settings.variant)


def test_an_unknown_flag_is_status_two(capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["--metod", "dsa"])
    assert stop.value.code == 2


def test_a_used_folder_and_a_busy_one_are_refused(tmp_path, capsys):
    assert go("--no-compare", "--out", tmp_path / "r") == 0
    assert go("--no-compare", "--out", tmp_path / "r") == 2
    assert "--resume" in capsys.readouterr().err
    with Lock(tmp_path / "busy"):
        assert go("--no-compare", "--out", tmp_path / "busy") == 2
    assert "in use" in capsys.readouterr().err


def test_dry_run_tells_settings_and_cost_and_leaves_nothing(tmp_path, capsys):
    assert run.main(["--method", "dsac", "--sdc", "--dry-run", "--out", str(tmp_path / "r")]) == 0
    printed = capsys.readouterr().out
    shown = " ".join(printed.split())
    for word in ("matching_steps 10 updates", "network_epochs 5 epochs", "TFLOP", "GB", "lambda 0.002", "laptop"):
        assert word in shown
    assert not (tmp_path / "r").exists()


def test_divergence_is_status_four_and_keeps_the_last_finite_images(tmp_path, capsys):
    assert go("--learning-rate", "1e38", "--no-compare", "--out", tmp_path / "r") == 4
    assert "not finite" in capsys.readouterr().err
    assert torch.isfinite(images(tmp_path / "r")).all()


def test_published_coefficients():
    assert published_coefficient("mnist", "dsa", 10)[0] == 0.00002
    assert published_coefficient("fashion_mnist", "dsac", 1)[0] == 0.002
    assert published_coefficient("some/where/svhn", "dc", 50)[0] == 0.0002
    value, sentence = published_coefficient("digits", "dsa", 1)
    assert value == 0.002
    assert "none is published" in sentence


def test_sdc_with_and_without_a_number():
    assert run.parse(["--sdc"]).sdc == "published"
    assert run.parse(["--sdc", "--seed", "3"]).sdc == "published"
    assert run.parse(["--sdc", "0.01"]).sdc == 0.01
    assert run.parse(["--sdc", "-0.5"]).sdc == -0.5
    assert run.parse([]).sdc is None
    assert run.parse(["--asdc", "0.002", "0.008"]).asdc == (0.002, 0.008)


def test_presets():
    digits, mnist = run.parse([]), run.parse(["--dataset", "mnist"])
    assert (digits.preset, digits.width, digits.batch_real) == ("laptop", 32, 48)
    assert (mnist.preset, mnist.width, mnist.iterations, mnist.batch_real) == ("published", 128, 1000, 256)
    table = run.parse(["--preset", "table1", "--width", "64"])
    assert (table.width, table.repetitions, table.eval_networks) == (64, 5, 20)


def test_resolved_settings_are_the_published_ones():
    digits = load("digits")
    dsac = resolve(with_preset(Settings(method="dsac", sdc="published"), "table1"), digits)
    assert (dsac.matching_steps, dsac.network_epochs, dsac.initialisation) == (10, 5, "real")
    assert dsac.augmentation == dsac.eval_augmentation == "color_crop_cutout_scale_rotate"
    assert (dsac.eval_epochs, dsac.learning_rate, dsac.asdc_steps) == (1000, 0.1, 10_000)
    dc = resolve(with_preset(Settings(method="dc", network="mlp"), "published"), digits)
    assert (dc.matching_steps, dc.initialisation, dc.augmentation, dc.eval_epochs) == (
        1,
        "noise",
        "none",
        300,
    )
    assert dc.learning_rate == 0.01
    assert set(identity(dc)) >= {"method", "ipc", "sdc", "batch_real", "width"}


@pytest.mark.parametrize("after", [0.0, 0.2])
def test_killed_at_any_time_and_resumed_is_the_uninterrupted_run(tmp_path, after):
    arguments = [*TINY, "--iterations", "15", "--no-compare", "--sdc", "0.5", "--probe-every", "0"]
    assert run.main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    command = [sys.executable, "-c", EAGER, *arguments, "--out", str(tmp_path / "cut")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    while not (tmp_path / "cut" / CHECKPOINT).exists():
        assert time.monotonic() - begun < 120
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run.main(["--quiet", "--resume", "--out", str(tmp_path / "cut")]) == 0
    assert torch.equal(images(tmp_path / "cut"), images(tmp_path / "whole"))
    ours, theirs = (read(tmp_path / name) for name in ("cut", "whole"))
    assert ours.metrics() == theirs.metrics()
    assert ours.summary["evaluation"] == theirs.summary["evaluation"]


EAGER = """
import sys
import torch
from empirical import run
from empirical.distillation import loop as distillation
from empirical.experiment import experiment
torch.set_num_threads(1)
experiment.Schedule = lambda **options: distillation.Schedule(checkpoint_seconds=-1.0, **options)
sys.exit(run.main(sys.argv[1:]))
"""
