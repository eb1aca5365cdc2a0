"""`raynas train`: one trial's network, whole and from scratch, on one or several GPUs."""

from typing import Annotated, Any

import typer

from raynas.cli.door import Address, DataDir, Home, Overrides, StoreUrl, errors_at_the_door


def train(
    name: Annotated[str, typer.Argument(help="The search.")],
    overrides: Overrides = None,
    trial: Annotated[int | None, typer.Option(help="Another trial than the best.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that share every batch [1].")] = None,
    cpu: Annotated[float | None, typer.Option(help="CPUs of each worker.")] = None,
    gpu: Annotated[float | None, typer.Option(help="GPUs of each worker: 0 or 1.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of training [the search's].")] = None,
    to: Annotated[str | None, typer.Option("--name", help="The new experiment's name [NAME-trained].")] = None,
    home: Home = None,
    store: StoreUrl = None,
    data_dir: DataDir = None,
    address: Address = None,
) -> None:
    """Train a trial's network anew, as an experiment of its own; with --workers on several GPUs at once."""
    with errors_at_the_door(store):
        from raynas.cli.show import print_best, print_summary
        from raynas.run.final import train as go
        from raynas.settings import override

        typed = {"training.epochs": epochs, "resources.cpu": cpu, "resources.gpu": gpu}
        spec: dict[str, Any] = override({}, [f"{key}={value}" for key, value in typed.items() if value is not None])
        spec = override(spec, overrides or [])
        results = go(name, trial, workers=workers, name=to, home=home, data_dir=data_dir, address=address, **spec)
        print_summary(results)
        print_best(results, 1)
        typer.echo(f"\nresults: {results.folder}\nscore it on the test split: raynas verify {results.name}")
