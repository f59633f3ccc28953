"""Functions compiled by torch, as all passes here want them: one version a shape, none given up for their number."""

from collections.abc import Callable
from typing import Any

import torch

_VERSIONS = 64
"""Architectures, batch sizes and wanted derivatives that one process may compile of one function."""


def compiling(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`function`, compiled at its first call and again for every new shape; options as of torch.compile.

    The library's own limit is 8 versions of one piece of source text, whatever objects they belong to; the next ones
    would run without the compiler.
    """
    from torch._dynamo import config  # takes seconds: only for those who compile

    config.recompile_limit = max(config.recompile_limit, _VERSIONS)
    return torch.compile(function, dynamic=False, **options)


def refuse_missing(device: torch.device, option: str) -> None:
    """Compiles something small, so that a missing compiler, which `option` needs, is told of before long work.

    Raises:
        ValueError: that failed; says why.

    """
    try:
        compiling(torch.neg)(torch.ones(2, device=device))
    except Exception as error:  # the compiler raises what it likes
        why = str(error).partition("\n")[0]
        raise ValueError(f"nothing can be compiled for {device} ({why}): leave out {option}") from error
