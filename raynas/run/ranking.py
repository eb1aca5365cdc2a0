"""Who is best so far: the done trials in order, and with several goals the front."""

from bisect import insort

from raynas.objectives import Trial


class Ranking:
    """`front` has the done trials that no other beats in all goals; empty with one goal. Twins have no place."""

    def __init__(self) -> None:
        self._order: list[tuple[float, int]] = []  # (-fitness, number), best first
        self._trials: dict[int, Trial] = {}
        self.front: list[Trial] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, trial: Trial, keep: int) -> list[int]:
        """Give a trial that ended its place if it is done. The numbers of those that by this are no longer on the front, or
        among the `keep` best."""
        if trial.state != "done" or trial.fitness is None or trial.duplicate_of is not None:
            return []
        insort(self._order, (-trial.fitness, trial.number))
        self._trials[trial.number] = trial
        out = [number for _, number in self._order[keep : keep + 1]]
        if len(trial.scores) < 2 or any(_beats(other, trial) for other in self.front):
            return out
        beaten = [other for other in self.front if _beats(trial, other)]
        self.front = [*(other for other in self.front if other not in beaten), trial]
        return [*out, *(other.number for other in beaten)]

    def best(self, k: int) -> list[Trial]:
        return [self._trials[number] for _, number in self._order[:k]]


def _beats(one: Trial, other: Trial) -> bool:
    """At least as good by every goal, and not equal."""
    return one.scores != other.scores and all(
        mine >= theirs for mine, theirs in zip(one.scores, other.scores, strict=True)
    )
