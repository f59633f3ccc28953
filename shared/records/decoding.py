"""What a file of a run's record must hold before it is believed, and what is said when it does not.

One decoder a kind of file: `decode` for the three that hold one JSON object, `decode_row` for the lines of
`metrics.jsonl`. Whatever happened to a file (cut, edited, overwritten, of another program), the answer is `BadRecord`
with one sentence: which file is damaged, what is wrong in it, and what to do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from shared.records import metric_names as metric

SCHEMA = 1
CONFIG, METRICS, SUMMARY, FAILURE = "config.json", "metrics.jsonl", "summary.json", "failure.json"
CURES = {
    CONFIG: "put back a copy of it, or remove its folder and make the run again",
    METRICS: "put back a copy of it, or remove its folder and make the run again",
    SUMMARY: "put back a copy of it, or remove it and go on with the run, which writes it again",
    FAILURE: "remove it, and the run is tried again",
}


class BadRecord(ValueError):  # noqa: N818
    """A record that cannot be read: absent, damaged, or of another schema."""

    exit_status = 2


_WHAT = {FAILURE: "the record of a failure"}


class _Wrong(Exception):  # noqa: N818
    """What is wrong in a file, in words."""


def damaged(path: Path, what: str) -> BadRecord:
    """The error for a file of a record, with its cure."""
    return BadRecord(f"damaged: {path}: {what}; {CURES.get(path.name, 'put back a copy of it')}")


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        BadRecord: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path, f"it is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise BadRecord(f"{path} cannot be read: {error.strerror}") from error


def decode(path: Path) -> dict[str, Any]:
    """The object in `config.json`, `summary.json` or `failure.json`.

    Raises:
        BadRecord: it cannot be read, is damaged, or of another schema.
    """
    content = _object(path, read_text(path), "")
    try:
        if path.name != FAILURE:  # it has never had one
            _schema(content, str(path))
        _CHECKS[path.name](content)
    except _Wrong as wrong:
        raise damaged(path, str(wrong)) from wrong
    return content


def decode_row(path: Path, number: int, line: str) -> dict[str, Any]:
    """The row in a line of `metrics.jsonl`, `number` counting from 1. Raises as `decode`."""
    where = f"line {number}: "
    row = _object(path, line, where)
    try:
        _schema(row, f"{path}, line {number}")
        _whole(row, metric.STEP, 0)
        for name, value in row.items():
            if name.endswith(metric.accuracies("")):
                _accuracies(value, name)
            elif value is not None and not (isinstance(value, int | float) and _finite(value)):
                raise _Wrong(f"{name} is {_short(value)}, must be a finite number or null")
    except _Wrong as wrong:
        raise damaged(path, f"{where}{wrong}") from wrong
    return row


def _object(path: Path, text: str, where: str) -> dict[str, Any]:
    what = _WHAT.get(path.name, "the record of a run")
    try:
        content = json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise damaged(path, f"{where}it is not JSON, {what}: nested too deeply") from error
    except ValueError as error:
        raise damaged(path, f"{where}it is not JSON, {what}: {error}") from error
    if not isinstance(content, dict):
        raise damaged(path, f"{where}it is not {what}: {_short(content)} in place of an object")
    return content


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _schema(content: Mapping[str, Any], where: str) -> None:
    found = content.get("schema")
    if found != SCHEMA or isinstance(found, bool):
        raise BadRecord(f"{where}: schema {_short(found)}, this version reads schema {SCHEMA}")


def _config(content: Mapping[str, Any]) -> None:
    settings = _mapping(content, "settings")
    if content.get("seed") is not None:
        _whole(content, "seed")
    if content.get("data") is not None:
        _whole(_mapping(content, "data"), "classes", 1, "data.")
    for name, check in (("method", _text), ("dataset", _text), ("ipc", _positive), ("seed", _whole)):
        if name in settings:
            check(settings, name, within="settings.")
    if settings.get("network") is not None:
        _text(settings, "network", within="settings.")
    for name in ("sdc", "sdc_pull"):
        if settings.get(name) is not None:
            _number(settings[name], f"settings.{name}")
    for name in ("asdc", "asdc_pull"):
        if (schedule := settings.get(name)) is not None:
            if not isinstance(schedule, list) or len(schedule) != 2:
                raise _Wrong(f"settings.{name} is {_short(schedule)}, must be two numbers")
            for value in schedule:
                _number(value, f"settings.{name}")


def _summary(content: Mapping[str, Any]) -> None:
    if content.get("evaluation") is not None:
        evaluation = _mapping(content, "evaluation")
        if "accuracies" not in evaluation:
            raise _Wrong("it is not the record of a distillation: evaluation has no accuracies")
        _accuracies(evaluation.get("accuracies"), "evaluation.accuracies")
        if "network" in evaluation:
            _text(evaluation, "network", within="evaluation.")
    if content.get("results") is not None:
        for name, result in _mapping(content, "results").items():
            if isinstance(result, dict) and "accuracies" in result:
                if not isinstance(result["accuracies"], list):
                    raise _Wrong(f"results.{name}.accuracies is {_short(result['accuracies'])}, must be lists")
                for accuracies in result["accuracies"]:
                    _accuracies(accuracies, f"results.{name}.accuracies")
            elif name in (metric.RANDOM, metric.WHOLE):
                raise _Wrong(f"results.{name} is {_short(result)}, must be an object with accuracies")


def _failure(content: Mapping[str, Any]) -> None:
    for name in ("kind", "reason"):
        if not isinstance(content.get(name), str):
            raise _Wrong(f"it is not the record of a failure: {name} is {_short(content.get(name))}, must be text")


_CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {CONFIG: _config, SUMMARY: _summary, FAILURE: _failure}


def _mapping(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    if not isinstance(found, dict):
        raise _Wrong(f"{name} is {_short(found)}, must be an object")
    return found


def _text(content: Mapping[str, Any], name: str, *, within: str = "") -> None:
    if not isinstance(content[name], str):
        raise _Wrong(f"{within}{name} is {_short(content[name])}, must be text")


def _positive(content: Mapping[str, Any], name: str, *, within: str = "") -> None:
    _whole(content, name, 1, within)


def _whole(content: Mapping[str, Any], name: str, least: int | None = None, within: str = "") -> None:
    value = content.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise _Wrong(f"{within}{name} is {_short(value)}, must be a whole number")
    if least is not None and value < least:
        raise _Wrong(f"{within}{name} is {value}, must be at least {least}")


def _number(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        raise _Wrong(f"{name} is {_short(value)}, must be a finite number")


def _finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _accuracies(value: Any, name: str) -> None:
    if not isinstance(value, list) or not value:
        raise _Wrong(f"{name} is {_short(value)}, must be a list of numbers, one an evaluation network")
    for accuracy in value:
        _number(accuracy, name)
        if not 0.0 <= accuracy <= 1.0:
            raise _Wrong(f"{name} has {accuracy:g}, must lie in [0, 1]")


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
