"""What can be: spaces of Ray Tune domains."""

from raynas.space.cell import Cell
from raynas.space.genome import Genome
from raynas.space.read import names, read
from raynas.space.space import Config, Space

__all__ = ["Cell", "Config", "Genome", "Space", "names", "read"]
