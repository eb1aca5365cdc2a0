"""What the commands share: their options, and one clear error for bad input."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from raynas.tables import InputError

Home = Annotated[Path | None, typer.Option("--home", help="Where experiments live [$RAYNAS_HOME or ./runs].")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where datasets lie [$RAYNAS_DATA or the user's cache].")
]
Address = Annotated[str | None, typer.Option("--address", help="A running Ray to join, e.g. auto [start one here].")]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store", help="A PostgreSQL database for the trials, postgresql://USER@HOST/NAME [$RAYNAS_STORE or a file]."
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Settings as key=value, e.g. budget.trials=40 training.lr=1e-3.")
]
Metrics = Annotated[
    str | None, typer.Option(help="What the Pareto front is of: val_accuracy=max,params=min [the objective's].")
]


def modes(text: str | None) -> dict[str, str] | None:
    """`val_accuracy=max,params=min` as a mapping."""
    if text is None:
        return None
    pairs = [item.strip().partition("=") for item in text.split(",")]
    if not all(name and mode in ("max", "min") for name, _, mode in pairs):
        raise InputError(f"metrics read like val_accuracy=max,params=min, got '{text}'")
    return {name: mode for name, _, mode in pairs}


def whats_next(results: Any, home: Path | None, store: str | None) -> str:
    """The commands that look at an experiment, as they are typed from here."""
    from raynas.results.database import database, shown
    from raynas.run.folders import home as home_of

    where = ""
    if home is not None and home.resolve() != home_of().resolve():
        where += f" --home {shlex.quote(str(home))}"
    if store is not None:
        where += f" --store {shown(database(store))}"
    name, is_supernet = results.name, results.experiment["spec"].get("oneshot")
    derive_it = f"    train what it found: raynas derive {name}{where}" if is_supernet else ""
    return f"all trials: raynas results {name}{where}    the best: raynas best {name}{where}{derive_it}"


@contextmanager
def errors_at_the_door(store: str | None = None) -> Iterator[None]:
    """Bad input ends with one message and exit code 2, a broken trainable with its traceback and 1. `--store` says what
    $RAYNAS_STORE says, for this command."""
    try:
        if store is None:
            yield
        else:
            from raynas.run.cluster import environment

            with environment({"RAYNAS_STORE": store}):
                yield
    except InputError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt as interrupt:
        name, command = interrupt.args if len(interrupt.args) == 2 else ("", "")
        typer.echo(f"interrupted; go on with: raynas {command} {name}" if name else "interrupted", err=True)
        raise typer.Exit(130) from None
    except RuntimeError as error:
        from raynas.run.drive import SearchFailed

        if not isinstance(error, SearchFailed):
            raise
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from None
