"""Views of the table of trials: generations, lineage, the Pareto front and its hypervolume."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from raynas.objectives.pareto import hypervolume as volume_of
from raynas.objectives.pareto import undominated
from raynas.tables import InputError, look_up, unknown

MODES = {"max": 1.0, "min": -1.0}


def with_origin(frame: pd.DataFrame) -> pd.DataFrame:
    """Trials with what their `origin` says in columns of their own: generation, operator, parents (a list)."""
    origins = [json.loads(text) for text in frame["origin"]]
    made = frame.assign(
        generation=pd.array([origin.get("generation") for origin in origins], dtype="Int64"),
        operator=[origin.get("operator") for origin in origins],
        parents=[origin.get("parents", []) for origin in origins],
    )
    if len(made) and made["generation"].isna().all():
        raise InputError("its searcher keeps no generations; genetic, nsga2 and regularized-evolution do")
    return made


def generations(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a generation: how many trials it had, how many have a fitness, the best, mean and worst of these (stopped
    ones count with what they reached), its best trial, and the best fitness so far."""
    judged = with_origin(frame[frame["duplicate_of"].isna() & (frame["state"] != "refused")])
    groups = judged.groupby("generation")
    made = groups["fitness"].agg(trials="size", judged="count", best="max", mean="mean", worst="min")
    scored = judged[judged["fitness"].notna()].sort_values(["fitness", "number"], ascending=[False, True])
    made["best_trial"] = scored.drop_duplicates("generation").set_index("generation")["number"].astype("Int64")
    made["best_so_far"] = made["best"].cummax()
    return made.reset_index()


def lineage(frame: pd.DataFrame, number: int) -> pd.DataFrame:
    """The trial and all its ancestors, from generation 0 on."""
    known = with_origin(frame).set_index("number", drop=False).rename_axis(None)
    if number not in known.index:
        raise InputError(f"there is no trial {number}; trials are numbered 0 to {len(known) - 1}")
    found, left = set(), [number]
    while left:
        if (one := left.pop()) not in found:
            found.add(one)
            left += known.at[one, "parents"]
    return known.loc[sorted(found)].sort_values(["generation", "number"]).reset_index(drop=True)


def goals_of(objective: Mapping[str, Any], metrics: Mapping[str, str] | None) -> dict[str, float]:
    """The metrics of a front with their signs: those given, else those of the experiment's objective."""
    chosen = objective.get("metrics") if metrics is None else metrics
    if not chosen:
        raise InputError(
            "this search had one objective; say which metrics, e.g. {'val_accuracy': 'max', 'params': 'min'}"
        )
    if len(chosen) < 2:
        raise InputError(f"a front is of two metrics or more, got {dict(chosen)}")
    return {name: look_up("mode", mode, MODES) for name, mode in chosen.items()}


def scored(frame: pd.DataFrame, goals: Mapping[str, float]) -> tuple[pd.DataFrame, np.ndarray]:
    """The trials that ended with all the metrics, twins left out, and their scores (n, m), higher is better."""
    for name in goals:
        if name not in frame.columns or not pd.api.types.is_numeric_dtype(frame[name]):
            raise unknown("metric", name, [str(each) for each in frame if pd.api.types.is_numeric_dtype(frame[each])])
    done = frame["state"].isin(["done", "stopped"]) & frame["duplicate_of"].isna() & frame["fitness"].notna()
    kept = frame[done & frame[list(goals)].notna().all(axis=1)]
    return kept, kept[list(goals)].to_numpy(dtype=float) * np.array(list(goals.values()))


def pareto(frame: pd.DataFrame, goals: Mapping[str, float]) -> pd.DataFrame:
    """The trials that no other beats in every metric, best by the first metric first; of equals the first."""
    kept, scores = scored(frame, goals)
    front = kept[undominated(scores)].drop_duplicates(list(goals))
    first, sign = next(iter(goals.items()))
    return front.sort_values([first, "number"], ascending=[sign < 0, True])


def hypervolume(frame: pd.DataFrame, goals: Mapping[str, float], reference: Mapping[str, float] | None) -> float:
    """The volume that the front dominates up to `reference`, the worst value of each metric (default: the worst found).
    Each axis is in units of its metric."""
    _, scores = scored(frame, goals)
    if not len(scores):
        return 0.0
    if reference is not None and set(reference) != set(goals):
        raise InputError(f"the reference has a value for each of {', '.join(goals)}, got {dict(reference)}")
    corner = scores.min(axis=0) if reference is None else [sign * reference[name] for name, sign in goals.items()]
    return volume_of(scores, corner)


def best_so_far(ended: pd.DataFrame) -> pd.Series:
    """The best fitness after each of the trials, in the order in which they ended: of those trained to their end; of the
    stopped ones only while there are no others."""
    done = ended["fitness"].where(ended["state"] == "done").cummax().ffill()
    return done.where(done.notna(), ended["fitness"].cummax().ffill())
