"""What would fill the machine or never end is refused in a sentence before any work."""

import pytest

from figures.__main__ import main
from figures.limits import MOST, refuse_excess


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["theory", "--dimension", "1000000"], "--dimension is 1000000, must be at most 5000"),
        (["theory", "--trials", "100000000000000"], "--trials is 100000000000000, must be at most"),
        (["theory", "--workers", "10000000"], "--workers is 10000000"),
        (["theory", "--seed", str(10**30)], "--seed is a whole number from 0 to 9223372036854775807, not 1000"),
        (["compare", "--published", "--resamples", "1000000000000"], "--resamples is 1000000000000"),
        (["scaling", "--trials", "1000000000000"], "--trials is 1000000000000"),
        (["scaling", "--dimension", "100000000"], "--dimension is 100000000"),
        (["difficulty", "--networks", "1000000000"], "--networks is 1000000000"),
        (["difficulty", "--epochs", "1000000000"], "--epochs is 1000000000"),
    ],
)
def test_excess_is_refused(arguments, words, tmp_path, capsys):
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


def test_the_bounds_themselves_are_allowed():
    refuse_excess(**MOST)
    refuse_excess(workers=None)
