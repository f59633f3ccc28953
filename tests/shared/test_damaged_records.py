"""Whatever happened to a file of a record, the answer is one sentence that names it and a cure; never a traceback."""

import json
import random
from pathlib import Path

import pytest

from shared.comparison.grid import BadGrid, Measurement, grids, read_csv, write_csv
from shared.comparison.run_grid import read_runs
from shared.records.decoding import CURES
from shared.records.recorded import NotOneExperiment, read_recorded, refuse_disagreement
from shared.records.records import BadRecord, MetricsWriter, read, write_config, write_failure, write_summary
from shared.records.roles import Roles

ROLES = Roles(("seed", "sdc"), ("sdc_power",), "gradient")
FILES = ("config.json", "metrics.jsonl", "summary.json", "failure.json")


def record(folder: Path, sdc: float | None = None, seed: int = 0, failed: bool = False) -> Path:
    settings = {"method": "dsa", "dataset": "digits", "ipc": 1, "sdc": sdc, "seed": seed, "asdc": None,
                "network": "convnet", "width": 8, "trajectory": {"syn_steps": 5}}  # fmt: skip
    write_config(folder, settings, roles=ROLES, seed=seed, data={"classes": 10}, device={"name": "cpu"})
    with MetricsWriter(folder) as writer:
        writer.write(0, gradn_synthetic_trained=2.0, misclassified_real_random=0.9, misclassified_real_trained=0.2)
        for step in range(3):
            writer.write(step, loss=1.0 / (step + 1), pull=0.1, norm=float("nan"))
            writer.write(step, test_accuracies=[0.5, 0.6], validation_accuracies=[0.4])
    if failed:
        write_failure(folder, "diverged", "the loss is not finite")
    else:
        evaluation = {"network": "convnet", "accuracies": [0.6, 0.7]}
        write_summary(folder, {"evaluation": evaluation, "results": {"random": {"accuracies": [[0.4, 0.5]]}}})
    return folder


def everything(root: Path) -> None:
    """All that readers of a folder do."""
    found, _ = read_recorded([root])
    refuse_disagreement(found)
    measurements, _ = read_runs(root)
    grids(measurements)
    for run in (r.run for r in found):
        for name in ("loss", "norm", "pull"):
            run.series(name)


def refusal(root: Path) -> str:
    """The sentence, or nothing if all could be read."""
    try:
        everything(root)
    except (BadRecord, BadGrid, NotOneExperiment) as error:
        said = str(error)
        assert len(said.splitlines()) == 1 and said
        return said
    return ""


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"3", b'"text"', b"[]", b"[" * 50_000, b"\xff\xfe{", b"\0" * 64, b"NaN",
                b'{"schema": 1, "settings": 3}', b'{"schema": true}', b"1" * 5000 + b"\n", b'{"a": Infinity}\n']
)  # fmt: skip
def test_another_content_is_refused_by_name(file, content, tmp_path):
    record(tmp_path / "a")
    broken = record(tmp_path / "b", 0.1, failed=file == "failure.json") / file
    broken.write_bytes(content)
    said = refusal(tmp_path)
    if said == "":
        # A last line without its newline was cut by a kill, and an object may be a summary without an evaluation.
        cut = file == "metrics.jsonl" and b"\n" not in content
        assert cut or (file == "summary.json" and content.startswith(b'{"schema": 1'))
        return
    assert str(broken) in said
    assert CURES[file] in said or "this version reads schema 1" in said or "cannot be read" in said


def leaves(value, path=()):
    """Places of all values in a JSON document, inner ones included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


GARBAGE = (None, True, -1, 0, 2**70, 1e308, "x", "", [], {}, [[]], {"a": {"b": None}}, [None], [1e999], ["x"])


@pytest.mark.parametrize("file", ["config.json", "summary.json", "failure.json"])
def test_every_value_of_every_wrong_type_gives_a_sentence_or_is_read(file, tmp_path):
    record(tmp_path / "a")
    folder = record(tmp_path / "b", 0.1, failed=file == "failure.json")
    whole = json.loads((folder / file).read_text())
    whole.pop("environment", None)  # nobody reads it
    for path in leaves(whole):
        for new in GARBAGE:
            (folder / file).write_text(json.dumps(replaced(whole, path, new)))
            said = refusal(tmp_path)
            # Not damaged, but of another method, data set or architecture: said as of any such record.
            other = said.endswith("to which the others are compared") or "several numbers of classes" in said
            assert not said or str(folder) in said or other, (path, new, said)


def test_every_value_of_a_row_of_metrics_likewise(tmp_path):
    record(tmp_path / "a")
    folder = record(tmp_path / "b", 0.1)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for k in (0, 1, 2):
        for path in leaves(rows[k]):
            for new in GARBAGE:
                broken = [*rows[:k], replaced(rows[k], path, new), *rows[k + 1 :]]
                (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in broken))
                said = refusal(tmp_path)
                assert not said or str(folder) in said, (k, path, new, said)


@pytest.mark.parametrize("file", FILES)
def test_truncations_and_flipped_bits(file, tmp_path):
    record(tmp_path / "a")
    folder = record(tmp_path / "b", 0.1, failed=file == "failure.json")
    whole = (folder / file).read_bytes()
    rng = random.Random(0)
    for k in range(120):
        content = bytearray(whole)
        if k % 2:
            del content[rng.randrange(len(content)) :]
        else:
            for _ in range(rng.choice((1, 1, 1, 8, 64))):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (folder / file).write_bytes(content)
        refusal(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("config.json", {"settings": {"dataset": "digits", "ipc": 1}}, "a distillation (KeyError('method'"),
        ("config.json", {"settings": {"method": "dsa", "dataset": 3, "ipc": 1}}, "dataset is 3, must be text"),
        ("config.json", {"settings": {"method": "dsa", "dataset": "x", "ipc": 0}}, "settings.ipc is 0, must be"),
        ("config.json", {"seed": "one"}, "seed is 'one', must be a whole number"),
        ("config.json", {"data": {"classes": None}}, "data.classes is None, must be a whole number"),
        ("summary.json", {"evaluation": {"accuracies": [0.5, 60.0]}}, "accuracies has 60, must lie in [0, 1]"),
        ("summary.json", {"evaluation": {"accuracies": []}}, "must be a list of numbers"),
        ("summary.json", {"results": {"random": []}}, "results.random is [], must be an object with accuracies"),
        ("failure.json", {"reason": None}, "reason is None, must be text"),
    ],
)
def test_what_is_wrong_is_said_in_words(file, change, words, tmp_path):
    folder = record(tmp_path / "b", 0.1, failed=file == "failure.json")
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadRecord) as caught:
        everything(tmp_path)
    said = str(caught.value)
    assert said.startswith(f"damaged: {path}: ") and words in said and said.endswith(CURES[file])


def test_a_damaged_line_is_named_by_its_number(tmp_path):
    path = record(tmp_path) / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace("0.5", '"half"')
    path.write_text("".join(lines))
    with pytest.raises(BadRecord, match=r"damaged: .*metrics.jsonl: line \d: .*must be a finite number or null"):
        read(tmp_path).metrics()


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    folder = record(tmp_path / "a")
    (folder / "summary.json").unlink()
    (folder / "summary.json").mkdir()
    with pytest.raises(BadRecord, match=r"summary\.json cannot be read: Is a directory"):
        read(folder)


def grid_file(folder: Path) -> Path:
    rows = [
        Measurement("dsa", "digits", 10, 1, c, s, "n/0", {"accuracy": 0.5 + c, "relative_pull": 0.1})
        for c in (0.0, 0.1) for s in (0, 1)
    ]  # fmt: skip
    return write_csv(folder / "grid.csv", rows)


def test_a_damaged_grid_gives_a_sentence_or_is_read(tmp_path):
    path = grid_file(tmp_path)
    whole = path.read_bytes()
    header, *rows = whole.split(b"\n")
    rng = random.Random(1)
    broken = [whole[:k] for k in range(0, len(whole), 7)]
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 1, 8))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        broken.append(bytes(content))
    for k in range(header.count(b",") + 1):
        for new in (b"", b"1e400", b"nan", b"-1", b"1e300", b'"', b"\0", b"9" * 5000, b"x" * 200_000, b"\xff"):
            fields = rows[0].split(b",")
            fields[k] = new
            broken.append(b"\n".join((header, b",".join(fields), *rows[1:])))
    broken += [header + b"\n" + rows[0] + b",more,and,more\n", header + b"\ndsa\n", b"\n\n", header]
    for content in broken:
        path.write_bytes(content)
        try:
            grids(read_csv(path))
        except BadGrid as error:
            assert len(str(error).splitlines()) == 1, error


@pytest.mark.parametrize("name", ["a,b", 'a"b', "a\nb", "a\rb", "a;b", "ä ö", "=1+1", "'x'", "a\\b", "$x$", "[/red]"])
def test_names_survive_the_grid_whatever_they_are(name, tmp_path):
    rows = [
        Measurement("dsa", name, 10, 1, c, s, f"{name}/0", {"accuracy": 0.5}, architecture=name)
        for c in (0.0, 0.1) for s in (0, 1)
    ]  # fmt: skip
    rows.append(Measurement("dsa", name, 10, 1, 9.0, 0, "", {}, diverged=f"because, {name}"))
    again = read_csv(write_csv(tmp_path / "grid.csv", rows))
    assert sorted(map(str, again)) == sorted(map(str, rows))
    (grid,) = grids(again)
    assert grid.dataset == name and len(grid.name.splitlines()) == 1
    assert grid.name == " ".join(f"dsa on {name} ({name})".split())
