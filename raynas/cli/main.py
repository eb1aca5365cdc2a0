"""The `raynas` command. Heavy imports wait until a command needs them: `raynas --help` answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from raynas.cli import asked
from raynas.cli.compare import compare
from raynas.cli.door import (
    Address,
    DataDir,
    Home,
    Metrics,
    Overrides,
    StoreUrl,
    errors_at_the_door,
    modes,
    whats_next,
)
from raynas.cli.export import export, predict
from raynas.cli.jobs import fetch, jobs, logs, stop, submit
from raynas.cli.plan import plan
from raynas.cli.plot import plot
from raynas.cli.report import report
from raynas.cli.reproduce import reproduce
from raynas.cli.simulate import simulate
from raynas.cli.train import train
from raynas.cli.verify import verify
from raynas.tables import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # in the other mode [words] are markup
    help="Architecture and hyperparameter search on Ray Tune, for people who have a dataset and some GPUs.",
)


@app.command()
def search(
    space: asked.SpaceName = None,
    overrides: Overrides = None,
    data: asked.Data = None,
    searcher: asked.Searcher = None,
    stop: asked.Stop = None,
    objective: asked.Objective = None,
    trainable: asked.Trainable = None,
    trials: asked.Trials = None,
    epochs: asked.Epochs = None,
    cpu: asked.Cpu = None,
    gpu: asked.Gpu = None,
    seed: asked.Seed = None,
    name: asked.Name = None,
    config: asked.Config = None,
    track: asked.Track = None,
    home: Home = None,
    data_dir: DataDir = None,
    address: Address = None,
    store: StoreUrl = None,
) -> None:
    """Search a space: raynas search genome_cnn --data fashion_mnist_mini --trials 20"""
    with errors_at_the_door():
        from raynas.run.launch import launch

        said = {
            "data": data,
            "search": searcher,
            "stop": stop,
            "objective": objective,
            "trainable": trainable,
            "trials": trials,
            "epochs": epochs,
            "cpu": cpu,
            "gpu": gpu,
            "seed": seed,
            "track": track or None,
        }
        spec = asked.spec_typed(space, overrides, config, said)
        results = launch(spec, name=name, home_dir=home, data_dir=data_dir, address=address, store=store)
        _closing(results, home, store)


@app.command()
def derive(
    name: Annotated[str, typer.Argument(help="The search in a supernet.")],
    overrides: Overrides = None,
    trial: Annotated[int | None, typer.Option(help="What another trial than the best found.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="How to train it: an experiment as a YAML file; its space is replaced.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of training.")] = None,
    to: Annotated[str | None, typer.Option("--name", help="The new experiment's name [NAME-derived].")] = None,
    home: Home = None,
    data_dir: DataDir = None,
    address: Address = None,
    store: StoreUrl = None,
) -> None:
    """Train the architecture that a supernet search found, alone and from scratch."""
    with errors_at_the_door(store):
        from raynas.run.derive import derive as train
        from raynas.settings import override, read_yaml

        spec: dict[str, Any] = read_yaml(config) if config else {}
        spec = override(spec, [] if epochs is None else [f"training.epochs={epochs}"])
        spec = override(spec, overrides or [])
        _closing(train(name, trial, name=to, home=home, data_dir=data_dir, address=address, **spec), home, store)


@app.command()
def resume(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    overrides: Overrides = None,
    trials: Annotated[int | None, typer.Option(help="Extend the search to this many trials.")] = None,
    track: asked.Track = None,
    home: Home = None,
    data_dir: DataDir = None,
    address: Address = None,
    store: StoreUrl = None,
) -> None:
    """Go on with an experiment that was interrupted or killed, or extend a finished one."""
    with errors_at_the_door():
        from raynas.run.launch import resume as go_on

        results = go_on(
            name,
            overrides=overrides,
            trials=trials,
            track=track or None,
            home=home,
            data_dir=data_dir,
            address=address,
            store=store,
        )
        _closing(results, home, store)


def _closing(results: Any, home: Path | None, store: str | None) -> None:
    """The table of the best and where the rest is."""
    from raynas.cli.show import print_best, print_summary

    print_summary(results)
    print_best(results, 5)
    typer.echo(f"\nresults: {results.folder}\n{whats_next(results, home, store)}")


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="The experiment [all].")] = None,
    home: Home = None,
    store: StoreUrl = None,
) -> None:
    """Which experiments there are and how far they are."""
    with errors_at_the_door(store):
        from raynas.cli.show import print_status
        from raynas.run.folders import experiments, open_results
        from raynas.run.folders import home as home_of

        names = [name] if name else experiments(home)
        if not names:
            typer.echo(
                f"no experiments in '{home_of(home)}' yet; start one: raynas search genome_cnn --data fashion_mnist_mini"
            )
        else:
            print_status([open_results(name, home)] if name else [_results_or_why(item, home) for item in names])


def _results_or_why(name: str, home: Path | None) -> Any:
    """An experiment's results; the error where its store cannot be read, so that the others still show."""
    from raynas.run.folders import open_results

    try:
        return open_results(name, home)
    except InputError as error:
        return error


@app.command()
def results(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    format: Annotated[str, typer.Option(help="table, csv, json or parquet.")] = "table",
    view: Annotated[
        str, typer.Option(help="trials, curves, generations, lineage (of the best), pareto, rungs, importances.")
    ] = "trials",
    where: Annotated[
        str | None, typer.Option(help="An SQL condition on trials, e.g. 'fitness > 0.8 and lr < 0.001'.")
    ] = None,
    metrics: Metrics = None,
    columns: Annotated[bool, typer.Option("--columns", help="What the view's columns are, instead.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write to this file [standard output].")] = None,
    home: Home = None,
    store: StoreUrl = None,
) -> None:
    """One table of everything that was tried."""
    with errors_at_the_door(store):
        from raynas.cli.show import FORMATS, VIEWS, write_frame
        from raynas.run.folders import open_results
        from raynas.tables import look_up

        writer, looked = look_up("format", format, FORMATS), look_up("view", view, VIEWS)
        if where is not None and view != "trials":
            raise InputError(f"--where goes with the view trials, got '{view}'")
        found = open_results(name, home)
        if columns:
            frame = found.columns("trials" if view in ("lineage", "pareto") else view)
        else:
            frame = looked(found, modes(metrics)) if where is None else found.where(where)
        write_frame(frame, writer, output)


app.command()(submit)
app.command()(jobs)
app.command()(logs)
app.command()(stop)
app.command()(fetch)
app.command()(plot)
app.command()(simulate)
app.command()(reproduce)
app.command()(train)
app.command()(plan)
app.command()(export)
app.command()(predict)
app.command()(report)
app.command()(compare)
app.command()(verify)


@app.command()
def best(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 1,
    home: Home = None,
    store: StoreUrl = None,
) -> None:
    """The best trials, their configs whole, and the rule by which they are the best."""
    with errors_at_the_door(store):
        from raynas.cli.show import print_winners
        from raynas.run.folders import open_results

        print_winners(open_results(name, home), k)


@app.command()
def spaces(
    space: Annotated[str | None, typer.Argument(help="A space to look into.")] = None,
    sample: Annotated[int, typer.Option(min=0, help="Show this many random configs, their parameters and FLOPs.")] = 0,
    shape: Annotated[
        str, typer.Option(help="Input shape for parameters and FLOPs: channels,height,width.")
    ] = "1,28,28",
    classes: Annotated[int, typer.Option(min=1, help="Number of classes.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Which random configs.")] = 0,
) -> None:
    """The search spaces that come with raynas, or one of them."""
    with errors_at_the_door():
        from raynas.cli.show import print_space, print_spaces

        if space is None:
            print_spaces()
        else:
            print_space(space, sample, _shape(shape), classes, seed)


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise InputError(f"a shape is channels,height,width, e.g. 1,28,28, got '{text}'")
    return int(parts[0]), int(parts[1]), int(parts[2])


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="A dataset to look into: a name or a path.")] = None,
    data_dir: DataDir = None,
) -> None:
    """The datasets known by name and which of them are here, or one dataset's shape and classes."""
    with errors_at_the_door():
        from raynas.cli.show import print_dataset, print_datasets

        if name is None:
            print_datasets(data_dir)
        else:
            print_dataset(name, data_dir)


@app.command()
def doctor(
    address: Annotated[str | None, typer.Option(help="Look at every node of this running Ray, e.g. auto.")] = None,
    data: Annotated[str | None, typer.Option(help="A dataset that the nodes' object stores must hold.")] = None,
    home: Home = None,
    data_dir: DataDir = None,
) -> None:
    """Is everything here and working? Trains one real batch on every device; with --address on every node's GPUs."""
    with errors_at_the_door():
        if address is not None:
            from raynas.cli.nodes import examine_nodes

            raise typer.Exit(examine_nodes(address, home, data, data_dir))
        if data is not None:
            raise InputError("--data goes with --address: it is compared with the object stores of the nodes")
        from raynas.cli.doctor import examine

        raise typer.Exit(examine(home, data_dir))


@app.command()
def bench(
    what: Annotated[
        str,
        typer.Argument(
            help="overhead, training, searchers, strategies, quality, stopping, proxies, oneshot, arcs, scaling or nodes."
        ),
    ],
    arguments: Annotated[list[str] | None, typer.Argument(help="Options as key=value, e.g. trials=200.")] = None,
    data_dir: DataDir = None,
) -> None:
    """How fast raynas is and how good its searchers are, against the alternative in the same run."""
    with errors_at_the_door():
        from raynas.bench import BENCHES
        from raynas.settings import construct, override
        from raynas.tables import look_up

        function = look_up("benchmark", what, BENCHES)
        options = override({}, arguments or [])
        if data_dir is not None:
            os.environ["RAYNAS_DATA"] = str(data_dir)
        construct(function, options, f"bench {what}")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    expect: Annotated[str | None, typer.Option(hidden=True)] = None,  # what a job was submitted by
) -> None:
    import raynas

    if expect is not None and expect != raynas.__version__:
        typer.secho(
            f"error: this cluster has raynas {raynas.__version__}, and the job comes from raynas {expect}: install the same on "
            "both, or submit with --any-version",
            fg="red",
            err=True,
        )
        raise typer.Exit(2)
    if show:
        typer.echo(raynas.__version__)
        raise typer.Exit


def main() -> None:
    """The console script."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # package.module:name of the working directory
    app()
