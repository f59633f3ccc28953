"""`python -m empirical.evaluate RUN`: judge a stored synthetic set again, from its file alone.

The file's header says how: data set and fingerprint, preprocessing, network, epochs, augmentation, number of
networks, seed. Without options the numbers of the run come out again; `--networks all` gives the
cross-architecture table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import tyro

from empirical import networks, synthetic
from empirical.data.datasets import Dataset, load_recorded
from empirical.data.errors import UnknownDataset
from empirical.data.preprocessing import Normalisation
from empirical.data.whitening import Whitening
from empirical.evaluation.protocol import CROSS_ARCHITECTURE, Evaluation, Protocol, evaluate
from empirical.networks.choice import NetworkChoice
from empirical.runtime.devices import device_named
from empirical.runtime.heap import keep_freed_memory
from empirical.synthetic.synthetic_set import BadSyntheticSet, SyntheticSet
from shared.records.records import write_json
from shared.terminal.arguments import read_arguments
from shared.terminal.command import command, leave, refuse_file
from shared.terminal.plugins import load_plugins
from shared.terminal.printing import Plain, Sheet
from shared.terminal.progress import EpochCounter, Reporter


@dataclass(frozen=True)
class Options:
    """Options of the command; what is left out is as the run recorded it.

    Attributes:
        run: a run's folder, or a synthetic.safetensors.
        networks: names of evaluation networks, or `all` for the published cross-architecture list.
        count: networks of each architecture.
        seed: of their initialisation and training.
        epochs: E of the protocol (E + 1 epochs).
        augmentation: none, a strategy such as color_crop_cutout_scale_rotate, or condensation's.
        split: test, or validation if the run held one out.
        data_root: where the data set is.
        download: fetch the data set if it is missing.
        device: auto, cpu, cuda, cuda:1, ...
        out: a JSON file for the results.
        plugin: a Python file that registers what the set was made with; may be given several times.

    """

    run: Annotated[Path, tyro.conf.Positional]
    networks: tuple[str, ...] = ()
    count: int | None = None
    seed: int | None = None
    epochs: int | None = None
    augmentation: str | None = None
    split: Literal["test", "validation"] = "test"
    data_root: Path | None = None
    download: bool = False
    device: str = "cpu"
    out: Path | None = None
    plugin: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Reads the command line.

    Raises:
        SystemExit: status 2, unknown flag or a value of the wrong type.

    """
    load_plugins(sys.argv[1:] if arguments is None else arguments)
    return read_arguments(
        lambda: tyro.cli(Options, args=arguments, prog="python -m empirical.evaluate", description=__doc__)
    )


@dataclass(frozen=True)
class Plan:
    """What a stored set asks for, after the options."""

    choices: tuple[NetworkChoice, ...]
    protocol: Protocol
    count: int
    seed: int


@contextmanager
def _recorded_name(run: Path, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Of a name that a set records and nothing registers: say that a file of the user's own may bring it.

    Raises:
        ValueError: the same error, if it is of that kind.

    """
    try:
        yield
    except kind as error:
        error.args = (f"{error}; {run} records it: if a file of your own registers it, give that with --plugin",)
        raise


def plan(stored: SyntheticSet, options: Options) -> Plan:
    """From the stored recipe and the options.

    Raises:
        BadSyntheticSet: the recipe lacks what is needed.
        ValueError: an option is out of range, or names no network.

    """
    try:
        network, judged = stored.recipe["network"], dict(stored.recipe["evaluation"])
        own = NetworkChoice(network["name"], network["variant"])
        count, seed = judged.pop("networks"), judged.pop("seed")
        with _recorded_name(options.run):
            protocol = Protocol(**judged)
    except (KeyError, TypeError) as error:
        raise BadSyntheticSet(f"{options.run}: the recipe does not say how to evaluate ({error})") from error
    if options.count is not None and options.count < 1:
        raise ValueError(f"--count is at least 1, not {options.count}")
    if options.epochs is not None and options.epochs < 0:
        raise ValueError(f"--epochs is at least 0, not {options.epochs}")
    if options.epochs is not None:
        protocol = replace(protocol, epochs=options.epochs)
    if options.augmentation is not None:
        protocol = replace(protocol, augmentation=options.augmentation)
    asked = [n for name in options.networks for n in (CROSS_ARCHITECTURE if name == "all" else (name,))]
    names = tuple(dict.fromkeys(asked))
    for name in names:
        networks.variants(name)  # an unknown one is refused before any work
    choices = tuple(own if name == own.name else NetworkChoice(name) for name in names or (own.name,))
    if not names:
        with _recorded_name(options.run):
            networks.variants(own.name)
    return Plan(
        choices,
        protocol,
        count if options.count is None else options.count,
        seed if options.seed is None else options.seed,
    )


def matching_dataset(stored: SyntheticSet, options: Options) -> Dataset:
    """The data set that the set was made from, with the set's own preprocessing.

    Raises:
        BadSyntheticSet: the data found are not those of the run, or the preprocessing is unknown.

    """
    described: dict[str, Any] = stored.recipe.get("data", {})
    if "name" not in described:
        raise BadSyntheticSet(f"{options.run}: the recipe names no data set")
    device = device_named(options.device)
    with _recorded_name(options.run, UnknownDataset):
        dataset = load_recorded(described, data_root=options.data_root, download=options.download, device=device)
    if dataset.fingerprint != described["fingerprint"]:
        raise BadSyntheticSet(
            f"{dataset.source}: not the data of the run: fingerprint {dataset.fingerprint[:12]}, "
            f"the run had {described['fingerprint'][:12]}"
        )
    recorded = stored.recipe.get("preprocessing", described["preprocessing"])
    if recorded["kind"] == "normalisation":
        return dataset.with_preprocessing(Normalisation.from_description(recorded))
    if recorded["kind"] == "zca":
        return dataset.with_preprocessing(Whitening.fit(dataset.train.images, recorded["epsilon"]))
    raise BadSyntheticSet(f"{options.run}: unknown preprocessing {recorded['kind']!r}")


def results(options: Options, quiet: bool = False) -> dict[str, Evaluation | str]:
    """For each network its evaluation, or why there is none (images too small for it)."""
    stored = synthetic.load(options.run)
    chosen = plan(stored, options)
    dataset = matching_dataset(stored, options)
    found: dict[str, Evaluation | str] = {}
    for choice in chosen.choices:
        epochs = chosen.protocol.recipe().epochs * chosen.count
        try:
            with Reporter(f"{choice.name}, {chosen.count} networks", epochs, quiet=quiet) as reporter:
                found[choice.name] = evaluate(
                    stored,
                    dataset,
                    chosen.protocol,
                    choice,
                    chosen.count,
                    chosen.seed,
                    options.split,
                    EpochCounter(reporter),
                )
        except ValueError as error:
            if len(chosen.choices) == 1:
                raise
            found[choice.name] = str(error)
    return found


def table(found: dict[str, Evaluation | str], title: str) -> Sheet:
    """Mean and spread over networks, per cent."""
    drawn = Sheet(("network", "accuracy %", "std over networks", "n"), title)
    for name, result in found.items():
        if isinstance(result, str):
            drawn.add_row(f"{name}: {result}", "-", "-", "-")
        else:
            numbers = f"{100 * result.mean:.2f}", f"{100 * result.std:.2f}", str(len(result.accuracies))
            drawn.add_row(name, *numbers)
    return drawn


def execute(options: Options) -> None:
    """Judges the set, writes the results where they were asked for, and prints them."""
    if options.out is not None:
        refuse_file(options.out)
    found = results(options)
    if options.out is not None:
        content = {name: r if isinstance(r, str) else r.describe() for name, r in found.items()}
        write_json(options.out, content)
    Plain().print(table(found, f"{options.run} on {options.split} images"))
    if (reason := synthetic.load(options.run).recipe.get("diverged")) is not None:
        print(f"note: the distillation diverged ({reason}); what was judged is its last finite set", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status; all are in `shared.terminal.command`."""
    keep_freed_memory()
    return command(lambda: execute(parse(arguments)))


def console() -> NoReturn:
    """The installed command `easy-or-hard-evaluate`: the same as `python -m empirical.evaluate`."""
    leave(main)


if __name__ == "__main__":
    console()
