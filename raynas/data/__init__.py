"""Batches of real images."""

from raynas.data.dataset import Dataset, Split, describe
from raynas.data.load import DATASETS, find, load, names

__all__ = ["DATASETS", "Dataset", "Split", "describe", "find", "load", "names"]
