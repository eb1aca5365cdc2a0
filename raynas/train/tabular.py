"""The trainable that looks its trials up in a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from raynas.data.tabular import load_table
from raynas.train.share import Share


@dataclass(frozen=True)
class TabularTraining:
    """Yields the recorded reports of a config's row at once; `simulated_s` says when they would have come."""

    data: str
    epochs: int | None
    may_run_ahead: ClassVar[bool] = True

    def __call__(self, config: dict[str, Any], checkpoint: Path, seed: int, share: Share) -> Iterator[dict[str, Any]]:
        table = load_table(self.data)
        reports = table.reports(table.find(config), self.epochs)
        for number, report in enumerate(reports, start=1):
            yield {**report, "finished": number == len(reports)}
