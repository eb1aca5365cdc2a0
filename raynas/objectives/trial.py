"""A Trial: one config, how it was judged, and where it came from."""

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["queued", "running", "done", "stopped", "failed", "refused"]
Failure = Literal["oom", "diverged", "error", "lost"]

ENDED: tuple[State, ...] = ("done", "stopped", "failed", "refused")


@dataclass
class Trial:
    """What is known of one trial; searchers read it, the ledger writes it.

    `fitness` (higher is better) is that of the last report, None before the first and for failed trials. `curve`
    holds (epoch, fitness) of every accepted report. `state` "stopped" means stopped early by a scheduler, "refused" that
    its network breaks a limit and was not trained. `cost` is what is known of the network before training, `scores`
    are those of all goals of the objective, the fitness first.
    """

    number: int
    config: dict[str, Any]
    identity: str = ""
    seed: int = 0
    state: State = "queued"
    attempt: int = 1
    fitness: float | None = None
    failure: Failure | None = None
    error: str | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    duplicate_of: int | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    scores: tuple[float, ...] = ()

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def epoch(self) -> int:
        """The last epoch on record."""
        return self.curve[-1][0] if self.curve else 0
