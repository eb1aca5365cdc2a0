"""`raynas reproduce`: a trial trained again from its record."""

from typing import Annotated, Any

import typer

from raynas.cli.door import Address, DataDir, Home, StoreUrl, errors_at_the_door


def reproduce(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    trial: Annotated[int, typer.Option(help="Which trial.")],
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="By how much numbers may differ where they are not identical [0.02].")
    ] = None,
    home: Home = None,
    store: StoreUrl = None,
    data_dir: DataDir = None,
    address: Address = None,
) -> None:
    """Train a trial again from its record and compare the curves; exit code 1 where they differ."""
    with errors_at_the_door(store):
        from raynas.run.reproduce import TOLERANCE
        from raynas.run.reproduce import reproduce as again

        given = TOLERANCE if tolerance is None else tolerance
        made = again(name, trial, tolerance=given, home=home, data_dir=data_dir, address=address)
        _print(made)
        raise typer.Exit(0 if made.within else 1)


def _print(made: Any) -> None:
    """What has changed since, the curves' differences, and the verdict."""
    from raynas.cli.show import console, table

    for line in made.differences:
        console.print(f"changed since: {line}", markup=False)
    shown = table(
        "metric", "largest difference", "at epoch", "recorded", "again", right=("largest difference", "at epoch")
    )
    for each in made.compared:
        shown.add_row(each.metric, f"{each.largest:.3g}", str(each.epoch), _cell(each.recorded), _cell(each.again))
    console.print(shown)
    if made.ignored:
        console.print(f"[dim]not compared, for a clock measured them: {', '.join(made.ignored)}[/dim]")
    console.print(f"[bold]{made.name}[/bold], trial {made.trial}: {made}")
    if made.error is not None:
        console.print(made.error, markup=False)


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
