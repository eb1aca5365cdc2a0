"""A warm start by a zero-cost proxy: the searcher begins with the candidates that rank best before any training.

Whether the proxy is to be believed is measured first (Abdelfattah et al., 2021, warm up their searchers by proxy; that
parameter count is the proxy to beat is the finding of White et al., 2022, and Ning et al., 2021).
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from raynas.objectives import Trial
from raynas.rng import stream
from raynas.searchers.searcher import WARM_UP, Searcher
from raynas.settings import Settings
from raynas.space import Config, Space

Score = Callable[[Config], float | None]
"""A proxy of a config's network; None: a limit refuses it."""

WORST = -math.inf  # of a network that the proxy cannot score
TRIES = 20  # draws a candidate, before the space is taken to have no more


class WarmUp(Settings):
    """`proxy` ranks `candidates` random networks. The first `check` trials are spread evenly over the ranking; when fitness
    agrees with the proxy better than with parameter count (Spearman), the `trials` best of the ranking are next."""

    proxy: str = "synflow"
    candidates: Annotated[int, Field(ge=4)] = 100
    check: Annotated[int, Field(ge=4)] = 8
    trials: Annotated[int, Field(ge=1)] = 10


def spearman(one: list[float], other: list[float]) -> float:
    """The rank correlation; ties share their mean rank; 0 of fewer than four pairs and where one side is constant."""
    if len(one) < 4:
        return 0.0
    first, second = (_ranks(np.asarray(values, dtype=float)) for values in (one, other))
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: np.ndarray = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[places])


class Warmed:
    """Asks for its own configs first and hands on to `inner`, which hears of every trial. While the verdict on the proxy
    waits for trials that are out, `inner` is asked, so that no worker waits."""

    def __init__(self, inner: Searcher, space: Space, seed: int, settings: WarmUp, proxy: Score, params: Score):
        self.inner, self.space, self.seed, self.settings = inner, space, seed, settings
        self.proxy, self.params = proxy, params
        self.queue: deque[tuple[int, float, Config]] | None = None  # (rank, proxy, config) to ask for
        self.rest: list[tuple[int, float, Config]] = []  # of the ranking, asked for if the proxy is kept
        self.waiting = 0  # trials of the check that are not told
        self.checked: list[tuple[float, float, float]] = []  # proxy, parameter count, fitness
        self.verdict: dict[str, Any] = {}  # for the origin of the next ask
        self.news: list[str] = []  # what a person should hear
        self.origin: dict[str, Any] = {}

    def ask(self) -> Config | None:
        if self.queue is None:
            ranked = self._rank()
            places = np.linspace(0, len(ranked) - 1, min(self.settings.check, len(ranked)))
            spread = {int(place) for place in places}
            self.queue = deque(row for row in ranked if row[0] in spread)
            self.rest = [row for row in ranked if row[0] not in spread]
            self.waiting = len(self.queue)
        if self.queue:
            rank, score, config = self.queue.popleft()
            said = None if score == WORST else score
            self.origin = {"operator": WARM_UP, "generation": 0, "rank": rank, "proxy": said}
        else:
            asked = self.inner.ask()
            if asked is None:
                return None
            config, self.origin = asked, dict(self.inner.origin)
        if self.verdict:
            self.origin["warm_up"], self.verdict = self.verdict, {}
        return config

    def _rank(self) -> list[tuple[int, float, Config]]:
        """Different random configs that keep to the limits: rank by the proxy, its value, config."""
        found: dict[str, tuple[float, Config]] = {}
        for number in range(TRIES * self.settings.candidates):
            if len(found) == self.settings.candidates:
                break
            config = self.space.sample(stream(self.seed, 3, number))
            identity = self.space.identity(config)
            if identity not in found and (score := self.proxy(config)) is not None:
                found[identity] = (score if math.isfinite(score) else WORST, config)
        ordered = sorted(found.values(), key=lambda pair: -pair[0])
        return [(rank, score, config) for rank, (score, config) in enumerate(ordered)]

    def tell(self, trial: Trial) -> None:
        if trial.origin.get("operator") == WARM_UP and self.waiting > 0:
            self.waiting -= 1
            params = self.params(trial.config)
            if trial.fitness is not None and params is not None:
                score = trial.origin["proxy"]
                self.checked.append((WORST if score is None else score, params, trial.fitness))
            if self.waiting == 0:
                self._judge()
        self.inner.tell(trial)

    def _judge(self) -> None:
        """Believe the proxy, or drop it."""
        scores, params, fitness = ([row[place] for row in self.checked] for place in range(3))
        mine, plain = spearman(scores, fitness), spearman(params, fitness)
        name, count = self.settings.proxy, len(fitness)
        kept = mine > (0.0 if name == "params" else max(plain, 0.0))
        self.verdict = {"proxy": name, "spearman": mine, "spearman_params": plain, "trials": count, "kept": kept}
        best = self.rest[: self.settings.trials] if kept else []
        self.queue, self.rest = deque(best), []
        then = f"the best {len(best)} of the candidates are next" if kept else f"{name} is dropped"
        self.news.append(
            f"warm-up: over {count} trials the rank correlation of {name} with fitness is {mine:.2f}, "
            f"of the parameter count {plain:.2f}: {then}"
        )
