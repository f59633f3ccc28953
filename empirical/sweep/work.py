"""One job of a sweep: a group of cells, distilled together where they share work, then judged one by one."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from empirical import synthetic
from empirical.data.datasets import Dataset, load
from empirical.distillation.loop import Diverged, Interrupted
from empirical.distillation.together import Outcome
from empirical.evaluation.evaluation_points import scores
from empirical.evaluation.protocol import Evaluation, evaluate, evaluate_whole
from empirical.experiment.experiment import Experiment
from empirical.experiment.experts import whitened
from empirical.experiment.families import family_of
from empirical.experiment.make import make, make_together
from empirical.runtime.checkpoint import FolderInUse, FolderLost, Lock
from empirical.runtime.devices import device_named
from empirical.runtime.heap import keep_freed_memory
from empirical.settings.settings import Resolved, Settings
from empirical.sweep.cells import Cell, shares_work
from empirical.sweep.ledger import clear_failure, folder_of, state_of, stored_state
from shared.records.records import read, write_failure, write_summary
from shared.terminal.plugins import load_plugins

EXPERTS_SECONDS = 0.5
"""Between two looks at experts that another worker is making."""

Source = tuple[str, Path | None, bool, str, float, int | None]


@lru_cache(maxsize=2)
def _load(source: Source) -> Dataset:
    name, data_root, download, device, validation, train_images = source
    return load(
        name,
        data_root=data_root,
        download=download,
        device=device_named(device),
        validation=validation,
        train_images=train_images,
    )


@lru_cache(maxsize=1)
def _whitened(source: Source) -> Dataset:
    return whitened(_load(source))


def _source(settings: Settings) -> Source:
    """What the data depend on; what is held out is the same for all seeds, so that they share experts."""
    data = (settings.dataset, settings.data_root, settings.download, settings.device)
    return *data, settings.validation, settings.train_images


def data_of(settings: Settings) -> Dataset:
    """The data set of a cell, kept in memory for the next one."""
    return _load(_source(settings))


def prepared_data_of(settings: Resolved) -> Dataset:
    """The same as the method sees it: whitened where it asks for that."""
    dataset = data_of(settings)
    as_it_is = family_of(settings).prepared(settings, dataset, fitted=False) is dataset
    return dataset if as_it_is else _whitened(_source(settings))


def run_group(
    cells: Sequence[Cell], root: Path, threads: int | None = None, retry_diverged: bool = False, wait: bool = True
) -> dict[str, str]:
    """Runs what is missing of a group.

    A cell that fails or diverges is noted in its folder and stops nothing else; a cell that another process
    works on is left to it.

    Args:
        cells: that share work, or one.
        root: the sweep's folder.
        threads: arithmetic threads; None leaves them as they are.
        retry_diverged: whether diverged cells are run again.
        wait: for experts that another process is making.

    Returns:
        Cell name -> its state afterwards.

    Raises:
        Interrupted: by a signal, after saving.
        FolderInUse: another process makes the experts, and they are not to be waited for.

    """
    load_plugins()  # this may be a process of its own
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    with ExitStack() as locks:
        own = [cell for cell in cells if _taken(cell, root, locks)]
        settled = {"done"} if retry_diverged else {"done", "diverged"}
        own = [cell for cell in own if stored_state(folder_of(root, cell)).name not in settled]
        if own:
            with warnings.catch_warnings():
                # Said once by the command, not again by every job.
                warnings.filterwarnings("ignore", message="a negative coefficient")
                _run(own, root, wait)
    return {cell.name: state_of(folder_of(root, cell)).name for cell in cells}


def _taken(cell: Cell, root: Path, locks: ExitStack) -> bool:
    """Takes a cell's lock; tries for a moment, since one who looks at the status holds it for an instant."""
    for attempt in range(5):
        try:
            locks.enter_context(Lock(folder_of(root, cell)))
            return True
        except FolderInUse:
            time.sleep(0.05 * (attempt + 1))
    return False


def _run(cells: Sequence[Cell], root: Path, wait: bool = True) -> None:
    for cell in cells:
        clear_failure(folder_of(root, cell))
    try:
        experiments = [_experiment(cell, root) for cell in cells]
        outcomes: Sequence[Outcome | None]
        if len(cells) > 1 and shares_work(cells[0].settings):
            outcomes = make_together(experiments)
        else:
            outcomes = [_made(experiment, wait) for experiment in experiments]
    except (Interrupted, FolderInUse):
        raise
    except FolderLost:  # whoever has it now says how it ends
        return
    except Exception as error:  # whatever it is, it concerns these cells alone
        for cell in cells:
            _note(folder_of(root, cell), error)
        return
    for experiment, outcome in zip(experiments, outcomes, strict=True):
        try:
            if isinstance(outcome, Diverged):
                raise outcome
            evaluation = _whole(experiment) if outcome is None else _judged(experiment, outcome)
            described = {"name": experiment.settings.method, "evaluation": evaluation.describe()}
            write_summary(experiment.folder, described)
            clear_failure(experiment.folder)
        except Interrupted:
            raise
        except FolderLost:
            continue
        except Exception as error:  # as above
            _note(experiment.folder, error)


def _note(folder: Path, error: Exception) -> None:
    kind = "diverged" if isinstance(error, Diverged) else "failed"
    reason = str(error) or type(error).__name__
    detail = "".join(traceback.format_exception(error)) if kind == "failed" else ""
    write_failure(folder, kind, reason if kind == "diverged" else f"{type(error).__name__}: {reason}", detail)


def _experiment(cell: Cell, root: Path) -> Experiment:
    settings = replace(cell.settings, resume=True, quiet=True)
    if device_named(settings.device).type == "cuda":
        torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = settings.tf32
    return Experiment(settings, prepared_data_of(settings), folder_of(root, cell), settings.seed)


def _made(experiment: Experiment, wait: bool) -> synthetic.SyntheticSet | Diverged | None:
    """None: the whole training set, of which nothing is made."""
    while True:
        try:
            return make(experiment)
        except FolderInUse:  # another worker makes, or opens, the experts that this run needs too
            if not wait:
                raise
            time.sleep(EXPERTS_SECONDS)
        except Diverged as failure:
            return failure


def _judged(experiment: Experiment, made: synthetic.SyntheticSet) -> Evaluation:
    """Where a run has evaluation points the last is of the finished set, and is not measured again."""
    e = experiment
    points = scores(read(e.folder).metrics(), e.choice.name)
    if points is not None:
        return points.last
    return evaluate(made, e.dataset, e.protocol, e.choice, e.settings.eval_networks, e.seed)


def _whole(experiment: Experiment) -> Evaluation:
    e, s = experiment, experiment.settings
    return evaluate_whole(e.dataset, e.choice, s.eval_networks, e.seed, s.whole_epochs, batch=s.whole_batch)
