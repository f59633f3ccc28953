"""One expert in training: its network, its generator, and what is stored of it after each epoch.

Until it is finished an expert lies in two hidden files beside its place: its snapshots so far, row by row, and a
checkpoint that counts them, with a checksum of each.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from empirical import networks
from empirical.networks import Functional
from empirical.runtime import checkpoint
from empirical.runtime.seeds import generator
from empirical.trajectory_matching.expert_file import BadExpert, file_of, raw_row, write
from shared.terminal.atomic import ask_guards, naming


class DivergedExpert(BadExpert):
    """The parameters of an expert in training stopped being finite; what it had is removed."""

    exit_status = 4


class Member:
    """One expert in training: its network, its generator, and what is stored after each epoch.

    Raises:
        BadExpert: what an earlier training left is damaged, or was made otherwise.

    """

    def __init__(self, folder: Path, index: int, seed: int, network: nn.Module, identity: dict[str, Any]):
        self.index, self.seed, self.network, self.identity = index, seed, network, identity
        self.rows_file = folder / f".expert-{index:04d}.rows"
        self.state_file = folder / f".expert-{index:04d}.state"
        self.target = file_of(folder, index)
        self.generator = generator(seed, "expert", "training", index)
        self.functional = Functional(network)
        self.accuracies: list[dict[str, float]] = []
        self.sums: list[int | None] = []  # None: of a row that version 0.1 wrote
        self.done = -1
        self._resume()

    def _resume(self) -> None:
        if not self.state_file.exists() or not self.rows_file.exists():
            self._remove_parts()
            networks.initialise(self.network, generator(self.seed, "expert", "network", self.index))
            return
        tensors, document = checkpoint.load(self.state_file)
        if not isinstance(document.get("identity"), dict):
            raise self._damaged(self.state_file, "it does not say what the expert was made of")
        theirs, ours = (
            {**own, "seed": seed}
            for own, seed in ((document["identity"], document.get("seed")), (self.identity, self.seed))
        )
        for key in {**ours, **theirs}:
            if theirs.get(key) != ours.get(key):
                raise BadExpert(
                    f"{self.rows_file.parent} holds a half-made expert with {key} = {theirs.get(key)!r}, not "
                    f"{ours.get(key)!r}: go on with its settings, name another folder, or remove {self.state_file}"
                )
        try:
            done, self.accuracies = int(document["done"]), list(document["accuracies"])
            self.sums = list(document.get("sums", [None] * (done + 1)))
            self.generator.set_state(tensors["generator"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise self._damaged(self.state_file, f"it does not say how far the training was: {error!r}") from error
        stored = self.rows_file.stat().st_size // (4 * self.functional.size)
        if not 0 <= done < stored or len(self.accuracies) != done + 1 or len(self.sums) != done + 1:
            what = f"it counts {done + 1} snapshots, {len(self.accuracies)} accuracies and {stored} stored rows"
            raise self._damaged(self.state_file, what)
        self.done = done
        row = self._row(self.done)
        with torch.no_grad():
            for p, value in zip(self.network.parameters(), self.functional.unflatten(row), strict=True):
                p.copy_(value)

    def _row(self, epoch: int) -> Tensor:
        size = self.functional.size
        with self.rows_file.open("rb") as file:
            file.seek(4 * size * epoch)
            raw = bytearray(file.read(4 * size))
        if (known := self.sums[epoch]) is not None and zlib.crc32(raw) != known:
            raise self._damaged(self.rows_file, f"its snapshot of epoch {epoch} is not what was written")
        return torch.frombuffer(raw, dtype=torch.float32)

    def _damaged(self, file: Path, what: str) -> BadExpert:
        return BadExpert(f"{file} is damaged ({what}); remove it, and this expert is made from its beginning")

    def _remove_parts(self) -> None:
        self.state_file.unlink(missing_ok=True)
        self.rows_file.unlink(missing_ok=True)

    def keep(self, accuracies: dict[str, float]) -> None:
        """Stores the parameters as the next row, and then the state that goes with it.

        Raises:
            DivergedExpert: they are not finite; what was stored of the expert is removed.

        """
        self.done += 1
        row = self.functional.flatten([p.detach() for p in self.network.parameters()]).float().cpu()
        ask_guards(self.rows_file)
        if not torch.isfinite(row).all():
            self._remove_parts()
            raise DivergedExpert(
                f"expert {self.index} diverged: its parameters are not finite after epoch {self.done}, and nothing of "
                "it is kept: make it with a smaller rate, --expert-rate (--rate of python -m empirical.experts)"
            )
        raw = raw_row(row)
        self.accuracies.append(accuracies)
        self.sums.append(zlib.crc32(raw))
        with naming(self.rows_file), self.rows_file.open("r+b" if self.rows_file.exists() else "w+b") as file:
            file.seek(4 * self.functional.size * self.done)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())  # before the state that counts it
        document = {
            "done": self.done, "accuracies": self.accuracies, "sums": self.sums, "identity": self.identity,
            "seed": self.seed,
        }  # fmt: skip
        checkpoint.atomic_save(self.state_file, {"generator": self.generator.get_state()}, document)

    def finish(self, epochs: int) -> None:
        """Writes the expert's file and removes what it was made of."""
        accuracies = self.accuracies[: epochs + 1]
        header = {"identity": self.identity, "seed": self.seed, "index": self.index, "accuracies": accuracies}
        rows = (self._row(epoch) for epoch in range(epochs + 1))
        write(self.target, rows, epochs + 1, self.functional.size, header)
        self._remove_parts()
