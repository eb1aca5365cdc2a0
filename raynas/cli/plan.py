"""`raynas plan`: what a search will take, before anything runs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from raynas.cli import asked
from raynas.cli.door import Address, DataDir, Overrides, errors_at_the_door

GIB = 2**30
MIB = 2**20


def plan(
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
    config: asked.Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    data_dir: DataDir = None,
    address: Address = None,
    name: Annotated[str | None, typer.Option(hidden=True)] = None,  # those of a search, for nothing is written here
    track: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    home: Annotated[Path | None, typer.Option(hidden=True)] = None,
    store: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Trials at once, GPU-hours and wall time of a search, from a few candidates trained for some batches. Writes nothing."""
    with errors_at_the_door():
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
        }
        spec = asked.spec_typed(space, overrides, config, said)
        from raynas.run.forecast import forecast

        found = forecast(spec, data_dir=data_dir, address=address)
        if as_json:
            typer.echo(json.dumps(found.row(), indent=2))
        else:
            _show(found)


def _show(found: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=False)
    for name, text in _lines(found):
        table.add_row(name, text)
    Console().print(table)


def _lines(found: Any) -> list[tuple[str, str]]:
    """What is printed: a name and its value."""
    lines = [
        ("trials at once", f"{found.slots}, each with {found.cpu:g} CPU and {found.gpu:g} GPU"),
        ("trials", _trials(found)),
        ("an epoch", f"{_span(found.epoch_s, _duration)}, from {_probes(found)}"),
        ("a trial", f"{_span(found.trial_s, _duration)}, {found.epochs:g} epochs"),
        ("wall time", _span(found.wall_s, _duration)),
        ("GPU-hours", _span(found.gpu_hours, _hours)),
        ("CPU-hours", _span(found.cpu_hours, _hours)),
    ]
    if found.kept < 1:
        saved = f"trains {found.kept:.0%} of all epochs, saves {_hours(found.saved_hours)} hours of a slot"
        lines.append((found.stop, f"{saved} (if the best stay the best; simulated)"))
    if found.data_bytes:
        store = f"{found.data_bytes / MIB:,.1f} MiB, of {found.object_store_bytes / GIB:.1f} GiB object store a node"
        fits = "" if found.data_bytes < found.object_store_bytes else ": does not fit, Ray will spill it to disk"
        lines.append(("data", store + fits))
    if found.peak_bytes:
        how = "estimated" if found.estimated else "measured"
        fits = "" if found.peak_bytes <= found.share_bytes else ": does not fit, ask for a larger share"
        share = f"of {found.share_bytes / GIB:.1f} GiB that a trial may take"
        lines.append(("memory", f"{found.peak_bytes / GIB:.2f} GiB at the peak ({how}) {share}{fits}"))
    if found.sharing:
        lines.append(("share", found.sharing))
    return lines


def _trials(found: Any) -> str:
    """With their interval, where it is the budget that bounds them."""
    low, high = found.trials_between
    between = f"{low:,} to {high:,}; " if low < high else ""
    return f"{found.trials:,} ({between}the budget's {found.bound_by})"


def _probes(found: Any) -> str:
    at_once = f", {found.together} at once" if found.together > 1 else ""
    return f"{found.probed} sampled candidates{at_once}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:,.0f}"


def _span(values: Any, show: Any) -> str:
    """Expected, and the 95 % interval where it is one."""
    expected, low, high = map(show, values)
    return expected if low == high else f"{expected} ({low} to {high})"
