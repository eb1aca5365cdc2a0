"""Which decisions matter: functional ANOVA (Hutter et al., 2014) by Optuna, over genes and hyperparameters alike."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from raynas.results.columns import FRAMES, typed
from raynas.rng import stream
from raynas.space import Space, kinds
from raynas.tables import InputError

LEAST = 12  # trials; with fewer a forest sees nothing but noise
MOST = 600  # trials that are looked at, drawn evenly from all
DRAWN = 200  # of a repeat: fANOVA's time grows faster than the number of trials
REPEATS = 8
TREES = 16


def judged(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """All trials' fitness at one epoch, the last that half of them reached: stopped ones are judged beside the others,
    where they all were. Columns number, fitness, epoch."""
    own = set(trials["number"][trials["duplicate_of"].isna() & trials["state"].isin(["done", "stopped"])])
    there = curves[curves["number"].isin(own)]
    counts = there["epoch"].value_counts().sort_index()
    wide = counts[counts >= max(LEAST, len(own) / 2)]
    if wide.empty:
        most = int(counts.max()) if len(counts) else 0
        raise InputError(f"importances need {LEAST} trials that came equally far; here {most} did")
    return there[there["epoch"] == wide.index[-1]][["number", "fitness", "epoch"]].reset_index(drop=True)


def matters(domain: Any, value: Any, values: Mapping[str, Any], gene: str, plain: Any) -> bool:
    """Whether `value` would be another with another value of the gene: the filters of a layer that is not there do not."""
    places = (0.0, 0.5, 1.0)
    others = [other for u in places if (other := kinds.decode(plain, u)) != values[gene]]
    return any(kinds.from_genes(domain, {**values, gene: other}) != value for other in others)


def decisions(space: Space, configs: list[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Each decision of `space.flat()` in every config, as its place in [0, 1]; None where it does not matter."""
    found: dict[str, list[float | None]] = {}
    for name, domain in space.domains.items():
        genes = kinds.genes(domain)
        for config in configs:
            values = kinds.to_genes(domain, config[name])
            for gene, plain in genes.items():
                there = gene == "" or matters(domain, config[name], values, gene, plain)
                place = kinds.encode(plain, values[gene]) if there else None
                found.setdefault(f"{name}.{gene}" if gene else name, []).append(place)
    return found


def _sizes(params: pd.Series) -> dict[str, list[float | None]]:
    """The numbers of parameters as places between the smallest and the largest, even in their logarithm."""
    logs = np.log(params.astype("float64").clip(lower=1.0))
    reach = logs.max() - logs.min()
    if not reach > 0:
        return {}
    return {"params": [None if math.isnan(value) else value for value in (logs - logs.min()) / reach]}


def _filled(places: list[float | None], rng: np.random.Generator) -> np.ndarray:
    """The places, those of a decision that does not matter drawn from where it does: that a sixth layer is missing is the
    depth's importance, not that of its filters."""
    known = np.array([place for place in places if place is not None])
    return np.array([rng.choice(known) if place is None else place for place in places]) if len(known) else np.zeros(0)


def _fanova(points: Mapping[str, np.ndarray], fitness: np.ndarray, seed: int) -> dict[str, float]:
    """Optuna's importances of one resampling of the trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    ranges = dict.fromkeys(points, optuna.distributions.FloatDistribution(0.0, 1.0))
    study.add_trials(
        optuna.trial.create_trial(
            params={name: float(column[row]) for name, column in points.items()},
            distributions=ranges,
            value=float(fitness[row]),
        )
        for row in range(len(fitness))
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
    return dict(evaluator.evaluate(study, params=list(points)))


def importances(
    space: Space,
    configs: Mapping[int, Mapping[str, Any]],
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    repeats: int,
    costs: bool,
) -> pd.DataFrame:
    """One row a decision, the most important first; with `costs`, the number of parameters beside the decisions."""
    if repeats < 2:
        raise InputError(f"a spread is over 2 repeats or more, got {repeats}")
    seen = judged(trials, curves)
    if len(seen) > MOST:
        seen = seen.iloc[np.sort(stream(0, 0).permutation(len(seen))[:MOST])]
    seen = seen[[space.contains(configs[number]) for number in seen["number"]]]  # a space may have been changed since
    if len(seen) < LEAST:
        raise InputError(f"importances need {LEAST} trials of this space that came equally far; here {len(seen)} did")
    fitness = seen["fitness"].to_numpy()
    if np.ptp(fitness) == 0:
        raise InputError(f"all {len(fitness)} trials have the same fitness: nothing explains a difference")
    places = decisions(space, [configs[number] for number in seen["number"]])
    if costs:
        places |= _sizes(trials.set_index("number")["params"].reindex(seen["number"]))
    found = {name: [0.0] * repeats for name in places}
    for repeat in range(repeats):
        rng = stream(0, repeat + 1)
        rows = rng.integers(len(seen), size=min(len(seen), DRAWN))
        columns = {name: _filled(column, rng) for name, column in places.items()}
        varied = {name: column[rows] for name, column in columns.items() if len(column) and np.ptp(column) > 0}
        for name, share in _fanova(varied, fitness[rows], repeat).items():
            found[name][repeat] = share if math.isfinite(share) else 0.0
    made = pd.DataFrame({"name": list(places)})
    structured = {name for name, domain in space.domains.items() if list(kinds.genes(domain)) != [""]}
    made["kind"] = [
        "architecture"
        if name.split(".")[0] in structured
        else "parameter"
        if name.split(".")[0] in space.domains
        else "cost"
        for name in places
    ]
    made["importance"] = [float(np.mean(found[name])) for name in places]
    made["spread"] = [float(np.std(found[name], ddof=1)) for name in places]
    made["active"] = [sum(place is not None for place in column) / len(seen) for column in places.values()]
    made["epoch"], made["trials"] = int(seen["epoch"].iloc[0]), len(seen)
    made = made.sort_values(["importance", "name"], ascending=[False, True]).reset_index(drop=True)
    return typed(made[list(FRAMES["importances"])], "importances")
