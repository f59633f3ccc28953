"""`python -m empirical.run`: one experiment from flags to a record.

Without arguments: DSA on the bundled digits, one image a class, on a CPU, in under a minute, beside random
images, the same run with the sample difficulty correction, and the whole training set. A run's folder holds
`config.json`, `metrics.jsonl`, `synthetic.safetensors`, `synthetic.png` and `summary.json`; `--resume` goes
on with an unfinished one, and `python -m empirical.evaluate FOLDER` judges a finished one again.

Exit status: 0; 2 for bad input; 3 for missing or unusable data; 4 if a loss or an image is no longer finite, or
there is no space left; 130 if stopped by a signal (the run is then saved). `shared.terminal.command` has them all.
"""

# isort: off
import empirical.runtime.waiting  # noqa: F401
# isort: on

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
import tyro
from rich.console import Console

from empirical import networks, synthetic
from empirical.coresets import Random
from empirical.data.datasets import Dataset, load
from empirical.evaluation.evaluation_points import scores, skipped_share
from empirical.evaluation.protocol import Evaluation, evaluate, evaluate_whole
from empirical.evaluation.results import Results
from empirical.experiment import cost
from empirical.experiment.checks import check
from empirical.experiment.coresets import RANDOM
from empirical.experiment.cost import LONG
from empirical.experiment.dry_run import shown
from empirical.experiment.experiment import Experiment, correction_of
from empirical.experiment.experts import experts_command, experts_missing
from empirical.experiment.families import Method, family_of, method_named, notes, recorded_roles, unread
from empirical.experiment.help import description
from empirical.experiment.make import make
from empirical.experiment.resolve import published_coefficient, resolve, with_preset
from empirical.experiment.resuming import TYPED, finished, refuse_other, stored, write_typed
from empirical.experiment.whole import WHOLE
from empirical.runtime.checkpoint import Lock
from empirical.runtime.devices import device_named
from empirical.runtime.heap import keep_freed_memory
from empirical.runtime.places import refuse_place
from empirical.runtime.seeds import generator
from empirical.settings.presets import presets
from empirical.settings.roles import typed_flags
from empirical.settings.settings import PUBLISHED, Resolved, Settings
from shared.records.decoding import CONFIG, SUMMARY
from shared.records.records import read, write_config, write_summary
from shared.terminal.arguments import read_arguments
from shared.terminal.command import command, leave, when_stopped
from shared.terminal.plugins import load_plugins, places, refuse_unloaded
from shared.terminal.printing import Plain
from shared.terminal.progress import EpochCounter, Reporter, duration


def _bare_flag(arguments: Sequence[str]) -> list[str]:
    """Gives `--sdc` its value where none follows."""
    given: list[str] = []
    for index, argument in enumerate(arguments):
        given.append(argument)
        following = arguments[index + 1] if index + 1 < len(arguments) else "--"
        if argument == "--sdc" and following.startswith("-") and not _is_number(following):
            given.append(PUBLISHED)
    return given


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse(arguments: Sequence[str]) -> Settings:
    """Settings from the command line, over those of the preset (or, to resume, over those of the run).

    Raises:
        ValueError: unknown preset, or nothing to resume.
        SystemExit: status 2, unknown flag or a value of the wrong type.

    """
    load_plugins(arguments)
    arguments = _bare_flag(arguments)
    typed = typed_flags(arguments)
    first = _read([a for a in arguments if a not in ("-h", "--help")], Settings())
    if first.resume and first.out and not typed & {"dataset", "preset"}:
        earlier = stored(first.out)
        refuse_unloaded(earlier.pop("plugin", None) or (), first.out)
        defaults = Settings(**earlier)
    else:
        # What was typed stays; the second reading puts it over the preset's values.
        defaults = with_preset(first, first.preset if "preset" in typed else None)
    settings = _read(arguments, replace(defaults, plugin=()))  # what may be typed several times is added up
    settings = replace(settings, plugin=places(settings.plugin))
    for told in unread(arguments, [settings]):
        print(f"note: {told}", file=sys.stderr)
    return settings


def _read(arguments: Sequence[str], defaults: Settings) -> Settings:
    """What the parser makes of the arguments, over defaults."""
    return read_arguments(
        lambda: tyro.cli(
            Settings,
            args=list(arguments),
            default=defaults,
            prog="python -m empirical.run",
            description=description(__doc__ or ""),
        )
    )


def _free_folders(settings: Settings) -> Iterator[Path]:
    """Folders under `runs` that are not there yet; to resume, first the last one that is."""
    stem = "-".join(
        [Path(settings.dataset).name, settings.method, f"ipc{settings.ipc}", f"seed{settings.seed}"]
    )
    candidates = (Path("runs") / (stem if n == 1 else f"{stem}-{n}") for n in range(1, 10_000))
    last = None
    for candidate in candidates:
        if candidate.exists():
            last = candidate
            continue
        if settings.resume and last:
            yield last
        yield candidate
    raise ValueError(f"runs/{stem} and 9998 more exist: name a folder with --out")


def _taken_folder(settings: Settings) -> Path:
    """The first free folder, made, so that a run that starts at the same moment takes the next."""
    for candidate in _free_folders(settings):
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            continue
        return candidate
    raise ValueError("no folder under runs is free: name one with --out")


def _refuse_used(folder: Path, settings: Settings) -> None:
    refuse_place(folder)
    if settings.resume:
        return
    if (folder / TYPED).exists() or (folder / CONFIG).exists():
        raise ValueError(
            f"{folder} holds a run: go on with it by --resume, or name another folder with --out"
        )


@dataclass(frozen=True)
class Plan:
    """What one call does: the settings of each kind of set that is made, by name, and what is evaluated
    beside.
    """

    variants: dict[str, Resolved]
    compared: bool

    @property
    def settings(self) -> Resolved:
        """Those that were asked for."""
        return next(iter(self.variants.values()))

    @property
    def method(self) -> Method:
        """What was asked for."""
        return method_named(self.settings.method)

    def folder(self, root: Path, variant: str, repetition: int) -> Path:
        """Where a set is stored: the root itself, unless there are several repetitions or variants."""
        folder = root if variant == next(iter(self.variants)) else root / "with-sdc"
        seed = self.settings.seed + repetition
        return folder / f"seed{seed}" if self.settings.repetitions > 1 else folder


def _plan(settings: Settings, dataset: Dataset) -> Plan:
    plain = "correction" not in settings.tags
    base = settings.method
    if settings.hard_threshold is not None:  # no plain run either
        base += f", threshold {settings.hard_threshold:g}"
    kind = "" if plain else " + ASDC" if "schedule" in settings.tags else " + SDC"
    variants = {f"{base}{kind}": resolve(settings, dataset)}
    if settings.compare and plain and "distilled" in method_named(settings.method).tags:
        corrected = resolve(replace(settings, sdc="published"), dataset)
        variants[f"{base} + SDC {corrected.sdc:g}"] = corrected
    return Plan(variants, settings.compare)


def _refuse_unbuildable(plan: Plan, dataset: Dataset) -> None:
    """Builds once what is built again later, so that nothing is refused after work has begun."""
    for settings in plan.variants.values():
        networks.build(settings.network, dataset.shape, dataset.classes, **settings.variant)
        family_of(settings).refuse(settings, dataset)
        correction_of(settings)
        from_noise = settings.initialisation == "noise" and not plan.compared
        smallest = min(dataset.train.class_sizes)
        if settings.ipc > smallest and plan.method is not WHOLE and not from_noise:
            label = dataset.class_names[dataset.train.class_sizes.index(smallest)]
            raise ValueError(
                f"--ipc {settings.ipc} needs as many real images of each class, but class {label} of "
                f"{dataset.name} has {smallest} for training"
            )


def _announce(plan: Plan, dataset: Dataset, typed: Settings, console: Console) -> None:
    """Settings, cost and expected time on this device."""
    settings = plan.settings
    experiment = Experiment(settings, dataset, Path(), settings.seed)
    missing = experts_missing(experiment)
    network = experiment.network()
    distillations = len(plan.variants) * settings.repetitions
    expected = cost.estimate(settings, dataset, network, distillations, plan.compared, missing)
    seconds = expected.seconds(cost.speed(network, dataset))
    total = sum(seconds.values())
    preset = presets()[settings.preset]["description"]
    console.print(
        f"{settings.method} on {settings.dataset}, {settings.ipc} a class; preset {settings.preset}: {preset} "
        f"({settings.iterations} iterations, {settings.eval_networks} evaluation networks)"
    )
    for told in notes(plan.variants.values()):
        print(f"note: {told}", file=sys.stderr)
    if typed.sdc == PUBLISHED:
        console.print(published_coefficient(settings.dataset, settings.method, settings.ipc)[1])
    if settings.dry_run:
        for line in shown(settings, dataset):
            console.print(line)
        console.print("cost:")
        for part, flop in expected.flop.items():
            console.print(f"  {part:23} {flop / 1e12:.3g} TFLOP, about {duration(seconds[part])}")
    console.print(
        f"expected: {expected.total / 1e12:.3g} TFLOP, about {duration(total)} on {dataset.device}, "
        f"{expected.memory / 1e9:.2g} GB of memory",
    )
    own = settings.trajectory
    if missing and not settings.dry_run and own.make_experts is not True:
        needed = f"{missing} experts are missing; making them takes about {duration(seconds['experts'])}"
        if own.make_experts is False or seconds["experts"] > LONG:
            raise ValueError(
                f"{needed}: run {experts_command(settings)}, or allow it here with --make-experts True"
            )
    free = cost.available(dataset.device)
    if expected.memory > free:
        raise ValueError(
            f"this needs about {expected.memory / 1e9:.2g} GB and {free / 1e9:.2g} GB are free: "
            "lower --memory-budget, --batch-real or --ipc"
        )
    if total > LONG and settings.preset != "laptop":
        console.print(f"this is long; --preset laptop is small: {presets()['laptop']['description']}")


def _evaluated(made: synthetic.SyntheticSet, experiment: Experiment, name: str) -> Evaluation:
    settings = experiment.settings
    epochs = experiment.protocol.recipe().epochs * settings.eval_networks
    with Reporter(f"evaluating {name}", epochs, quiet=settings.quiet) as reporter:
        return evaluate(
            made,
            experiment.dataset,
            experiment.protocol,
            experiment.choice,
            settings.eval_networks,
            experiment.seed,
            progress=EpochCounter(reporter),
        )


def _whole(experiment: Experiment) -> Evaluation:
    settings = experiment.settings
    epochs = settings.whole_epochs * settings.eval_networks
    with Reporter("training on the whole set", epochs, quiet=settings.quiet) as reporter:
        return evaluate_whole(
            experiment.dataset,
            experiment.choice,
            settings.eval_networks,
            experiment.seed,
            settings.whole_epochs,
            progress=EpochCounter(reporter),
            batch=settings.whole_batch,
        )


def _make_and_evaluate(experiment: Experiment, name: str) -> dict[str, Evaluation]:
    """Of trajectory matching three numbers from its evaluation points, else the evaluation of what was made."""
    made = make(experiment)
    if made is None:  # of the training images themselves there is nothing to judge again
        return {name: _whole(experiment)}
    along = family_of(experiment.settings).judged_along
    recorded = read(experiment.folder).metrics() if along else []
    points = scores(recorded, experiment.choice.name)
    more: dict[str, Any] = {}
    if points is None:
        found = {name: _evaluated(made, experiment, name)}
    else:
        found = points.labelled(name)
        more = {"steps": points.steps, "skipped_share": skipped_share(recorded)}
        if more["skipped_share"]:
            print(f"{name}: {more['skipped_share']:.0%} of the iterations skipped (matching loss above threshold)")
    first = next(iter(found.values()))
    evaluations = {key: e.describe() for key, e in found.items()}
    written = {"name": name, "evaluation": first.describe(), "evaluations": evaluations, **more}
    write_summary(experiment.folder, written)
    return found


def _run(plan: Plan, dataset: Dataset, folder: Path) -> Results:
    results = Results()
    settings = plan.settings
    for repetition in range(settings.repetitions):
        seed = settings.seed + repetition
        here = Experiment(settings, dataset, folder, seed)
        if plan.compared and plan.method is not RANDOM:
            chosen = Random()(dataset, settings.ipc, generator(seed, "coreset"))
            results.add(RANDOM.name, _evaluated(chosen, here, "random images"))
        for name, variant in plan.variants.items():
            own = Experiment(variant, dataset, plan.folder(folder, name, repetition), seed)
            for label, evaluation in (finished(own) or _make_and_evaluate(own, name)).items():
                results.add(label, evaluation)
    if settings.repetitions > 1:
        write_config(
            folder,
            settings,
            roles=recorded_roles(settings),
            device=str(dataset.device),
            data=dataset.describe(),
        )
    if plan.compared and plan.method is not WHOLE:
        results.add(WHOLE.name, _whole(Experiment(settings, dataset, folder, settings.seed)))
    return results


def execute(settings: Settings, console: Console) -> None:
    """Runs an experiment; see the module for what it leaves and `main` for what it raises."""
    check(settings)
    device = device_named(settings.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = settings.tf32
    dataset = load(
        settings.dataset,
        data_root=settings.data_root,
        download=settings.download,
        device=device,
        validation=settings.validation,
        train_images=settings.train_images,
    )
    plan = _plan(settings, dataset)
    _refuse_unbuildable(plan, dataset)
    folder = settings.out or next(_free_folders(settings))
    _refuse_used(folder, settings)
    _announce(plan, dataset, settings, console)
    if settings.dry_run:
        return
    dataset = family_of(plan.settings).prepared(plan.settings, dataset)
    plan = _plan(settings, dataset)
    if settings.out is None and not settings.resume:
        folder = _taken_folder(settings)
    console.print(f"writing to {folder}")
    with Lock(folder), when_stopped("--resume goes on from the last checkpoint"):
        _refuse_used(folder, settings)
        if settings.resume:
            refuse_other(folder, plan.settings, dataset, settings)
        write_typed(folder, settings, plan.settings, dataset)
        results = _run(plan, dataset, folder)
        own = read(folder).summary if (folder / SUMMARY).exists() else None
        write_summary(folder, {**(own or {}), "results": results.describe()})
    console.print(results.table(f"test accuracy, {settings.dataset}, {settings.ipc} a class"))
    console.print(f"{folder}: {SUMMARY}, synthetic.safetensors, synthetic.png")
    console.print(f"next: python -m figures runs {folder} draws it, python -m empirical.evaluate {folder} judges it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    keep_freed_memory()
    return command(lambda: execute(parse(sys.argv[1:] if arguments is None else arguments), Plain()))


def console() -> NoReturn:
    """The installed command `easy-or-hard-run`: the same as `python -m empirical.run`."""
    leave(main)


if __name__ == "__main__":
    console()
