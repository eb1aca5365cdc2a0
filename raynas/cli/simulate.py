"""`raynas simulate`: searches on recorded trials."""

from typing import Annotated, Any

import typer

from raynas.cli.door import Home, Overrides, StoreUrl, errors_at_the_door


def simulate(
    name: Annotated[str | None, typer.Argument(help="A finished experiment [the table of --data].")] = None,
    overrides: Overrides = None,
    data: Annotated[str | None, typer.Option(help="A table: tabular:FILE#PART.")] = None,
    searcher: Annotated[
        list[str] | None, typer.Option("--search", help="Which searchers; several may be named.")
    ] = None,
    stop: Annotated[str | None, typer.Option(help="Early stopping: none, asha, median, hyperband.")] = None,
    objective: Annotated[str | None, typer.Option(help="accuracy, loss, or the name of a metric to maximise.")] = None,
    workers: Annotated[
        list[int] | None, typer.Option(min=1, help="How many trials at once; several may be named.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="How many trials.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How much simulated time.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often, with seeds 0, 1, …")] = 20,
    home: Home = None,
    store: StoreUrl = None,
) -> None:
    """Would another searcher have done better? Searches on recorded trials, in simulated time."""
    with errors_at_the_door(store):
        from raynas.cli.show import print_outcomes
        from raynas.run.folders import open_results
        from raynas.run.simulate import outcome, plan_simulation
        from raynas.settings import override

        positional = list(overrides or [])
        if name is not None and "=" in name:
            positional.insert(0, name)
            name = None
        given = {"data": data, "stop": stop, "objective": objective}
        spec: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        typed = {"budget.trials": trials, "budget.wall_time_s": seconds, "training.epochs": epochs}
        spec = override(spec, [f"{key}={value}" for key, value in typed.items() if value is not None])
        spec = override(spec, positional)
        results = None if name is None else open_results(name, home)
        plans = [
            plan_simulation({**spec, "search": choice}, results)
            for choice in _choices(searcher or [_search_name(spec)], spec)
        ]
        print_outcomes([outcome(plan, count, seeds) for plan in plans for count in workers or [1]])


def _search_name(spec: dict[str, Any]) -> str:
    search = spec.get("search", "random")
    return str(search.get("name", "random") if isinstance(search, dict) else search)


def _choices(names: list[str], spec: dict[str, Any]) -> list[dict[str, Any]]:
    """`search.population=10` goes to those of the named searchers that take it; one of them must."""
    from raynas.searchers import SEARCHERS
    from raynas.settings import options
    from raynas.tables import unknown

    said = spec.get("search", {}) if isinstance(spec.get("search"), dict) else {}
    given = {option: value for option, value in said.items() if option != "name"}
    found, known = [], set[str]()
    for name in names:
        takes = {*options(SEARCHERS[name]).model_fields, "warm_up"} if name in SEARCHERS else set(given)
        known |= takes
        found.append({"name": name, **{option: value for option, value in given.items() if option in takes}})
    for option in given:
        if option not in known:
            raise unknown(f"option of {', '.join(names)}", option, sorted(known))
    return found
