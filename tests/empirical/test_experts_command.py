"""`python -m empirical.experts` alone, and a run on the experts that it made."""

from dataclasses import replace

import pytest

from empirical import evaluate, experts, run
from empirical.data.datasets import load
from empirical.experiment.experiment import Experiment
from empirical.experiment.experts import expert_folder, expert_recipe, experts_command
from empirical.experiment.families import family_of
from empirical.experiment.resolve import resolve, with_preset
from empirical.settings.settings import Settings
from empirical.trajectory_matching import expert_training as training
from empirical.trajectory_matching.expert_file import ExpertFile, file_of
from shared.records.records import read

NETWORK = ["--width", "4", "--depth", "2"]
SMALL = [*NETWORK, "--count", "2", "--epochs", "2", "--device", "cpu", "--quiet"]
RUN = [
    *NETWORK, "--device", "cpu", "--quiet", "--no-compare", "--iterations", "2", "--eval-it", "2", "--syn-steps", "2",
    *("--expert-count", "2", "--max-start-epoch", "1", "--eval-epochs", "1", "--eval-networks", "1"),
    *("--probe-every", "0", "--make-experts", "False"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Experts of either kind, in folders of that name."""
    place = tmp_path_factory.mktemp("experts")
    for kind in training.KINDS:
        assert experts.main(["--kind", kind, *SMALL, "--out", str(place / kind)]) == 0
    return place


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".safetensors"}


@pytest.mark.parametrize(("kind", "method"), [("sgd", "mtt"), ("flat", "datm")])
def test_a_run_uses_the_experts_of_a_folder_as_they_are(made, tmp_path, capsys, kind, method):
    before = bytes_of(made / kind)
    assert len(before) == 2
    arguments = ["--method", method, *RUN, "--experts", str(made / kind), "--current-max-start-epoch", "0"]
    # two epochs are enough for start epoch 0 and a target two later, however long the run's own experts would be
    assert run.main([*arguments, "--expert-epochs", "2", "--out", str(tmp_path / "r")]) == 0
    assert len(read(tmp_path / "r").series("matching_loss")[0]) == 2
    assert bytes_of(made / kind) == before
    assert run.main([*arguments, "--expert-epochs", "3", "--out", str(tmp_path / "long")]) == 2
    assert "trained for 2 epochs, this run needs 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "mtt", "--expert-rate", "0.02"], "rate = 0.01, this run has 0.02"),
        (["--method", "ftd"], "kind = sgd, this run has flat"),
        (["--method", "mtt", "--activation", "swish"], "SiLU"),
        (["--method", "mtt", "--zca", "True"], "'kind': 'zca'"),
        (["--method", "mtt", "--expert-count", "3"], "1 experts are missing"),
        (["--method", "mtt", "--train-images", "500"], "was made with data = "),
    ],
)
def test_experts_of_another_run_are_refused_before_any_work(made, tmp_path, capsys, arguments, said):
    folder = tmp_path / "r"
    assert run.main([*arguments[:2], *RUN, "--experts", str(made / "sgd"), "--out", str(folder), *arguments[2:]]) == 2
    error = capsys.readouterr().err
    assert said in error and str(made / "sgd") in error
    assert not folder.exists()


def test_an_interrupted_training_ends_in_the_same_files(made, tmp_path, monkeypatch, capsys):
    original, calls = training._epoch, []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(training, "_epoch", stopped)
    command = ["--kind", "flat", *SMALL, "--out", str(tmp_path)]
    assert experts.main(command) == 130
    assert not bytes_of(tmp_path)
    assert experts.main([*command, "--alpha", "0.7"]) == 2
    assert "alpha = 0.3, not 0.7" in capsys.readouterr().err
    monkeypatch.setattr(training, "_epoch", original)
    assert experts.main([*command, "--at-once", "1"]) == 0
    assert bytes_of(tmp_path) == bytes_of(made / "flat")
    assert [path.name for path in tmp_path.iterdir() if "expert" in path.name and path.suffix != ".safetensors"] == []


def test_more_experts_are_added_and_the_first_kept(made, tmp_path, capsys):
    command = ["--kind", "sgd", *SMALL, "--out", str(tmp_path)]
    assert experts.main([*command, "--count", "1"]) == 0
    first = bytes_of(tmp_path)
    assert experts.main([*command, "--dry-run"]) == 0
    assert "1 of them to be made" in capsys.readouterr().out
    assert bytes_of(tmp_path) == first
    assert experts.main(command) == 0
    assert bytes_of(tmp_path) == bytes_of(made / "sgd")
    assert len(ExpertFile.open(file_of(tmp_path, 1)).header["accuracies"]) == 3


@pytest.mark.parametrize("method", ["mtt", "datm"])
def test_defaults_are_those_of_a_run(tmp_path, monkeypatch, capsys, method):
    monkeypatch.chdir(tmp_path)
    settings = with_preset(Settings(method=method), None)
    digits = load("digits", validation=settings.validation)
    settings = resolve(settings, digits)
    own = settings.trajectory
    there = expert_folder(
        family_of(settings).prepared(settings, digits, fitted=False),
        Experiment(settings, digits, tmp_path, 0).choice,
        expert_recipe(settings),
    )
    said = f"{own.expert_count} of them to be made in {there}:"
    assert experts.main(["--method", method, "--dry-run", "--device", "cpu"]) == 0
    assert said in capsys.readouterr().out
    # and the command that a run advises makes the same
    assert experts.main([*experts_command(settings).split()[3:], "--dry-run"]) == 0
    assert said in capsys.readouterr().out
    other = replace(settings, trajectory=replace(own, zca=True))
    assert experts.main([*experts_command(other).split()[3:], "--dry-run"]) == 0
    assert said not in capsys.readouterr().out


def test_dry_run_tells_the_cost_and_leaves_nothing(tmp_path, capsys):
    assert experts.main(["--kind", "flat", *SMALL, "--out", str(tmp_path / "e"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("2 flat experts of 2 epochs on digits", "TFLOP", "MB of disk"))
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--dataset", "digitss"], 2, "Did you mean digits"),
        (["--network", "convnett"], 2, "nearest is 'convnet'"),
        (["--norm", "instnce"], 2, "nearest is 'instance'"),
        (["--augmentation", "flipp"], 2, "nearest is 'flip'"),
        (["--count", "0"], 2, "at least 1"),
        (["--method", "mttt"], 2, "nearest is 'mtt'"),
        (["--method", "mtt", "--kind", "flat"], 2, "of kind sgd, not flat"),
        (["--preset", "laptopp"], 2, "nearest is 'laptop'"),
        (["--rate", "0"], 2, "positive"),
        (["--kind", "flat", "--rho", "-1"], 2, "rho is above 0"),
        (["--device", "tpu"], 2, "auto, cpu, cuda"),
        (["--dataset", "svhn", "--data-root", "nowhere"], 3, "nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_a_status(tmp_path, capsys, arguments, status, said):
    assert experts.main([*SMALL, "--out", str(tmp_path / "e"), *arguments]) == status
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error
    assert not (tmp_path / "e").exists()


def test_an_unknown_kind_lists_the_kinds(capsys):
    with pytest.raises(SystemExit) as stop:
        experts.main(["--kind", "sgdd"])
    assert stop.value.code == 2
    assert "flat" in capsys.readouterr().err


def test_on_some_of_the_images_the_printed_command_makes_the_experts_and_a_set_is_judged_again(tmp_path, capsys):
    some = ["--train-images", "300", "--experts", str(tmp_path / "experts"), "--out", str(tmp_path / "r")]
    arguments = ["--method", "mtt", *RUN, "--expert-training-epochs", "2", "--expert-epochs", "1", *some]
    assert run.main(arguments) == 2
    command = capsys.readouterr().err.split("python -m empirical.experts ")[1].split(", or allow")[0].split()
    assert experts.main([*command, "--quiet"]) == 0
    assert run.main(arguments) == 0
    recorded = read(tmp_path / "r")
    assert recorded.config["data"]["sizes"]["train"] < 300
    assert evaluate.main([str(tmp_path / "r")]) == 0
    assert f"{100 * recorded.summary['evaluation']['mean']:.2f}" in capsys.readouterr().out
