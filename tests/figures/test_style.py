"""The house's look: files whole or absent, the same bytes for the same numbers, colours for all readers."""

import csv
import itertools
import os

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from figures import style
from figures.style import CYCLE, MARKERS, look, look_of, save
from shared.terminal import atomic

# Machado, Oliveira and Fernandes 2009: severity 1.0, linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def lab(colour, deficiency):
    """CIELAB of a colour as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(deficiency @ linear, 0.0, 1.0)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = (to_xyz @ seen) / np.array([0.9505, 1.0, 1.089])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("name", DEFICIENCIES)
def test_colours_are_told_apart_by_colour_blind_readers(name):
    """By colour where they differ by ten units of CIELAB or more, and else by the marker that goes with it."""
    seen = [lab(colour, DEFICIENCIES[name]) for colour in CYCLE]
    apart = {(i, j): np.linalg.norm(seen[i] - seen[j]) for i, j in itertools.combinations(range(len(CYCLE)), 2)}
    assert min(apart.values()) > 10.0, apart
    assert min(apart[i, j] for i, j in itertools.combinations(range(3), 2)) > 15.0  # most figures need three
    assert len({look_of(k) for k in range(36)}) == 36 and look_of(0) == (CYCLE[0], MARKERS[0])
    assert len(set(MARKERS)) == len(MARKERS) == len(CYCLE)


def drawn():
    figure, axes = plt.subplots()
    axes.plot([0, 1], [1, 0])
    return figure


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    files = []
    for folder in ("a", "b"):
        with look():
            files.append([p.read_bytes() for p in save(drawn(), tmp_path / folder, "x", [{"a": 1}])])
    assert files[0] == files[1] and [p.suffix for p in sorted((tmp_path / "a").iterdir())] == [".csv", ".pdf", ".png"]


def test_the_look_is_for_the_block_alone():
    before = dict(plt.rcParams)
    with pytest.raises(RuntimeError), look():
        assert plt.rcParams["axes.spines.top"] is False
        raise RuntimeError
    assert dict(plt.rcParams) == before


def test_rows_of_different_keys_and_no_rows_at_all(tmp_path):
    save(drawn(), tmp_path, "x", [{"a": 1, "b": 2}, {"b": 3, "c": 'says "x", and\nmore'}])
    assert rows(tmp_path / "x.csv") == [{"a": "1", "b": "2", "c": ""}, {"a": "", "b": "3", "c": 'says "x", and\nmore'}]
    save(drawn(), tmp_path, "y", [])
    assert (tmp_path / "y.png").exists() and rows(tmp_path / "y.csv") == []


def test_nothing_is_written_when_a_figure_cannot_be_drawn(tmp_path):
    figure = drawn()
    figure.axes[0].set_title(r"$\nonsense$")
    with pytest.raises(ValueError, match="nonsense"):
        save(figure, tmp_path, "x", [{"a": 1}])
    assert not list(tmp_path.iterdir()) and not plt.fignum_exists(figure.number)


def test_a_crash_while_writing_leaves_the_file_of_before(tmp_path, monkeypatch):
    save(drawn(), tmp_path, "x", [{"a": 1}])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(drawn(), tmp_path, "x", [{"a": 2}])
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_figures_are_closed_once_written(tmp_path):
    open_before = plt.get_fignums()
    save(drawn(), tmp_path, "x", [{"a": 1}])
    assert plt.get_fignums() == open_before


def test_a_folder_that_is_a_file_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        style.make_writable(tmp_path / "file" / "inside")
    style.make_writable(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
