"""`raynas plot`: pictures of an experiment as files."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from raynas.cli.door import Home, Metrics, StoreUrl, errors_at_the_door, modes
from raynas.tables import InputError, unknown

ARCHITECTURE, ALL, COMPARE = "architecture", "all", "compare"


def plot(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    what: Annotated[
        str,
        typer.Argument(
            help="best_so_far, curves, rungs, generations, lineage, pareto, parallel, importances, timeline, compare, "
            "architecture (a drawing of the network) or all."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="The file: .html, or .png, .svg, .pdf; for all a folder [NAME-WHAT.html, NAME-pictures]."),
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Whose architecture [the best].")] = None,
    against: Annotated[
        list[str] | None, typer.Option("--with", help="Another experiment to compare with; several may be named.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="What the files of all are: html, png, svg or pdf [html, and svg for the architecture]."),
    ] = None,
    metrics: Metrics = None,
    home: Home = None,
    store: StoreUrl = None,
) -> None:
    """A picture as one file that needs nothing else."""
    with errors_at_the_door(store):
        from raynas.results.plots import PLOTS
        from raynas.results.plots.files import format_of
        from raynas.run.folders import open_results

        found = open_results(name, home)
        others = [open_results(other, home) for other in against or []]
        table = {
            **{key: _figure(function, found, modes(metrics)) for key, function in PLOTS.items() if key != COMPARE},
            COMPARE: _figure(PLOTS[COMPARE], [found, *others], None),
            ARCHITECTURE: _drawing(found, trial),
        }
        if what == ALL:
            if not others:
                del table[COMPARE]
            if format is not None:
                format_of(Path(f"x.{format}"))
            _write_all(table, output or Path(f"{found.stem}-pictures"), format)
            return
        if what not in table:
            raise unknown("plot", what, [*table, ALL])
        if against and what != COMPARE:
            raise InputError(f"--with goes with compare and all, got '{what}'")
        if trial is not None and what != ARCHITECTURE:
            raise InputError(f"--trial goes with architecture, got '{what}'")
        whose = what if trial is None else f"{what}-{trial}"
        path = output or Path(f"{found.stem}-{whose}.{_usual(what)}")
        format_of(path)
        table[what](path)
        typer.echo(f"written to {path}")


Write = Callable[[Path], None]


def _figure(function: Callable[..., Any], results: Any, metrics: Any) -> Write:
    from raynas.results.plots.files import write_figure

    return lambda path: write_figure(function(results, metrics), path)


def _drawing(results: Any, trial: int | None) -> Write:
    from raynas.results.drawing import draw_trial
    from raynas.results.plots.files import write_drawing

    return lambda path: write_drawing(draw_trial(results, trial), path)


def _usual(what: str) -> str:
    """What a picture is written as where nobody says."""
    return "svg" if what == ARCHITECTURE else "html"


def _write_all(table: dict[str, Write], folder: Path, format: str | None) -> None:
    """Every picture that the experiment has something for; which were left out, and why."""
    from raynas.results.plots.files import one_browser

    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    with one_browser() if format not in (None, "html") else nullcontext():
        for name, write in table.items():
            path = folder / f"{name}.{format or _usual(name)}"
            try:
                write(path)
            except InputError as error:
                typer.echo(f"left out: {name}: {error}")
            else:
                written += 1
                typer.echo(f"written to {path}")
    if not written:
        raise InputError("there is nothing to draw yet")
