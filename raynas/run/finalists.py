"""Which networks a verification trains: the best of the search, random ones of the same space, and a baseline."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raynas.models import build, model
from raynas.objectives import MEASURED, Limit, broken, parse_limit
from raynas.results import Store
from raynas.results.results import Results
from raynas.results.schema import trials
from raynas.rng import stream
from raynas.run.baseline import baseline, hyperparameters
from raynas.run.derive import found
from raynas.space import Config, Space
from raynas.tables import InputError, unknown
from raynas.train.recipe import Recipe

DRAWS = 2_000  # random configs for each random network that is wanted
NO_BASELINE = "none"

Cost = Callable[[Config], dict[str, Any] | None]


@dataclass(frozen=True)
class Entry:
    """A network that is to be trained; `of` is the trial of the search that it comes from."""

    label: str
    kind: str
    config: Config
    of: int | None = None


def identify(space: Space) -> Callable[[Config], str]:
    """A text that is equal for configs of one network, whatever its hyperparameters; where only these vary, for equal
    configs."""
    kind = model(space.parameters)
    making = {"model", *kind.needs, *kind.reads} - set(Recipe.model_fields)
    if not making & set(space.domains):
        return space.identity
    return lambda config: space.identity({name: value for name, value in config.items() if name in making})


def finalists(results: Results, space: Space, k: int, given: Mapping[str, Any]) -> list[Entry]:
    """The first `k` networks of the search by its rule, each once; `given` replaces hyperparameters. Those of a supernet
    search are what its best trials found. Raises InputError when no trial has finished."""
    identity, seen, chosen = identify(space), set[str](), list[Entry]()
    for number, config in _ranked(results):
        config = {**config, **given}
        if (name := identity(config)) not in seen:
            seen.add(name)
            chosen.append(Entry(f"finalist {len(chosen) + 1}", "finalist", config, number))
        if len(chosen) == k:
            break
    if not chosen:
        raise InputError(f"'{results.name}' has no finished trial yet: there is nothing to verify")
    return chosen


def _ranked(results: Results) -> Iterator[tuple[int, Config]]:
    """Trials by the search's rule, best first, and the configs of their networks."""
    best = results.best(len(results.trials))
    order = [int(number) for number in best[best["state"].isin(["done", "stopped"])]["number"]]
    if results.experiment["spec"].get("oneshot") is not None:
        for number in order:
            yield number, found(results, number)
        return
    store = Store.open(results.path)
    configs = {row["number"]: row["config"] for row in store.rows(trials)}
    store.close()
    for number in order:
        yield number, configs[number]


def at_random(
    space: Space, cost: Cost, limits: list[str], others: list[Entry], count: int, seed: int, turn: int
) -> list[Entry]:
    """`count` random networks that keep to the limits on what can be counted, none twice and none of `others`; fewer where
    the space has no more. They are a function of (seed, turn)."""
    counted = counted_limits(limits)
    identity = identify(space)
    seen, chosen = {identity(entry.config) for entry in others}, list[Entry]()
    for number in range(DRAWS * count):
        config = space.sample(stream(seed, 9, turn, number))
        if (name := identity(config)) in seen:
            continue
        seen.add(name)
        if counted and broken(counted, cost(config) or {}) is not None:
            continue
        chosen.append(Entry(f"random {len(chosen) + 1}", "random", config))
        if len(chosen) == count:
            break
    return chosen


def counted_limits(limits: list[str]) -> tuple[Limit, ...]:
    return tuple(limit for limit in map(parse_limit, limits) if limit.cost != MEASURED)


def the_baseline(
    space: Space,
    training: Mapping[str, Any],
    given: Mapping[str, Any] | str | None,
    shape: tuple[int, int, int],
    classes: int,
) -> Entry | None:
    """The baseline of the space, or the config `given`, with sensible hyperparameters where it says none; None for "none"
    and where the space has none. Raises InputError for what cannot be built."""
    if isinstance(given, str):
        if given != NO_BASELINE:
            raise InputError(f"baseline is a config, e.g. {{architecture: …}}, or none; got {given!r}")
        return None
    if given is None:
        config = baseline(space, training)
    else:
        for name in given:
            if name not in space.parameters:
                raise unknown("parameter of the baseline", name, space.parameters)
        sensible = {**space.constants, **hyperparameters(space, training), **given}
        missing = [name for name in space.parameters if name not in sensible]
        if missing:
            raise InputError(f"the baseline must say {', '.join(missing)}")
        config = {name: sensible[name] for name in space.parameters}
    if config is None:
        return None
    _check_builds(config, shape, classes)
    return Entry("baseline", "baseline", config)


def _check_builds(config: Config, shape: tuple[int, int, int], classes: int) -> None:
    import torch

    try:
        with torch.device("meta"):
            build(config, shape, classes)
    except Exception as error:  # whatever a builder makes of values that are not of its space
        raise InputError(f"the baseline cannot be built from {config}: {type(error).__name__}: {error}") from error
