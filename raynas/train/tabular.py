"""The trainable that looks its trials up in a table."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.data.tabular import load_table
from raynas.train.share import Share


@dataclass(frozen=True)
class TabularTraining:
    """Yields the recorded reports of a config's row at once; `simulated_s` says when they would have come. With `pauses`
    the checkpoint says which is next, for schedulers that pause trials."""

    data: str
    epochs: int | None
    pauses: bool = False

    @property
    def may_run_ahead(self) -> bool:
        return not self.pauses

    def __call__(self, config: dict[str, Any], checkpoint: Path, seed: int, share: Share) -> Iterator[dict[str, Any]]:
        table = load_table(self.data)
        reports = table.reports(table.find(config), self.epochs)
        place = checkpoint / "reported.json"
        first = json.loads(place.read_text()) if self.pauses and place.is_file() else 0
        for number, report in enumerate(reports[first:], start=first + 1):
            if self.pauses:
                checkpoint.mkdir(parents=True, exist_ok=True)
                place.write_text(json.dumps(number))
            yield {**report, "finished": number == len(reports)}
