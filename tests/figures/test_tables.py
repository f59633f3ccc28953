"""Tables of recorded runs: pairing by seed, both spreads, refusals."""

import math

import numpy as np
import pytest

from figures.runs.tables import collect, main, over_seeds, paired_gain, published, table
from shared.records.records import write_config, write_summary


def record(root, method, seed, accuracies, sdc=None, dataset="mnist"):
    folder = root / f"{dataset}-{method}-{sdc}-{seed}"
    folder.mkdir()
    write_config(folder, {"dataset": dataset, "ipc": 1, "method": method, "sdc": sdc, "seed": seed}, seed=seed)
    write_summary(folder, {"evaluation": {"accuracies": accuracies}})


def test_gain_is_paired_by_seed(tmp_path):
    for seed, base in enumerate((0.60, 0.70, 0.80)):
        record(tmp_path, "dsa", seed, [base, base + 0.02])
        record(tmp_path, "dsa", seed, [base + 0.01 + 0.001 * seed, base + 0.03 + 0.001 * seed], sdc=0.001)
    record(tmp_path, "dsa", 9, [0.1, 0.1], sdc=0.001)  # has no partner
    cell = collect([tmp_path])[("mnist", 1, "dsa")]
    gain, half, pairs = paired_gain(cell)
    assert (gain, pairs) == (pytest.approx(1.1), 3)
    assert half == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-5)  # t(0.975, 2)
    mean, seeds, networks, count = over_seeds(cell.plain)
    assert (mean, seeds, networks, count) == pytest.approx((71.0, 10.0, math.sqrt(2.0), 3))
    text = table({("mnist", 1, "dsa"): cell})
    assert "+1.10 ± 0.25 (n = 3)" in text and "88.9 ± 0.8" in text and "89.2 ± 0.4" in text


def test_published_table_is_whole():
    reference = published()
    assert len(reference) == 84
    assert reference[("dsac+sdc", "svhn", "10")] == (80.4, 0.3)
    assert reference[("whole", "fashion-mnist", "")] == (93.5, 0.1)


def test_refusals(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "no finished run under" in capsys.readouterr().err
    record(tmp_path, "dc", 0, [0.5], sdc=0.1)
    record(tmp_path, "dc", 1, [0.5], sdc=0.2)
    assert main([str(tmp_path)]) == 2
    assert "lambda 0.1 and 0.2" in capsys.readouterr().err
    assert np.isnan(over_seeds({0: np.array([50.0])})[1])
