"""`--dry-run` shows what the method reads, in groups, with units, what was changed marked, the cost last."""

import pytest

from empirical import run


def told(capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
    assert run.main([*flags, "--dry-run"]) == 0
    return capsys.readouterr().out.splitlines()


def names(lines: list[str]) -> set[str]:
    return {line[2:].split()[0] for line in lines if line[:2] in ("  ", "* ")}


def test_settings_of_other_methods_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    gradient, chosen, trajectory = (names(told(capsys, "--method", m)) for m in ("dsa", "random", "mtt"))
    assert "batch_real" in gradient and "syn_steps" not in gradient and "warm_up_steps" not in gradient
    assert "syn_steps" in trajectory and "batch_real" not in trajectory
    assert not chosen & {"batch_real", "syn_steps", "iterations", "learning_rate", "sdc"}


def test_only_what_differs_from_the_preset_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, "--batch-real", "100", "--sdc", "0.1", "--seed", "3")
    marked = {line.split()[1] for line in lines if line.startswith("* ") and "is not what" not in line}
    assert marked == {"batch_real", "sdc", "seed"}
    assert any(line.split() == ["*", "batch_real", "100", "images", "a", "class"] for line in lines)
    assert not any(line.startswith("*") for line in told(capsys))


def test_the_cost_comes_last_and_lines_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys)
    assert lines.index("cost:") > lines.index("evaluation:") > lines.index("matching:") > lines.index("run:")
    assert lines[-1].startswith("expected: ")
    assert max(map(len, lines[1:])) <= 80
