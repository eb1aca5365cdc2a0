"""Batches of real images."""

from raynas.data.augment import RECIPES, augmentation
from raynas.data.dataset import Dataset, Split, describe
from raynas.data.load import DATASETS, find, load, names
from raynas.data.split import stratified

__all__ = [
    "DATASETS",
    "RECIPES",
    "Dataset",
    "Split",
    "augmentation",
    "describe",
    "find",
    "load",
    "names",
    "stratified",
]
