"""`raynas report`: everything about an experiment in one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from raynas.cli.door import Home, StoreUrl, errors_at_the_door


def report(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    output: Annotated[Path | None, typer.Option(help="The HTML file [NAME-report.html].")] = None,
    home: Home = None,
    store: StoreUrl = None,
) -> None:
    """One HTML file that needs nothing else: verdict, best networks, pictures, all trials, provenance."""
    with errors_at_the_door(store):
        from raynas.results.report import write_report
        from raynas.run.folders import open_results

        found = open_results(name, home)
        path = output or Path(f"{found.stem}-report.html")
        write_report(found, path)
        typer.echo(f"written to {path} ({path.stat().st_size / 1e6:.1f} MB)")
