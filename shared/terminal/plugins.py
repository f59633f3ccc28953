"""A user's own files: methods, networks, data sets, augmentations and figures that are not part of the project.

A plugin is a Python file that registers what it brings (`empirical.experiment.register_method`,
`empirical.networks.register`, `empirical.data.register_dataset`, `figures.registry.figure`, ...). It is imported before
the command line is read (`--plugin my_method.py`), so that its names are known to checks, help and cost. Installed
packages name their module in an entry point group. A recorded run names the plugins that it was made with, but no file
is ever imported because a record says so.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

GROUP = "easy_or_hard.plugins"
VARIABLE = "EASY_OR_HARD_PLUGINS"
"""Environment variable that hands the files on to worker processes and to the jobs of a cluster."""


def named_plugins(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The files after each `--plugin`, and the arguments without them.

    Raises:
        ValueError: no file follows.

    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--plugin", action="append", default=[])
    try:
        found, rest = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise ValueError("--plugin needs a Python file") from error
    return [Path(name).expanduser().resolve() for name in found.plugin], rest


def places(files: Iterable[Path]) -> tuple[Path, ...]:
    """Each file once and by its whole path, so that a record names it whatever folder its reader is in."""
    return tuple(dict.fromkeys(file.expanduser().resolve() for file in files))


def load_plugins(arguments: Sequence[str] = ()) -> None:
    """Imports the plugins that a command line names, those of the parent process, and installed ones.

    Raises:
        ValueError: a file is not there, or its import fails; one sentence with the file.

    """
    inherited = [Path(word) for word in os.environ.get(VARIABLE, "").split(os.pathsep) if word]
    files = list(dict.fromkeys([*inherited, *named_plugins(arguments)[0]]))
    load_installed(GROUP)
    for file in files:
        load_file(file)
    if files:
        os.environ[VARIABLE] = os.pathsep.join(map(str, files))


def load_installed(group: str) -> None:
    """Imports the modules that installed packages name in an entry point group; one that fails is warned of."""
    for entry in metadata.entry_points(group=group):
        try:
            entry.load()
        except Exception as error:
            print(f"warning: the plugin {entry.value} is left out: {type(error).__name__}: {error}", file=sys.stderr)


def load_file(file: Path) -> str:
    """Imports a file once a process, under a name of its own; returns that name.

    Raises:
        ValueError: it is no Python file, or its import fails.

    """
    name = f"easy_or_hard_plugin_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return name
    if not file.is_file():
        raise ValueError(f"--plugin {file} is not a file; name a Python file that registers something")
    specification = importlib.util.spec_from_file_location(name, file)
    if specification is None or specification.loader is None:
        raise ValueError(f"--plugin {file} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"--plugin {file} cannot be used: {type(error).__name__}: {error}") from error
    return name


def refuse_unloaded(plugins: Iterable[str | Path], where: Path) -> None:
    """Says which plugins a recorded run was made with that this command was not given.

    Raises:
        ValueError: there is one.

    """
    loaded = set(os.environ.get(VARIABLE, "").split(os.pathsep))
    for plugin in plugins:
        if str(Path(plugin).expanduser().resolve()) not in loaded:
            raise ValueError(f"{where} was made with --plugin {plugin}: give it again, if you trust that file")
