"""A row of a benchmark: what was measured, how often, median and spread."""

import importlib.metadata
import platform
import statistics
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """`rates` are repeated measurements of one thing, higher is better, in `unit`."""

    what: str
    rates: list[float]
    unit: str

    def over(self, other: "Row") -> float:
        """The median of the ratios round by round: neighbours in time have seen the same machine."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.rates, other.rates, strict=True))

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


def print_rows(title: str, rows: list[Row], ratios: list[tuple[str, float, str]]) -> None:
    """The measurements, then the ratios: (what, value, what it should reach)."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("ray", "torch"))
    console = Console(width=120, highlight=False)
    console.print(f"[bold]{title}[/bold]  (python {platform.python_version()}, {versions})")
    measured = Table("what", "n", "median", "lowest", "highest", "unit", box=None, pad_edge=False)
    for row in rows:
        cells = (row.median, min(row.rates), max(row.rates))
        measured.add_row(row.what, str(len(row.rates)), *(f"{cell:,.1f}" for cell in cells), row.unit)
    console.print(measured)
    compared = Table("ratio", "value", "reach", box=None, pad_edge=False)
    for what, value, reach in ratios:
        compared.add_row(what, f"{value:.2f}", reach)
    console.print(compared)
