"""Distillation inside the perceptron: gradients by finite differences, measures on known points, pairing, resuming."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from theory import solve
from theory.distillation import matching
from theory.distillation.departure import departure, signed_margins, tilt_of_mean
from theory.distillation.study import LATER, RECORD, THEORIES, Distillation, Distilled, distil, main, measure, study
from theory.saddle_point.kept import Tilt
from theory.simulation.sampling import draw_kept

SMALL = Distillation(alpha=0.6, dimension=40, real=5.0, steps=30, probes=4)


@pytest.mark.parametrize("distance", sorted(matching.DISTANCES))
@pytest.mark.parametrize("coefficient", [0.0, 0.7, -0.4])
def test_gradient_by_finite_differences(distance, coefficient):
    rng = np.random.default_rng(0)
    points, w = rng.standard_normal((7, 9)), rng.standard_normal(9)
    labels = np.array([1.0, -1, 1, 1, -1, -1, 1])
    real = {c: rng.standard_normal(9) for c in (1.0, -1.0)}

    def loss(at):
        return matching.matching_loss(at, labels, real, w, coefficient, matching.DISTANCES[distance]).loss

    found = matching.matching_loss(points, labels, real, w, coefficient, matching.DISTANCES[distance])
    step, numeric = 1e-6, np.empty_like(points)
    for j in np.ndindex(points.shape):
        shift = np.zeros_like(points)
        shift[j] = step
        numeric[j] = (loss(points + shift) - loss(points - shift)) / (2 * step)
    assert found.gradient == pytest.approx(numeric, rel=1e-6, abs=1e-8)
    assert (found.penalty == 0.0) == (coefficient == 0.0)


def test_class_gradient_is_that_of_the_logistic_loss():
    rng = np.random.default_rng(1)
    points, w = rng.standard_normal((5, 6)), rng.standard_normal(6)

    def loss(v):
        return np.mean(np.log1p(np.exp(points @ v)))  # label -1

    numeric = [(loss(w + 1e-6 * e) - loss(w - 1e-6 * e)) / 2e-6 for e in np.eye(6)]
    assert matching.class_gradient(points, -1.0, w)[0] == pytest.approx(numeric, rel=1e-6)


def test_matching_lowers_the_distance_and_shares_everything_but_lambda():
    plain, corrected = distil(SMALL), distil(replace(SMALL, coefficient=0.3))
    assert np.array_equal(plain.start, corrected.start) and np.array_equal(plain.teacher, corrected.teacher)
    assert np.array_equal(plain.probe, corrected.probe)
    assert plain.losses[-5:].mean() < 0.8 * plain.losses[:5].mean()
    assert plain.pull == 0.0 < corrected.pull
    again = distil(SMALL)
    assert np.array_equal(again.points, plain.points)
    assert not np.array_equal(distil(replace(SMALL, seed=1)).start, plain.start)


def test_the_correction_makes_points_easier_and_its_opposite_harder():
    h = [measure(s, distil(s)).mean_h for s in (replace(SMALL, coefficient=c) for c in (-0.2, 0.0, 0.2))]
    assert h[0] > h[1] > h[2]


def test_without_a_step_points_are_random_samples():
    settings = Distillation(alpha=1.0, dimension=60, real=4.0, steps=0, probes=1)
    rows = [measure(s, distil(s)) for s in (replace(settings, seed=k) for k in range(30))]
    errors = np.array([r.test_error for r in rows])
    assert all(r.test_error == r.start_error and r.mislabelled == 0.0 and r.moved == 0.0 for r in rows)
    for name in ("theory_teacher", "theory_probe"):  # theory at the realised margins: that of random samples
        predicted = np.array([getattr(r, name) for r in rows])
        difference = errors - predicted
        # finite D = 60 adds a bias of order 1 / D
        assert abs(difference.mean()) < 4 * difference.std(ddof=1) / math.sqrt(30) + 0.5 / 60
    for name in ("common_z", "overlap_z"):
        z = np.array([getattr(r, name) for r in rows])
        assert abs(z.mean()) < 4 / math.sqrt(30) and 0.6 < z.std(ddof=1) < 1.5


def test_departure_of_known_points():
    rng = np.random.default_rng(2)
    D, M = 80, 40
    teacher, probe = np.eye(D)[0], np.array([0.6, 0.8] + [0.0] * (D - 2))
    y = np.where(rng.random(M) < 0.5, 1.0, -1.0)
    free = rng.standard_normal((M, D))
    isotropic = departure(free, y, teacher, probe)
    assert abs(isotropic.common_z) < 4 and abs(isotropic.overlap_z) < 4
    assert isotropic.dimensions == pytest.approx(1.0, abs=0.1)
    # A label-signed shift by one standard deviation a coordinate: cosines of 1/2.
    shifted = departure(free + y[:, None] * np.append([0.0, 0.0], np.ones(D - 2)), y, teacher, probe)
    assert shifted.common == pytest.approx(0.5, abs=0.05) and shifted.common_z > 20
    assert shifted.dimensions < 0.3
    # What lies in the plane of teacher and probe does not count.
    moved = departure(free + 5.0 * teacher - 3.0 * probe, y, teacher, probe)
    assert moved.common == pytest.approx(isotropic.common, abs=1e-12)


@pytest.mark.parametrize("theta", [0.0, 0.5, math.pi / 2])
def test_tilt_of_a_mean_against_draws_of_the_tilted_density(theta):
    tau, beta = 3.0, 2.0
    kept = draw_kept(np.random.default_rng(3), 200_000, 2, 1.0, Tilt(tau, beta, True), theta, "signed")
    h = 1.0 / (1.0 + np.exp(beta * kept.y * (kept.X @ kept.J)))
    found = tilt_of_mean(float(h.mean()), theta, beta)
    near = tilt_of_mean(float(h.mean() + h.std() / math.sqrt(h.size)), theta, beta)
    assert abs(found - tau) < 4 * abs(near - found)
    assert math.isnan(tilt_of_mean(1e-9, theta, beta))


def test_margins_do_not_depend_on_length():
    points = np.random.default_rng(4).standard_normal((5, 6))
    scaled = points * np.arange(1.0, 6.0)[:, None]
    direction = np.eye(6)[0]
    assert signed_margins(scaled, np.ones(5), direction) == pytest.approx(signed_margins(points, np.ones(5), direction))


def test_a_study_resumes(tmp_path, monkeypatch):
    settings = [replace(SMALL, coefficient=c, steps=5) for c in (0.0, 0.1)]
    alone = study(settings)
    study(settings[:1], tmp_path)
    calls = []
    monkeypatch.setattr("theory.distillation.study.distil", lambda s: calls.append(s) or distil(s))
    resumed = study(settings, tmp_path)
    assert calls == settings[1:]
    assert json.dumps(resumed) == json.dumps(alone)
    assert len((tmp_path / RECORD).read_text().splitlines()) == 2
    (tmp_path / RECORD).write_text("{}\n")
    with pytest.raises(ValueError, match="line 1"):
        study(settings, tmp_path)


def test_command_line(tmp_path, capsys):
    arguments = ["--alpha", "0.5", "--coefficient", "0", "--seeds", "1", "--dimension", "20", "--steps", "3"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    row = json.loads((tmp_path / RECORD).read_text())
    assert row["alpha"] == 0.5 and 0.0 < row["test_error"] < 0.5
    assert row["theory_tilted"] == pytest.approx(
        solve(0.5, 1.0, Tilt(row["tau"], 2.0, True), row["theta"], "signed").test_error, rel=1e-10
    )
    capsys.readouterr()
    for wrong, words in (
        (["--distance", "cosin"], "did you mean 'cosine'"),
        (["--alpha", "-1"], "alpha is -1"),
        (["--seeds", "0"], "at least 1"),
        (["--alpha", "30"], "at most the real set"),
        (["--beta", "0"], "beta 0"),
    ):
        assert main([*wrong, "--out", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert words in error and len(error.strip().splitlines()) == 1


def by_hand(alpha, labels, seed=0, D=20):
    """Points that nobody learnt, with a teacher and a probe of their own."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((round(alpha * D), D))
    teacher, probe = (v / np.linalg.norm(v) for v in rng.standard_normal((2, D)))
    probe = 0.8 * teacher + 0.6 * (probe - (probe @ teacher) * teacher) / np.linalg.norm(
        probe - (probe @ teacher) * teacher
    )
    y = np.where(X @ teacher >= 0.0, 1.0, -1.0) if labels == "teacher" else rng.choice([-1.0, 1.0], len(X))
    return Distillation(alpha, dimension=D, steps=0), Distilled(X, y, X, teacher, probe, np.zeros(0), 0.0, probe[None])


@pytest.mark.parametrize("alpha", [3.0, 5.0, 8.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_set_that_nothing_separates_has_no_theory_beside_it(alpha, seed):
    found = measure(*by_hand(alpha, "random", seed))
    assert math.isnan(found.test_error)
    assert all(math.isnan(getattr(found, name)) for name in THEORIES)
    assert 0.0 < found.mislabelled < 1.0 and math.isfinite(found.mean_h)
    separable = measure(*by_hand(alpha, "teacher", seed))
    assert all(math.isfinite(getattr(separable, name)) for name in ("test_error", *THEORIES))


def test_margins_that_the_model_has_not_are_no_theory_and_no_end_of_a_study():
    settings, made = by_hand(0.5, "teacher")
    close = made.teacher + 1e-3 * made.probe
    against = replace(made, probe=close / np.linalg.norm(close), labels=-made.labels)  # separable, all mislabelled
    found = measure(settings, against)
    assert 0.0 <= found.test_error <= 1.0
    assert math.isnan(found.theory_probe) and math.isnan(found.theory_teacher)


def test_a_record_of_an_earlier_version_loses_theories_without_a_student(tmp_path):
    study([replace(SMALL, steps=2)], tmp_path)
    row = json.loads((tmp_path / RECORD).read_text())
    (tmp_path / RECORD).write_text(json.dumps(row | {"test_error": None}) + "\n")
    (again,) = study([replace(SMALL, steps=2)], tmp_path)
    assert all(math.isnan(again[name]) for name in THEORIES) and again["mean_h"] == row["mean_h"]


def test_a_record_without_the_theories_of_synthesis_is_kept_and_measured_again_when_asked_for(tmp_path):
    settings = [replace(SMALL, coefficient=c, steps=2) for c in (0.0, 0.1)]
    whole = study(settings, tmp_path)
    path = tmp_path / RECORD
    earlier = [{k: v for k, v in json.loads(line).items() if k not in LATER} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in earlier))
    assert json.dumps(study(settings[:1], tmp_path)) == json.dumps(whole[:1])
    first, other = (json.loads(line) for line in path.read_text().splitlines())
    assert set(LATER) <= first.keys() and other == earlier[1]


@pytest.mark.parametrize(("rate", "coefficient"), [(1e300, 0.0), (1e10, 0.1), (0.5, 1e300), (1e200, -1.0)])
def test_points_that_diverge_are_said_and_not_recorded(tmp_path, capsys, rate, coefficient):
    numbers = ["--rate", str(rate), f"--coefficient={coefficient}", "--alpha", "0.5", "--dimension", "20"]
    assert main([*numbers, "--seeds", "1", "--steps", "200", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and "diverged at step" in error[0] and "lower rate" in error[0]
    assert not (tmp_path / RECORD).exists()


@pytest.mark.parametrize("damage", [
    b"\xff\xfe", b"[1, 2]\n", b"null\n", b"{\n", b'"text"\n', {"test_error": 2.0}, {"test_error": "0.3"},
    {"mean_h": float("nan")}, {"theory_probe": -0.1}, {"tau": float("inf")}, {"start_error": True}, {"pull": []},
])  # fmt: skip
def test_a_damaged_record_is_refused_by_its_line(tmp_path, damage):
    settings = [replace(SMALL, steps=2)]
    study(settings, tmp_path)
    row = json.loads((tmp_path / RECORD).read_text())
    content = damage if isinstance(damage, bytes) else json.dumps(row | damage).encode()
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(ValueError, match=r"distilled\.jsonl.*name another --out"):
        study(settings, tmp_path)
    assert (tmp_path / RECORD).read_bytes() == content
    del row["length"]
    (tmp_path / RECORD).write_text(json.dumps(row))
    with pytest.raises(ValueError, match="line 1, is no record"):
        study(settings, tmp_path)


def test_an_out_that_cannot_be_a_folder_is_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["--out", str(out)]) == 2
        assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize("points", [np.ones((1, 5)), np.ones((4, 2)), np.eye(3), np.full((4, 5), np.nan)])
def test_points_without_a_complement_have_no_departure(points):
    axes = np.eye(points.shape[1])
    with pytest.raises(ValueError, match=r"no complement|outside the plane"):
        departure(points, np.ones(len(points)), axes[0], axes[1])
