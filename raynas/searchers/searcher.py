"""The Searcher: ask for the next config, tell how a trial ended."""

from typing import Any, Protocol

from raynas.objectives import Trial
from raynas.space import Config

WARM_UP = "warm-up"
"""The operator of configs that were asked for before a searcher was: it is told of them all the same."""


class Searcher(Protocol):
    """A pure function of (seed, the sequence of asks and tells): rebuilt by replaying them, never pickled.

    Randomness is `stream(seed, n)` with n the number of the ask. Fitness is always maximised; a told trial whose
    fitness is None failed or was refused. An ask that returns None leaves the searcher as it was.
    """

    origin: dict[str, Any]
    """How the config of the last ask came to be (operator, parents, …); it comes back as `trial.origin`."""

    def ask(self) -> Config | None:
        """The next config, or None: nothing to propose until something is told, or ever."""
        ...

    def tell(self, trial: Trial) -> None:
        """Hear how a trial ended: "done", "stopped" early (its fitness is of fewer epochs), "failed", or "refused" by a
        limit before it was trained. Trials of a warm-up (`WARM_UP`) are told though the searcher never asked for them."""
        ...
