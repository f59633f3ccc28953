"""Which network: a registered name and its variant, as records keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NetworkChoice:
    """A registered name and its variant (width, depth, ...), for `empirical.networks.build`."""

    name: str = "convnet"
    variant: Mapping[str, Any] = field(default_factory=dict)
