"""Methods, networks, data sets and augmentations from a user's own file: `--plugin my_method.py`, or an entry point.

A plugin is a Python file that registers what it brings (`empirical.experiment.register_method`,
`empirical.networks.register`, ...). It is imported before the command line is read, so that its names are known to
checks, help and cost. Installed packages name their module in the entry point group `easy_or_hard.plugins`. A recorded
run names the plugins that it was made with, but no file is ever imported because a record says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

GROUP = "easy_or_hard.plugins"
VARIABLE = "EASY_OR_HARD_PLUGINS"
"""Environment variable that hands the files on to worker processes and to the jobs of a cluster."""


def load_plugins(arguments: Sequence[str] = ()) -> None:
    """Imports the plugins that a command line names, those of the parent process, and installed ones.

    Raises:
        ValueError: a file is not there, or its import fails; one sentence with the file.

    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--plugin", nargs="*", action="extend", default=[])
    named, _ = parser.parse_known_args(list(arguments))
    inherited = [word for word in os.environ.get(VARIABLE, "").split(os.pathsep) if word]
    files = list(dict.fromkeys([*inherited, *(str(Path(name).expanduser().resolve()) for name in named.plugin)]))
    for entry in metadata.entry_points(group=GROUP):
        entry.load()
    for file in files:
        _import(Path(file))
    if files:
        os.environ[VARIABLE] = os.pathsep.join(files)


def refuse_unloaded(plugins: Iterable[str | Path], where: Path) -> None:
    """Says which plugins a recorded run was made with that this command was not given.

    Raises:
        ValueError: there is one.

    """
    loaded = set(os.environ.get(VARIABLE, "").split(os.pathsep))
    for plugin in plugins:
        if str(Path(plugin).expanduser().resolve()) not in loaded:
            raise ValueError(f"{where} was made with --plugin {plugin}: give it again, if you trust that file")


def _import(file: Path) -> None:
    """Imports a file once a process, under a name of its own."""
    name = f"easy_or_hard_plugin_{file.stem}_{abs(hash(str(file))):x}"
    if any(getattr(module, "__file__", None) == str(file) for module in list(sys.modules.values())):
        return
    if not file.is_file():
        raise ValueError(f"--plugin {file}: there is no such file")
    specification = importlib.util.spec_from_file_location(name, file)
    if specification is None or specification.loader is None:
        raise ValueError(f"--plugin {file} is not a Python file (NAME.py)")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"--plugin {file} cannot be imported: {type(error).__name__}: {error}") from error
