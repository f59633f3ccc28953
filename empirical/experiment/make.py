"""From resolved settings to a synthetic set in a folder."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from empirical import synthetic
from empirical.distillation.loop import Diverged
from empirical.distillation.pull import described
from empirical.distillation.together import Outcome
from empirical.evaluation.protocol import stored_recipe
from empirical.experiment.experiment import Experiment, correction_of
from empirical.experiment.families import family_of, method_named, recorded_roles
from empirical.runtime.threads import tell_of_other_threads
from empirical.settings.identity import identity
from empirical.synthetic.export import to_picture
from empirical.synthetic.synthetic_set import SyntheticSet
from shared.records import metric_names as metric
from shared.records.records import recorded_rows, write_config


def _write_config(experiment: Experiment) -> None:
    if experiment.settings.resume and "trajectory" in method_named(experiment.settings.method).tags:
        tell_of_other_threads(experiment.folder)
    write_config(
        experiment.folder,
        experiment.settings,
        roles=recorded_roles(experiment.settings),
        seed=experiment.seed,
        device={"name": str(experiment.dataset.device), "threads": torch.get_num_threads()},
        data=experiment.dataset.describe(),
        correction=described(correction_of(experiment.settings), experiment.settings.by_pull),
    )


def make(experiment: Experiment) -> SyntheticSet | None:
    """Makes the set and leaves `config.json`, `synthetic.safetensors` and `synthetic.png` in the folder.

    Returns:
        The set; None where the training images themselves are judged (`config.json` is left all the same).

    Raises:
        Diverged: the last finite set is stored all the same.
        ValueError: a hard threshold that kept no real image at any step; no set is stored.

    """
    _write_config(experiment)
    try:
        made = family_of(experiment.settings).make(experiment)
    except Diverged as failure:
        store(experiment, failure.synthetic, diverged=str(failure))
        raise
    if made is not None:
        _refuse_nothing_kept(experiment)
        store(experiment, made)
    return made


def make_together(experiments: Sequence[Experiment]) -> list[Outcome]:
    """`make` of experiments that differ in the coefficient alone, with shared work; each in its own folder.

    Returns:
        For each the set, or why it diverged (the last finite set is stored then).

    Raises:
        ValueError: they differ in more, their method shares nothing, or a hard threshold kept no real image.

    """
    first = experiments[0]
    builder = family_of(first.settings)
    if builder.shared(first.settings) is None:
        raise ValueError(f"{first.settings.method} shares no work between coefficients")
    for other in experiments[1:]:
        ours, theirs = identity(first.settings), identity(other.settings)
        different = [n for n in {**ours, **theirs} if n not in ("sdc", "sdc_pull") and ours.get(n) != theirs.get(n)]
        if other.seed != first.seed or different:
            raise ValueError(f"runs that share work differ in sdc or its pull, not in {(different or ['seed'])[0]}")
    for experiment in experiments:
        _write_config(experiment)
    outcomes = builder.make_together(experiments)
    for experiment, outcome in zip(experiments, outcomes, strict=True):
        if isinstance(outcome, Diverged):
            store(experiment, outcome.synthetic, diverged=str(outcome))
        else:
            _refuse_nothing_kept(experiment)
            store(experiment, outcome)
    return outcomes


def _refuse_nothing_kept(experiment: Experiment) -> None:
    """A set that was matched with nothing is its start: the record of all steps, a resumed run's too, says so.

    Raises:
        ValueError: the hard threshold kept no real image at any step.

    """
    limit = experiment.settings.hard_threshold
    if limit is None:
        return
    shares = [row[metric.KEPT] for row in recorded_rows(experiment.folder) if metric.KEPT in row]
    if shares and not any(shares):
        raise ValueError(
            f"--hard-threshold {limit:g} kept no real image at any of the {len(shares)} steps, so nothing was matched "
            "and the images are those of the start: give a larger one"
        )


def store(experiment: Experiment, made: SyntheticSet, diverged: str | None = None) -> None:
    """Writes a set with the recipe to judge it by, and its picture; `diverged` is why it is not the finished one."""
    settings = experiment.settings
    recipe = {
        **stored_recipe(
            experiment.dataset,
            experiment.protocol,
            experiment.choice,
            settings.eval_networks,
            experiment.seed,
        ),
        "made_by": {"method": settings.method, **identity(settings), "seed": experiment.seed},
        **({"diverged": diverged} if diverged is not None else {}),
    }
    file = synthetic.save(experiment.folder, made, recipe, experiment.dataset.preprocessing)
    to_picture(synthetic.load(file), experiment.folder / "synthetic.png")
