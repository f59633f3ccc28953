"""Data sets on the device, whitening, and differentiable augmentation; the doors by which one's own come in."""

from empirical.data import digits, published, tiny_imagenet  # which register themselves, in this order
from empirical.data.augmentation import register as register_augmentation
from empirical.data.picture_folder import PictureFolders
from empirical.data.preprocessing import Normalisation
from empirical.data.registry import DatasetSpec
from empirical.data.registry import add as add_dataset
from empirical.data.registry import register as register_dataset
from empirical.data.sources import NpzPair, Source

__all__ = [
    "DatasetSpec",
    "Normalisation",
    "NpzPair",
    "PictureFolders",
    "Source",
    "add_dataset",
    "digits",
    "published",
    "register_augmentation",
    "register_dataset",
    "tiny_imagenet",
]
