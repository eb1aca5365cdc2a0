"""`raynas verify`: the honest winner."""

import math
from typing import Annotated, Any

import typer

from raynas.cli.door import Address, DataDir, Home, Overrides, StoreUrl, errors_at_the_door
from raynas.tables import InputError


def verify(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    overrides: Overrides = None,
    k: Annotated[int | None, typer.Option(help="How many of the best networks [3].")] = None,
    random: Annotated[int | None, typer.Option(help="How many random networks [as many].")] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings of each network [3].")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a training [the search's].")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="A config in YAML, e.g. '{architecture: NC 16 3 relu;FL relu}', or none.")
    ] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Make an ensemble of the finalists too.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Verify anew, beside what is on record.")] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="Train nothing: score the weights that the search left of its best.")
    ] = False,
    trial: Annotated[int | None, typer.Option(help="Train nothing: score the weights of this trial.")] = None,
    home: Home = None,
    store: StoreUrl = None,
    data_dir: DataDir = None,
    address: Address = None,
) -> None:
    """Retrain the best, random networks and a baseline from fresh seeds, and score them once on the test split, which no
    search has seen."""
    with errors_at_the_door(store):
        settings = {"k": k, "random": random, "seeds": seeds, "epochs": epochs, "baseline": _config(baseline)}
        if weights or trial is not None:
            said = [key for key, value in settings.items() if value is not None]
            if said or overrides or ensemble or again:
                raise InputError("--weights and --trial train nothing: they go with no other setting")
            from raynas.run.score import score

            _print_score(name, score(name, trial, home, data_dir))
            return
        from raynas.run.verify import verify as train

        places: dict[str, Any] = {"home": home, "data_dir": data_dir, "address": address}
        print_verdict(train(name, **settings, ensemble=ensemble, again=again, overrides=overrides or (), **places))


def _config(text: str | None) -> Any:
    """A baseline as it is typed."""
    from raynas.settings import parse_yaml

    return None if text is None else parse_yaml(text, "--baseline")


def _print_score(name: str, score: Any) -> None:
    """Accuracy on the test split with its interval, beside what the search saw."""
    from raynas.cli.show import console

    console.print(
        f"[bold]{name}[/bold], trial {score.trial}: test accuracy {score.accuracy:.4f} "
        f"(95 % between {score.low:.4f} and {score.high:.4f}, {score.images:,} images)"
    )
    if score.val_accuracy is not None:
        console.print(f"[dim]validation accuracy, by which it was chosen: {score.val_accuracy:.4f}[/dim]")


def print_verdict(verdict: Any) -> None:
    """One row a network, the best first, and what it all means."""
    from raynas.cli.show import console, number, table
    from raynas.run.progress import shown

    right = ("trial", "parameters", "test accuracy", "fitness", "trainings")
    made = table("network", *right[:3], "tied", *right[3:], "config", right=right)
    recommended = verdict.recommended
    tied = [network.label for network in verdict.tied] if len(verdict.of_kind("finalist")) > 1 else []
    for network in sorted(verdict.networks, key=lambda each: -each.mean if each.tests else math.inf):
        mean, half = verdict.interval(network)
        cells = [
            "-" if network.of is None else str(network.of),
            number(network.params),
            "-" if not network.tests else f"{mean:.4f}" + ("" if math.isnan(half) else f" ± {half:.4f}"),
            "yes" if network.label in tied else "",
            number(network.mean_fitness),
            str(len(network.tests)),
        ]
        label = f"[bold]{network.label}[/bold]" if network is recommended else network.label
        made.add_row(label, *cells, shown(network.config, 90))
    console.print(f"\n[bold]{verdict.name}[/bold], verification {verdict.turn}: {verdict.epochs} epochs a training")
    console.print(made)
    for sentence in verdict.sentences():
        console.print(f"- {sentence}", markup=False)
