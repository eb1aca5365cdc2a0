"""`raynas compare`: several experiments side by side."""

from pathlib import Path
from typing import Annotated

import typer

from raynas.cli.door import Home, StoreUrl, errors_at_the_door
from raynas.tables import InputError


def compare(
    names: Annotated[list[str], typer.Argument(help="The experiments, two or more.")],
    by: Annotated[str, typer.Option(help="What tells groups of seeds apart: search, stop, space, …")] = "search",
    format: Annotated[str, typer.Option(help="table, csv, json or parquet: of --output.")] = "csv",
    output: Annotated[Path | None, typer.Option(help="Write the best so far, one row a trial, to this file.")] = None,
    home: Home = None,
    store: StoreUrl = None,
) -> None:
    """The best so far of several experiments, and whether one kind of search was better than another."""
    with errors_at_the_door(store):
        from raynas.cli.show import FORMATS, print_comparison, print_ranks, write_frame
        from raynas.results.compare import group
        from raynas.run.folders import open_results
        from raynas.tables import look_up

        writer = look_up("format", format, FORMATS)
        if len(names) < 2:
            raise InputError(f"name two experiments or more, got {', '.join(names)}")
        first, *others = [open_results(name, home) for name in names]
        for each in (first, *others):
            group(each, by)
        frame = first.compare(*others)
        print_comparison(frame)
        try:
            print_ranks(first.rank_test(*others, by=by))
        except InputError as error:
            typer.echo(f"\nno test: {error}")
        if output is not None:
            write_frame(frame, writer, output)
