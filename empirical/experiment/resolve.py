"""From typed settings to resolved ones: presets below what was typed, and everything that follows filled in."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from empirical import networks
from empirical.data import registry
from empirical.data.augmentation import parse_strategy
from empirical.data.datasets import Dataset
from empirical.evaluation.protocol import CONDENSATION, published_protocol
from empirical.experiment.checks import check
from empirical.experiment.families import method_named
from empirical.runtime.registry import unknown
from empirical.settings.presets import presets, table_name, usual_coefficient
from empirical.settings.settings import PUBLISHED, Resolved, Settings


def with_preset(settings: Settings, preset: str | None) -> Settings:
    """The settings with a preset's values; by default laptop for the bundled digits, published for all
    others. A preset's width is that of a ConvNet: another network is never made wider than it is published.

    Raises:
        ValueError: no such preset, method or network.

    """
    spec = registry.find(settings.dataset)
    small = spec is not None and spec.name == registry.DEFAULT
    name = preset or ("laptop" if small else "published")
    if name not in presets():
        raise unknown("preset", name, presets())
    method = method_named(settings.method)
    values = method.family.preset(method, settings, name)
    own_width = networks.variants(settings.network).get("width")
    values["width"] = min(values["width"], own_width) if isinstance(own_width, int) else None
    return replace(settings, preset=name, compare=small, **values)


def published_coefficient(dataset: str, method: str, ipc: int) -> tuple[float, str]:
    """Lambda for a cell, and a sentence on where it comes from."""
    row, name = method_named(method), table_name(dataset)
    found = row.family.published_lambda(row, name, ipc)
    if found is not None:
        return found, f"lambda {found:g}: published for {method} on {name}, {ipc} a class"
    value = usual_coefficient()
    return value, f"lambda {value:g}: none is published for {method} on {name}, {ipc} a class; the usual value"


def resolve(settings: Settings, dataset: Dataset) -> Resolved:
    """Fills in everything that follows from method, data set and images a class.

    Returns:
        The family's own type of resolved settings.

    Raises:
        ValueError: as `check`.

    """
    check(settings)
    method = method_named(settings.method)
    values: dict[str, Any] = {f.name: getattr(settings, f.name) for f in fields(Settings)}
    if settings.sdc == PUBLISHED:
        values["sdc"] = published_coefficient(settings.dataset, settings.method, settings.ipc)[0]
    values.update(method.family.resolve(method, settings, dataset))
    strategy = parse_strategy(values["augmentation"] or "none") if "distilled" in method.tags else ()
    protocol = published_protocol(table_name(settings.dataset), strategy)
    augmentation = settings.eval_augmentation or protocol.augmentation
    values["eval_augmentation"] = CONDENSATION if augmentation == "condensation" else augmentation
    if settings.eval_epochs is None:
        values["eval_epochs"] = protocol.epochs
    return method.family.resolved(**values)
