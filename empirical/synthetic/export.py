"""A synthetic set in other people's formats: a labelled picture, a folder of PNGs, `.npz`, `.pt`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from empirical.synthetic.synthetic_set import SyntheticSet, as_path
from shared.terminal.atomic import write_atomically

_CELL = 64
_GAP = 4
_TEXT_HEIGHT = 14


def export(synthetic: SyntheticSet, path: str | Path) -> Path:
    """Write by the ending of `path`: `.npz`, `.pt`, `.png` (a labelled picture), none (a folder of PNGs).

    Raises:
        ValueError: another ending.

    """
    path = as_path(path)
    writers = {".npz": to_npz, ".pt": to_pt, ".png": to_picture, "": to_png_folder}
    if path.suffix not in writers:
        raise ValueError(
            f"cannot export to {path.suffix!r}; valid: .npz, .pt, .png, or a folder name without an ending"
        )
    return writers[path.suffix](synthetic, path)


def to_npz(synthetic: SyntheticSet, path: str | Path) -> Path:
    """`images` uint8 [n, H, W] or [n, H, W, 3] and `labels`, as local data sets are stored; and the inputs.

    The exact network inputs are `inputs` [n, C, H, W], soft targets `targets`, the names `classes`. Named
    `PREFIX_train.npz` the file is the training half of a local data set.
    """
    inputs, targets = (t.cpu().numpy() for t in synthetic.tensors)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=_pictures(synthetic),
        labels=synthetic.hard_labels.cpu().numpy(),
        classes=np.array(synthetic.class_names),
        inputs=inputs,
        targets=targets,
    )
    return write_atomically(path, buffer.getvalue())


def to_pt(synthetic: SyntheticSet, path: str | Path) -> Path:
    """A dictionary for `torch.load(path, weights_only=True)`: `images`, `labels`, `pixels`, `recipe`."""
    images, targets = synthetic.tensors
    content = {
        "images": images.cpu().clone(),
        "labels": targets.cpu().clone(),
        "pixels": synthetic.to_pixels().cpu().clone(),
        "recipe": synthetic.recipe,
    }
    if synthetic.learning_rate is not None:
        content["learning_rate"] = synthetic.learning_rate.detach().cpu()
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return write_atomically(path, buffer.getvalue())


def to_png_folder(synthetic: SyntheticSet, folder: str | Path) -> Path:
    """`folder/<class>_<name>/<index>.png`, at the images' own size: what an image-folder loader reads.

    The class number comes first and is padded, so that alphabetical order is the order of labels.
    """
    folder = as_path(folder)
    digits = len(str(synthetic.classes - 1))
    for index, (picture, label) in enumerate(
        zip(_pictures(synthetic), synthetic.hard_labels.tolist(), strict=True)
    ):
        name = "".join(c if c.isalnum() else "-" for c in synthetic.class_names[label])
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        write_atomically(folder / f"{label:0{digits}d}_{name}" / f"{index:05d}.png", buffer.getvalue())
    return folder


def to_picture(synthetic: SyntheticSet, path: str | Path, columns: int = 10) -> Path:
    """One labelled picture: each class's images side by side, de-normalised, enlarged, under the class name.

    Classes run along the columns, `columns` of them a band; images of a class run down.
    """
    pictures, labels = _pictures(synthetic), synthetic.hard_labels.cpu().numpy()
    members = [np.flatnonzero(labels == label) for label in range(synthetic.classes)]
    tallest = max(len(m) for m in members)
    across = min(columns, synthetic.classes)
    bands = -(-synthetic.classes // across)
    longest = max(pictures.shape[1:3])
    high, wide = (round(_CELL * side / longest) for side in pictures.shape[1:3])
    cell, band = _CELL + _GAP, _TEXT_HEIGHT + tallest * (high + _GAP) + _GAP
    canvas = Image.new("RGB", (across * cell + _GAP, bands * band), "white")
    pen = ImageDraw.Draw(canvas)
    for label, indices in enumerate(members):
        left, top = _GAP + label % across * cell, label // across * band
        pen.text((left, top + 1), synthetic.class_names[label][:10], fill="black")
        for row, index in enumerate(indices):
            image = Image.fromarray(pictures[index]).resize((wide, high), Image.Resampling.NEAREST)
            canvas.paste(image, (left, top + _TEXT_HEIGHT + row * (high + _GAP)))
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return write_atomically(path, buffer.getvalue())


def _pictures(synthetic: SyntheticSet) -> np.ndarray:
    """uint8 [n, H, W] or [n, H, W, 3]."""
    pixels: Tensor = synthetic.to_pixels().cpu()
    return (pixels[:, 0] if pixels.shape[1] == 1 else pixels.permute(0, 2, 3, 1)).contiguous().numpy()
