"""The synthetic set: images, labels (hard or soft), perhaps a learning rate, and the recipe to train on it.

    synthetic = load("runs/digits")                      # a run's folder or its synthetic.safetensors
    loader = DataLoader(synthetic, batch_size=256, shuffle=True)     # yields (images, labels)
    images, labels = synthetic.tensors

Images are stored as networks see them (normalised or whitened, unclipped). The file's header carries the
recipe as
JSON: preprocessing, augmentation, schedule, network, class names; nobody needs to guess the scale; and a checksum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Generator, Tensor

from empirical.data.datasets import Dataset
from empirical.data.preprocessing import Normalisation, Preprocessing, to_uint8
from empirical.runtime.checksum import KEY as SUM
from empirical.runtime.checksum import checksum, is_intact
from empirical.runtime.memory import refuse_too_large
from shared.records.records import plain
from shared.terminal.atomic import write_atomically

FORMAT = "easy-or-hard synthetic set"
SCHEMA = 1
FILE = "synthetic.safetensors"
LabelKind = Literal["hard", "logits", "probabilities"]
MOST_CLASSES = 1_000_000
_CURE = "restore the file, or remove the file and make the set again"


class BadSyntheticSet(ValueError):  # noqa: N818
    """A file that is no synthetic set, is damaged, or is of another schema."""

    exit_status = 2


@dataclass
class SyntheticSet(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Distilled (or selected) images with labels; a map-style `torch.utils.data.Dataset`.

    Attributes:
        images: [n, C, H, W], as networks see them; may require grad.
        labels: int64 [n] if hard; floating [n, classes] if `logits` (their softmax is the target) or
            `probabilities`.
        classes: number of classes.
        label_kind: which of the three.
        learning_rate: scalar tensor, where a step size was learned with the images; else None.
        recipe: plain JSON values: how to preprocess, augment and train; who made it.
        pixels: uint8 [n, C, H, W], what the images look like; None where `recipe` has the normalisation.

    """

    images: Tensor
    labels: Tensor
    classes: int
    label_kind: LabelKind = "hard"
    learning_rate: Tensor | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    pixels: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.dim() != 4 or len(self.images) != len(self.labels):
            raise ValueError(
                f"images must be [n, C, H, W] and labels as many, got {list(self.images.shape)} and "
                f"{list(self.labels.shape)}"
            )
        expected = (len(self.labels),) if self.label_kind == "hard" else (len(self.labels), self.classes)
        if tuple(self.labels.shape) != expected:
            raise ValueError(
                f"{self.label_kind} labels of {self.classes} classes must have shape {list(expected)}, got "
                f"{list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        label = self.labels[index].detach()
        return self.images[index].detach(), label.softmax(-1) if self.label_kind == "logits" else label

    @property
    def targets(self) -> Tensor:
        """What cross-entropy takes: class indices [n], or probabilities [n, classes]."""
        labels = self.labels.detach()
        return labels.softmax(dim=1) if self.label_kind == "logits" else labels

    @property
    def hard_labels(self) -> Tensor:
        """The most probable class of each image, int64 [n]."""
        return self.labels if self.label_kind == "hard" else self.labels.detach().argmax(dim=1)

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """(images, targets), detached."""
        return self.images.detach(), self.targets

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def class_names(self) -> list[str]:
        """From the recipe, else the numbers."""
        return list(self.recipe.get("class_names") or map(str, range(self.classes)))

    def to(self, device: str | torch.device) -> SyntheticSet:
        """A detached copy on a device."""
        rate = self.learning_rate
        return replace(
            self,
            images=self.images.detach().to(device),
            labels=self.labels.detach().to(device),
            learning_rate=None if rate is None else rate.detach().to(device),
        )

    def to_pixels(self) -> Tensor:
        """uint8 [n, C, H, W]: what the images look like, clipped to what a picture can show.

        Raises:
            ValueError: the recipe has no normalisation and no pixels were stored.

        """
        if self.pixels is not None:
            return self.pixels
        description = self.recipe.get("preprocessing", {})
        if description.get("kind") != "normalisation":
            raise ValueError("the synthetic set does not say how its images become pixels")
        return to_uint8(Normalisation.from_description(description).invert(self.images.detach()))


def from_noise(
    shape: tuple[int, int, int],
    classes: int,
    ipc: int,
    generator: Generator,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SyntheticSet:
    """Standard normal images, `ipc` a class, sorted by class; drawn where the generator is.

    Raises:
        ValueError: `ipc` is below 1, or the images do not fit into memory.

    """
    _check_ipc(ipc)
    if generator.device.type == "cpu":
        needed = classes * ipc * math.prod(shape) * dtype.itemsize
        refuse_too_large(needed, f"{ipc} images a class", "fewer images a class (--ipc)")
    images = torch.randn(classes * ipc, *shape, generator=generator, device=generator.device, dtype=dtype)
    return SyntheticSet(images.to(device), _sorted_labels(classes, ipc, device), classes)


def from_real(dataset: Dataset, ipc: int, generator: Generator) -> SyntheticSet:
    """`ipc` random training images a class, without replacement, preprocessed, sorted by class.

    Raises:
        ValueError: a class has fewer than `ipc` training images.

    """
    return from_selection(dataset, dataset.train.draw(generator, ipc), ipc)


def from_selection(dataset: Dataset, chosen: tuple[Tensor, ...], ipc: int) -> SyntheticSet:
    """The chosen training images, preprocessed: `chosen` has `ipc` indices for each class."""
    _check_ipc(ipc)
    for label, indices in enumerate(chosen):
        if len(indices) != ipc:
            raise ValueError(
                f"{ipc} images a class wanted, but class {dataset.class_names[label]} of {dataset.name} has "
                f"{dataset.train.class_sizes[label]} training images"
            )
    images = dataset.normalise(dataset.train.images[torch.cat(chosen)])
    return SyntheticSet(images, _sorted_labels(dataset.classes, ipc, dataset.device), dataset.classes)


INITIALISATIONS = ("noise", "real")


def initialise(kind: str, dataset: Dataset, ipc: int, generator: Generator) -> SyntheticSet:
    """Start of a distillation: `noise` (standard normal) or `real` (random training images of each class)."""
    if kind == "noise":
        return from_noise(dataset.shape, dataset.classes, ipc, generator, dataset.device)
    if kind == "real":
        return from_real(dataset, ipc, generator)
    raise ValueError(f"unknown initialisation {kind!r}; valid: {', '.join(INITIALISATIONS)}")


def _check_ipc(ipc: int) -> None:
    if ipc < 1:
        raise ValueError(f"images a class must be at least 1, got {ipc}")


def _sorted_labels(classes: int, ipc: int, device: str | torch.device) -> Tensor:
    return torch.arange(classes, device=device).repeat_interleave(ipc)


def save(
    path: str | Path,
    synthetic: SyntheticSet,
    recipe: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Path:
    """Write the set, atomically, with its recipe in the header.

    Args:
        path: a `.safetensors` file, or a folder that gets `synthetic.safetensors`.
        synthetic: images, labels, learning rate.
        recipe: added to `synthetic.recipe`; plain values.
        preprocessing: how pixels became images; recorded in the recipe. Where that record alone cannot undo
            it (whitening), the pixels are stored too.

    Returns:
        The file.

    """
    path = as_path(path)
    path = path if path.suffix == ".safetensors" else path / FILE
    content = {**synthetic.recipe, **(recipe or {})}
    pixels = synthetic.pixels
    if preprocessing is not None:
        content["preprocessing"] = preprocessing.describe()
        if content["preprocessing"]["kind"] != "normalisation":
            pixels = to_uint8(preprocessing.invert(synthetic.images.detach()))
    tensors = {"images": synthetic.images, "labels": synthetic.labels}
    if synthetic.learning_rate is not None:
        tensors["learning_rate"] = synthetic.learning_rate
    if pixels is not None:
        tensors["pixels"] = pixels
    header: dict[str, str] = {
        "format": FORMAT,
        "schema": str(SCHEMA),
        "classes": str(synthetic.classes),
        "label_kind": synthetic.label_kind,
        "recipe": json.dumps(plain(content), allow_nan=False),
    }
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header[SUM] = checksum(_text(header), stored)
    return write_atomically(path, _in_order(serialise(stored, header)))


HEADER = ("format", "schema", "classes", "label_kind", "recipe")
"""What a set's header says, besides its checksum."""


def _text(header: Mapping[str, str]) -> str:
    """What of a header its checksum covers."""
    return json.dumps([header.get(name) for name in HEADER])


def _in_order(encoded: bytes) -> bytes:
    """A safetensors file with its header in alphabetical order (the library writes metadata in a random one), so that
    equal sets make equal files.
    """
    length = int.from_bytes(encoded[:8], "little")
    header = json.dumps(json.loads(encoded[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors stay aligned
    return len(header).to_bytes(8, "little") + header + encoded[8 + length :]


def as_path(place: str | Path) -> Path:
    """A place on disk; `~` is expanded in text, while a `Path` is as it is meant (`./~x` has become `~x` there)."""
    return Path(place).expanduser() if isinstance(place, str) and place.startswith("~") else Path(place)


def load(path: str | Path, device: str | torch.device = "cpu") -> SyntheticSet:
    """The set in a file, or in a run's folder.

    Raises:
        FileNotFoundError: nothing there.
        BadSyntheticSet: not a synthetic set, of another schema, or not as it was written.

    """
    path = as_path(path)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no synthetic set {path}")
    try:
        with safe_open(str(path), framework="pt", device=str(device)) as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise BadSyntheticSet(f"{path} is not a readable safetensors file: {error}; {_CURE}") from error
    if header.get("format") != FORMAT:
        raise BadSyntheticSet(f"{path} is a safetensors file, but not a synthetic set written here")
    if header.get("schema") != str(SCHEMA):
        raise BadSyntheticSet(f"{path}: schema {header.get('schema')}, this version reads schema {SCHEMA}")
    for name in (*HEADER, "images", "labels"):
        if name not in header and name not in tensors:
            raise BadSyntheticSet(f"{path}: it has no {name!r}; {_CURE}")
    if not is_intact(header, HEADER, _text(header), tensors):
        raise BadSyntheticSet(f"{path} is damaged: its content is not what its checksum says; {_CURE}")
    try:
        made = _decoded(header, tensors)
        _refuse_odd_labels(made)
    except (TypeError, ValueError) as error:
        raise BadSyntheticSet(f"{path}: {' '.join(str(error).split())}; {_CURE}") from error
    return made


def _decoded(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> SyntheticSet:
    """The set that a file's header and tensors describe, none of which is absent; ValueError if they do not."""
    kind, recipe = header["label_kind"], json.loads(header["recipe"])
    if kind not in get_args(LabelKind):
        raise ValueError(f"unknown kind of labels {kind!r}")
    if not isinstance(recipe, dict):
        raise ValueError("the recipe is no table of values")
    return SyntheticSet(
        images=tensors["images"],
        labels=tensors["labels"],
        classes=int(header["classes"]),
        label_kind=cast(LabelKind, kind),
        learning_rate=tensors.get("learning_rate"),
        recipe=recipe,
        pixels=tensors.get("pixels"),
    )


def _refuse_odd_labels(made: SyntheticSet) -> None:
    """Labels that are no classes, or no numbers; asked once, where a set comes in."""
    labels = made.labels
    if not 1 <= made.classes <= MOST_CLASSES:
        raise ValueError(f"{made.classes} classes; 1 to {MOST_CLASSES} are possible")
    if made.label_kind == "hard":
        if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
            raise ValueError(f"hard labels are {labels.dtype}, integers are needed")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < made.classes:
            raise ValueError(
                f"labels are not 0, 1, 2, ...: {len(labels.unique())} different, largest {int(labels.max())}, smallest "
                f"{int(labels.min())}; {made.classes} classes allow 0..{made.classes - 1}"
            )
    elif not labels.dtype.is_floating_point or not bool(labels.isfinite().all()):
        raise ValueError(f"{made.label_kind} of labels are finite numbers, not all of these {labels.dtype} are")
