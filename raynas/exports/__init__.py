"""Models leave the house: a folder with a network in several formats, each compared with the original, and predictions."""

from raynas.exports.export import Export, export
from raynas.exports.predict import predict

__all__ = ["Export", "export", "predict"]
