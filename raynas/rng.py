"""Randomness as a function: of a seed and of where in the work it is used, never of hidden state."""

import numpy as np


def stream(seed: int, *path: int) -> np.random.Generator:
    """The generator for one place of the work, e.g. `stream(seed, 17)` for the 17th ask.

    Equal arguments give equal generators; different ones give independent generators
    (NumPy's SeedSequence with `path` as spawn key).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=path))


def seed_at(seed: int, *path: int) -> int:
    """A derived seed in [0, 2**63) for libraries that take an integer."""
    return int(np.random.SeedSequence(seed, spawn_key=path).generate_state(1, np.uint64)[0] >> 1)
