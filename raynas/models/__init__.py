"""Networks: a config becomes a torch module."""

from raynas.models.build import MODELS, build, model, same_network
from raynas.models.cost import cost, parameters

__all__ = ["MODELS", "build", "cost", "model", "parameters", "same_network"]
