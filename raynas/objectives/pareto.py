"""Several objectives at once: non-dominated fronts, crowding, hypervolume. Scores are (n, m), higher is better."""

from collections.abc import Sequence

import numpy as np

Scores = np.ndarray


def dominates(scores: Scores) -> np.ndarray:
    """(n, n) of bool: row dominates column, at least as good in every score and better in one."""
    one, other = scores[:, None, :], scores[None, :, :]
    return np.logical_and((one >= other).all(axis=2), (one > other).any(axis=2))


def undominated(scores: Scores) -> np.ndarray:
    """(n,) of bool: nothing dominates it."""
    return np.array(
        [not ((scores >= one).all(axis=1) & (scores > one).any(axis=1)).any() for one in scores], dtype=bool
    )


def ranks(scores: Scores) -> np.ndarray:
    """(n,): 0 for those that nothing dominates, 1 for those that only these dominate, … (Deb et al., 2002, sec. III A)."""
    found = np.zeros(len(scores), dtype=int)
    beaten = dominates(scores)
    left, rank = np.ones(len(scores), dtype=bool), 0
    while left.any():
        front = left & ~beaten[left].any(axis=0)
        found[front] = rank
        left, rank = left & ~front, rank + 1
    return found


def crowding(scores: Scores) -> np.ndarray:
    """(n,): the crowding distance within one front, the sum over scores of the gap between a point's two neighbours as a
    share of the front's range; infinite at the ends (Deb et al., 2002, sec. III B). A score that all share says nothing."""
    distance = np.zeros(len(scores))
    for column in scores.T:
        order = np.argsort(column, kind="stable")
        reach = column[order[-1]] - column[order[0]] if len(column) else 0.0
        if reach > 0:
            distance[order[[0, -1]]] = np.inf
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / reach
    return distance


def crowded_order(scores: Scores) -> list[int]:
    """Indices, best first: by front, within a front the less crowded first (the crowded-comparison operator)."""
    rank, distance = ranks(scores), np.zeros(len(scores))
    for front in range(rank.max(initial=-1) + 1):
        distance[rank == front] = crowding(scores[rank == front])
    return sorted(range(len(scores)), key=lambda index: (rank[index], -distance[index], index))


def hypervolume(scores: Scores, reference: Sequence[float]) -> float:
    """The volume between `reference` and the points better than it in every score; exact, by slices along the first score
    (While et al., 2006), so meant for fronts of hundreds of points and up to four scores."""
    corner = np.asarray(reference, dtype=float)
    points = scores[(scores > corner).all(axis=1)]
    return _volume(points, corner) if len(points) else 0.0


def _volume(points: Scores, corner: np.ndarray) -> float:
    if points.shape[1] == 1:
        return float(points.max() - corner[0])
    points = points[undominated(points)]
    points = points[np.argsort(-points[:, 0], kind="stable")]
    lower = np.append(points[1:, 0], corner[0])
    return sum(
        (points[index, 0] - lower[index]) * _volume(points[: index + 1, 1:], corner[1:])
        for index in range(len(points))
        if points[index, 0] > lower[index]
    )
