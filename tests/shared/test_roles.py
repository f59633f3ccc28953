"""What a record says of its own settings: written, read back, and taken as in version 0.1 where it says nothing."""

import json

import pytest

from shared.records.agreement import disagreement
from shared.records.recorded import (
    HARD_THRESHOLD,
    NOT_FINISHED,
    PLAIN,
    Correction,
    LeftOut,
    NoRuns,
    NotOneExperiment,
    outcome_of,
    read_recorded,
    refuse_disagreement,
    refuse_empty,
)
from shared.records.records import BadRecord, read, write_config, write_failure, write_summary
from shared.records.roles import CORESET, GRADIENT, OTHER, TRAJECTORY, Roles, earlier_roles, family_of

NEW = Roles(free=("seed", "gain", "inner.where"), unread=("sdc_power", "old"), family="mine")
SETTINGS = {"method": "new", "dataset": "digits", "ipc": 1, "seed": 0, "gain": 1.0, "inner": {"where": "a", "steps": 3}}


def recorded(folder, roles=NEW, **changed):
    settings = {**SETTINGS, **changed}
    write_config(folder, settings, roles=roles, seed=settings["seed"])
    write_summary(folder, {"evaluation": {"network": "convnet", "accuracies": [0.5, 0.7]}})
    return read(folder)


def test_roles_come_back_as_they_were_written(tmp_path):
    run = recorded(tmp_path)
    assert run.roles == NEW
    assert json.loads((tmp_path / "config.json").read_text())["roles"]["family"] == "mine"


def test_a_record_without_roles_has_those_of_version_0_1(tmp_path):
    run = recorded(tmp_path, None, method="dsa", sdc=None, sdc_power=2)
    assert run.roles == earlier_roles(run.settings) and run.roles.family == GRADIENT
    assert "sdc_power" in run.roles.unread and "sdc_power" not in earlier_roles({"method": "dsa", "sdc": 0.1}).unread


def test_what_is_compared_follows_from_the_record_and_not_from_a_name():
    roles = (NEW, NEW)
    assert disagreement(SETTINGS, {**SETTINGS, "seed": 3, "gain": 2.0, "old": 5}, roles) is None
    assert disagreement(SETTINGS, {**SETTINGS, "inner": {"where": "b", "steps": 3}}, roles) is None
    assert disagreement(SETTINGS, {**SETTINGS, "inner": {"where": "b", "steps": 4}}, roles) == ("steps", 3, 4)
    assert disagreement({**SETTINGS, "sdc": 1}, {**SETTINGS, "sdc": 2}, roles) == ("sdc", 1, 2)  # free only in 0.1
    assert disagreement({**SETTINGS, "sdc": 1}, {**SETTINGS, "sdc": 2}) is None


def test_a_whole_nested_group_may_be_unread():
    roles = Roles((), ("inner",), OTHER)
    assert disagreement(SETTINGS, {**SETTINGS, "inner": {"steps": 9}}, (roles, roles)) is None
    assert disagreement(SETTINGS, {**SETTINGS, "inner": {"steps": 9}}, (roles, NEW)) is None  # one did not read it


@pytest.mark.parametrize("entry", ["gradient", 3, [], {"free": []}, {"free": "seed", "unread": [], "family": "x"},
                                   {"free": [1], "unread": [], "family": "x"}])  # fmt: skip
def test_damaged_roles_are_a_bad_record(tmp_path, entry):
    recorded(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "roles": entry}))
    with pytest.raises(BadRecord, match="roles"):
        _ = read(tmp_path).roles


@pytest.mark.parametrize(
    ("method", "family"), [("DSA", GRADIENT), ("datm", TRAJECTORY), ("herding", CORESET), ("mine", OTHER)]
)
def test_families_of_version_0_1(method, family):
    assert family_of(method) == family


def test_the_reader_tells_results_from_what_was_left_out(tmp_path):
    recorded(tmp_path / "a")
    recorded(tmp_path / "b", sdc=0.1)
    recorded(tmp_path / "c", asdc=[0.1, 1.0])
    recorded(tmp_path / "d", hard_threshold=0.5)
    write_config(tmp_path / "e", SETTINGS)
    write_config(tmp_path / "f", {**SETTINGS, "sdc": 10.0})
    write_failure(tmp_path / "f", "diverged", "the loss is not finite")
    write_config(tmp_path / "g", SETTINGS)
    write_failure(tmp_path / "g", "failed", "out of memory")
    write_failure(tmp_path / "h", "failed", "died before it began")
    found, left_out = read_recorded([tmp_path, tmp_path / "a"])  # twice below the two, once in the result
    assert [r.correction for r in found] == [PLAIN, Correction(0.1), Correction(0.1, 1.0), Correction(10.0)]
    assert [r.diverged for r in found] == ["", "", "", "the loss is not finite"] and found[3].accuracies is None
    assert found[0].percent.tolist() == [50.0, 70.0] and found[0].family == "mine"
    assert {run.folder.name: run.why for run in left_out} == {
        "d": HARD_THRESHOLD, "e": NOT_FINISHED, "g": "failed (out of memory)", "h": "failed (died before it began)",
    }  # fmt: skip
    with pytest.raises(ValueError, match="has no accuracy"):
        _ = found[3].percent


def test_folders_without_runs_are_refused_by_name(tmp_path):
    recorded(tmp_path / "a")
    refuse_empty([tmp_path])
    (tmp_path / "empty").mkdir()
    for name, words in (("empty", "no config.json"), ("absent", "is not a folder")):
        with pytest.raises(NoRuns, match=f"{name} holds no runs: .*{words}"):
            refuse_empty([tmp_path, tmp_path / name])


def test_every_run_is_held_against_one_of_every_correction(tmp_path):
    """A setting that only corrected runs read is found between them, whichever come first."""
    runs = [
        recorded(tmp_path / name, Roles(("sdc", "seed"), unread, OTHER), sdc=sdc, power=power)
        for name, sdc, power, unread in (
            ("a", None, 1, ("power",)), ("b", 0.1, 2, ()), ("c", None, 3, ("power",)), ("d", 0.2, 4, ()),
        )
    ]  # fmt: skip
    outcomes = [outcome_of(run) for run in runs]
    assert not any(isinstance(o, LeftOut) for o in outcomes)
    refuse_disagreement(outcomes[:3])
    with pytest.raises(NotOneExperiment, match=r"power = 2 \(.*b\) and 4 \(.*d\): name folders that hold one of them"):
        refuse_disagreement(outcomes)
