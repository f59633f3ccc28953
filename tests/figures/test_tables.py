"""Tables of recorded runs: pairing by seed, both spreads, refusals."""

import math
from collections import Counter

import numpy as np
import pytest

from figures.runs.published import Published, published, published_transfer
from figures.runs.tables import collect, main, over_seeds, paired_gain, table
from shared.records.records import write_config, write_summary


def record(root, method, seed, accuracies, sdc=None, dataset="mnist", **more):
    folder = root / f"{len(list(root.iterdir())):03d}"
    folder.mkdir()
    settings = {"dataset": dataset, "ipc": 1, "method": method, "sdc": sdc, "seed": seed, **more}
    write_config(folder, settings, seed=seed)
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


def test_a_schedule_or_a_threshold_is_never_the_plain_method(tmp_path, capsys):
    record(tmp_path, "dsa", 0, [0.3301], asdc=[0.002, 0.008])
    record(tmp_path, "dsa", 0, [0.3217], sdc=0.002)
    assert main([str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "| dsa | 0.002 | - | 32.17" in said.out and "33.01" not in said.out  # no plain run, and no gain
    assert "dsa on mnist, ipc 1: ASDC, λ 0.002 to 0.008" in said.err
    record(tmp_path, "dsa", 0, [0.3273])
    record(tmp_path, "dsa", 0, [0.3245], hard_threshold=0.5)  # read last
    assert main([str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "| 32.73 (" in said.out and "-0.56 ± - (n = 1)" in said.out and "32.45" not in said.out
    assert "a hard threshold" in said.err


def test_a_pull_is_never_called_lambda(tmp_path, capsys):
    record(tmp_path, "dsa", 0, [0.32])
    record(tmp_path, "dsa", 0, [0.33], sdc_pull=0.05)
    assert main([str(tmp_path)]) == 0
    assert "| dsa | pull 0.05 | 32.00 (" in capsys.readouterr().out
    record(tmp_path, "dsa", 0, [0.33], sdc=0.05)
    assert main([str(tmp_path)]) == 2
    assert "lambda 0.05 and pull 0.05" in capsys.readouterr().err


@pytest.mark.parametrize("dataset", ["cifar10", "data/cifar10"])
def test_trajectory_methods_stand_beside_table_two(dataset, tmp_path, capsys):
    record(tmp_path, "mtt", 0, [0.2142], dataset=dataset)
    record(tmp_path, "random", 0, [0.1471], dataset=dataset)
    record(tmp_path, "whole", 0, [0.7], dataset=dataset)
    assert main([str(tmp_path)]) == 0
    lines = {line.split(" | ")[2]: line for line in capsys.readouterr().out.splitlines() if dataset in line}
    assert lines["mtt"].endswith("| 45.8 ± 0.3 | 46.2 ± 0.7 |")
    assert lines["random"].endswith("| 14.4 ± 2.0 | - |") and lines["whole"].endswith("| 84.8 | - |")


def test_published_tables_are_whole():
    reference = published()
    assert Counter(value.table for value in reference.values()) == {1: 84, 2: 76}
    assert reference["dsac+sdc", "svhn", 10] == Published(80.4, 0.3, 1)
    assert reference["whole", "fashion-mnist", None] == Published(93.5, 0.1, 1)
    assert reference["datm+sdc", "tiny-imagenet", 50] == Published(39.9, 0.2, 2)
    gains = {m: v.accuracy - reference[m[0].removesuffix("+sdc"), *m[1:]].accuracy
             for m, v in reference.items() if m[0].endswith("+sdc")}  # fmt: skip
    assert len(gains) == 59 and all(-1e-9 <= gain <= 1.3 for gain in gains.values())
    # What Table 2 leaves empty: FTD at 50 a class and TESLA on Tiny-ImageNet.
    sizes = Counter((m, d) for m, d, _ in reference)
    assert sizes["ftd", "tiny-imagenet"] == 2 and ("tesla", "tiny-imagenet") not in sizes


def test_published_transfer_is_whole():
    rows = published_transfer()
    assert Counter(row.table for row in rows) == {3: 60, 9: 30, 10: 30, 11: 30}
    assert len({(r.table, r.method, r.dataset, r.ipc, r.network) for r in rows}) == 150
    assert {r.network for r in rows} == {"resnet18", "vgg11", "alexnet", "lenet", "mlp"}
    assert {r.ipc for r in rows if r.table == 9} == {None}  # which it does not state
    found = {(r.table, r.method, r.dataset, r.network): r.accuracy for r in rows}
    assert found[10, "dsac+sdc", "svhn", "alexnet"] == 17.18 and found[9, "datm", "tiny-imagenet", "mlp"] == 3.34
    assert found[3, "dsac", "mnist", "mlp"] == 90.62 and found[3, "datm+sdc", "cifar100", "alexnet"] == 3.73


def test_refusals(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "no finished run under" in capsys.readouterr().err
    record(tmp_path, "dc", 0, [0.5], sdc=0.1)
    record(tmp_path, "dc", 1, [0.5], sdc=0.2)
    assert main([str(tmp_path)]) == 2
    assert "lambda 0.1 and 0.2" in capsys.readouterr().err
    assert np.isnan(over_seeds({0: np.array([50.0])})[1])
