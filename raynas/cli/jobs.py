"""`raynas submit`, `jobs`, `logs`, `stop` and `fetch`: searches as jobs of a Ray cluster."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raynas.cli import asked
from raynas.cli.door import Overrides, StoreUrl, errors_at_the_door, whats_next

if TYPE_CHECKING:
    from raynas.service.cluster import Cluster

At = Annotated[
    str,
    typer.Option("--address", envvar="RAYNAS_ADDRESS", help="The cluster's dashboard, http://HOST:8265."),
]
Open = Annotated[bool, typer.Option("--no-token", help="Also a cluster that takes jobs without a token.")]
AnyVersion = Annotated[
    bool, typer.Option("--any-version", help="Also a cluster with other versions of Ray and raynas.")
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or its experiment's name.")]
To = Annotated[Path | None, typer.Option("--to", help="Fetch to this folder [$RAYNAS_HOME or ./runs].")]


def _cluster(address: str, allow_open: bool, any_version: bool) -> "Cluster":
    from raynas.service.cluster import Cluster

    return Cluster(address, allow_open=allow_open, any_version=any_version)


def submit(
    address: At,
    space: asked.SpaceName = None,
    overrides: Overrides = None,
    data: Annotated[
        str | None,
        typer.Option(help="A dataset by name, or by its absolute path on the cluster: data does not travel."),
    ] = None,
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
    home: Annotated[
        str | None,
        typer.Option(
            help="Where experiments live on the cluster; on a shared disk, results are read in place [~/raynas-runs]."
        ),
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where datasets lie on the cluster.")] = None,
    store: StoreUrl = None,
    working_dir: Annotated[Path, typer.Option(help="What travels.")] = Path(),
    limit_mb: Annotated[float, typer.Option(min=0, help="How much may travel.")] = 50.0,
    no_token: Open = False,
    any_version: AnyVersion = False,
    follow: Annotated[bool, typer.Option("--follow", help="Show its log to the end.")] = False,
) -> None:
    """Start a search on a cluster: raynas submit genome_cnn --data mnist --address http://HOST:8265"""
    with errors_at_the_door():
        from raynas.service.cluster import Cluster
        from raynas.service.packing import look

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
        package = look(working_dir, limit_mb)
        there = Cluster(
            address,
            home=home,
            data_dir=data_dir,
            store=store,
            limit_mb=limit_mb,
            allow_open=no_token,
            any_version=any_version,
        )
        typer.echo(f"packed: {package}")
        future = there.submit_spec(spec, name, package)
        typer.echo(f"submitted: {future.id}, the search '{future.name}'")
        if follow:
            _follow(future)
        else:
            typer.echo(
                f"its log: raynas logs {future.id} --follow    let go of it: raynas stop {future.id}    its results: raynas fetch "
                f"{future.id}    (each with --address {there.address})"
            )


def _follow(future: Any) -> None:
    try:
        for text in future.follow():
            typer.echo(text, nl=False)
    except KeyboardInterrupt:
        typer.echo(
            f"\nno longer following; the job goes on: raynas logs {future.id} --follow    let go of it: raynas stop {future.id}",
            err=True,
        )
        raise typer.Exit(130) from None
    state = future.state
    typer.echo(f"{future.id}: {state}")
    if state == "failed":
        raise typer.Exit(1)


def jobs(address: At, no_token: Open = False, any_version: AnyVersion = False) -> None:
    """The searches among a cluster's jobs."""
    with errors_at_the_door():
        from raynas.cli.show import console, table
        from raynas.run.progress import duration

        found = _cluster(address, no_token, any_version).jobs()
        if not found:
            typer.echo("no searches among the cluster's jobs yet")
            return
        made = table("job", "experiment", "state", "time", "raynas", right=("time",))
        for job in found:
            took = "-" if job.started is None else duration((job.ended or time.time()) - job.started)
            made.add_row(job.id, job.name, job.state, took, job.raynas)
        console.print(made)


def logs(
    job: JobName,
    address: At,
    follow: Annotated[bool, typer.Option("--follow", help="Go on to its end.")] = False,
    no_token: Open = False,
    any_version: AnyVersion = False,
) -> None:
    """What a job has printed."""
    with errors_at_the_door():
        future = _cluster(address, no_token, any_version).job(job)
        if follow:
            _follow(future)
        else:
            typer.echo(future.logs(), nl=False)


def stop(job: JobName, address: At, no_token: Open = False, any_version: AnyVersion = False) -> None:
    """Let go of a job's search; what is done is kept, and the same submit with its --name goes on."""
    with errors_at_the_door():
        future = _cluster(address, no_token, any_version).job(job)
        if future.cancel():
            typer.echo(f"stopping {future.id}; go on with it: raynas submit … --name {future.name}")
        else:
            typer.echo(f"{future.id} is over already: {future.state}")


def fetch(
    job: JobName,
    address: At,
    to: To = None,
    store: StoreUrl = None,
    no_token: Open = False,
    any_version: AnyVersion = False,
) -> None:
    """The results of a job, also while it runs: read in place, or fetched to this machine."""
    with errors_at_the_door(store):
        from raynas.cli.show import print_best, print_summary

        results = _cluster(address, no_token, any_version).fetch(job, to)
        print_summary(results)
        print_best(results, 5)
        typer.echo(f"\nresults: {results.path}\n{whats_next(results, results.folder.parent, store)}")
