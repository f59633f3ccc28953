"""The published coefficients as a file: all 55 cells of Tables 4 to 8, and the presets say the same."""

import csv
from collections import Counter
from importlib import resources

import pytest

from empirical.experiment.resolve import published_coefficient
from empirical.settings.presets import coefficient
from empirical.settings.trajectory_presets import published_lambda
from shared.comparison.published_table import read_tuned

FILE = resources.files("shared.comparison") / "published_coefficients.csv"
ROWS = list(csv.DictReader(FILE.read_text(encoding="utf-8").splitlines()))
TRAJECTORY = {"mtt": "5", "tesla": "6", "ftd": "7", "datm": "8"}


def preset(dataset: str, method: str, ipc: int) -> float | None:
    """What the presets hold for a cell."""
    return published_lambda(method, dataset, ipc) if method in TRAJECTORY else coefficient(dataset, method, ipc)


def test_all_cells_are_there_once() -> None:
    assert Counter(row["table"] for row in ROWS) == {"4": 27, "5": 9, "6": 6, "7": 6, "8": 7}
    assert len({(row["dataset"], row["method"], row["ipc"]) for row in ROWS}) == 55
    assert {row["source"] for row in ROWS} == {"arXiv:2408.12483"}
    assert all(TRAJECTORY.get(row["method"], "4") == row["table"] for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['dataset']}-{row['method']}-{row['ipc']}")
def test_each_agrees_with_the_preset(row: dict[str, str]) -> None:
    dataset, method, ipc, stated = row["dataset"], row["method"], int(row["ipc"]), float(row["coefficient"])
    assert preset(dataset, method, ipc) == stated
    value, sentence = published_coefficient(dataset, method, ipc)
    assert value == stated and "published for" in sentence


def test_presets_publish_no_cell_that_the_tables_lack() -> None:
    datasets = ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar100", "tiny-imagenet")
    cells = [(d, m, i) for d in datasets for m in ("dc", "dsa", "dsac", *TRAJECTORY) for i in (1, 10, 50)]
    assert {cell for cell in cells if preset(*cell)} == {
        (row["dataset"], row["method"], int(row["ipc"])) for row in ROWS
    }


def test_it_is_a_table_of_tuned_coefficients() -> None:
    with resources.as_file(FILE) as path:
        assert len(read_tuned(path)) == 55
