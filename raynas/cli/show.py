"""What commands print: tables on a terminal, plain text elsewhere."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from raynas.results.results import RULE, Results
from raynas.run.progress import duration, shown
from raynas.tables import InputError

console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, soft_wrap=not sys.stdout.isatty())


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def number(value: Any) -> str:
    """A number as a person writes it: 23,636; 0.8812; 7.23e+29."""
    if value is None or value is pd.NA or value != value:
        return "-"
    if isinstance(value, int):
        return f"{value:,}" if value < 10**12 else f"{float(value):.4g}"
    return f"{value:.4g}"


def _states(results: Results) -> str:
    found = results.trials["state"].value_counts()
    twins = int(results.trials["duplicate_of"].notna().sum())
    parts = [
        f"{found[state]} {state}"
        for state in ("done", "stopped", "failed", "refused", "running", "queued")
        if state in found
    ]
    failures = ", ".join(f"{count} {kind}" for kind, count in results.failures().items())
    text = ", ".join(parts) or "no trials"
    return text + (f" ({failures})" if failures else "") + (f"; {twins} answered by a twin" if twins else "")


def print_summary(results: Results) -> None:
    """How the search ended and what it made of its trials."""
    experiment = results.experiment
    console.print(
        f"\n[bold]{results.name}[/bold]: {_states(results)}; {duration(experiment['elapsed_s'])}; {experiment['ended'] or 'running or killed'}"
    )


def print_best(results: Results, k: int) -> None:
    """The k best in a table, under the rule."""
    console.print(f"[dim]{RULE}[/dim]")
    found = results.best(k)
    right = ("trial", "fitness", "epochs", "parameters", "seconds")
    made = table("trial", "fitness", "epochs", "parameters", "seconds", "config", right=right)
    parameters = results.experiment["spec"]["space"]
    for _, row in found.iterrows():
        config = {name: row[name] for name in parameters}
        cells = (
            int(row["number"]),
            f"{row['fitness']:.4f}",
            row["epochs"],
            number(row["params"]),
            f"{row['seconds']:.1f}",
        )
        made.add_row(*(str(cell) for cell in cells), shown(config, 120))
    console.print(made)


def print_winners(results: Results, k: int) -> None:
    """The k best with every parameter and metric."""
    console.print(f"[dim]{RULE}[/dim]")
    found = results.best(k)
    if found.empty:
        raise InputError(f"'{results.name}' has no finished trial yet")
    for _, row in found.iterrows():
        console.print(f"\n[bold]trial {row['number']}[/bold]  fitness {row['fitness']:.4f}  {row['state']}")
        for name in row.index:
            if name not in ("number", "fitness", "state", "error", "failure", "duplicate_of") and not pd.isna(
                row[name]
            ):
                console.print(f"  {name}: {row[name]}", markup=False)
        weights = results.folder / "checkpoints" / f"{row['number']:05d}"
        if weights.is_dir():
            supernet = results.experiment["spec"].get("oneshot") is not None
            alone = f"raynas derive {results.name} --trial {row['number']} trains what it found"
            use = alone if supernet else f'raynas.model("{results.name}", {row["number"]}) loads them'
            console.print(f"  weights: {weights}  ({use})", markup=False)


def print_outcomes(outcomes: list[Any]) -> None:
    """One row a searcher and number of workers, means with the half width of their 95 % interval."""
    names = list(dict.fromkeys(name for each in outcomes for name in each.measures))
    made = table("searcher", "workers", "seeds", *names, right=("workers", "seeds", *names))
    for each in outcomes:
        cells = [
            f"{middle:,.5g}" + (f" ± {half:.2g}" if each.seeds > 1 else "") for middle, half in each.measures.values()
        ]
        made.add_row(each.search, str(each.workers), str(each.seeds), *cells)
    console.print(made)


def print_export(made: Any) -> None:
    """The files, their sizes, and how far each format is from the original."""
    from raynas.exports.formats import FORMATS as MODEL_FORMATS

    shown_files = table("format", "files", "kB", "largest difference", right=("kB", "largest difference"))
    for name, difference in made.differences.items():
        files = MODEL_FORMATS[name].files
        size = sum((made.folder / file).stat().st_size for file in files)
        shown_files.add_row(name, ", ".join(files), f"{size / 1000:,.0f}", f"{difference:.2g}")
    console.print(f"[bold]{made.folder}[/bold]: {made.origin}; the model card is its README.md")
    console.print(shown_files)
    console.print(f"[dim]differences are of logits from the trained network's, on {made.images} real images[/dim]")
    for name, why in made.left_out.items():
        console.print(f"{name} left out: {why}", markup=False)


def print_comparison(frame: pd.DataFrame) -> None:
    """One row an experiment: what it spent and the best it found."""
    names = ("trials", "seconds", "CPU-hours", "GPU-hours", "best fitness")
    made = table("experiment", "search", "seed", *names, right=("seed", *names))
    for _, row in frame.groupby("experiment", sort=False).tail(1).iterrows():
        spent = (row["trials"], row["seconds"], row["cpu_hours"], row["gpu_hours"])
        made.add_row(row["experiment"], row["search"], str(row["seed"]), *map(number, spent), f"{row['best']:.4f}")
    console.print(made)


def print_ranks(ranks: pd.DataFrame) -> None:
    """A sentence a pair of groups of experiments."""
    for row in ranks.to_dict("records"):
        one = f"{row['one']} (n = {row['n_one']}, median {row['median_one']:.4f})"
        other = f"{row['other']} (n = {row['n_other']}, median {row['median_other']:.4f})"
        console.print(f"{one} against {other} after {row['trials']} trials: {row['said']}", markup=False)


def print_status(found: list[Results | InputError]) -> None:
    made = table("experiment", "trials", "best fitness", "time", "state", right=("best fitness",))
    for results in found:
        if isinstance(results, InputError):
            made.add_row("-", "-", "-", "-", str(results))
            continue
        experiment, top = results.experiment, results.best(1)
        best = f"{top['fitness'].iloc[0]:.4f}" if len(top) else "-"
        made.add_row(
            results.name,
            _states(results),
            best,
            duration(experiment["elapsed_s"]),
            experiment["ended"] or "running or killed",
        )
    console.print(made)


def _csv(frame: pd.DataFrame, path: Any) -> None:
    frame.to_csv(path, index=False)


def _json(frame: pd.DataFrame, path: Any) -> None:
    frame.to_json(path, orient="records", date_format="iso", indent=1)


def _parquet(frame: pd.DataFrame, path: Any) -> None:
    if path is sys.stdout:
        raise InputError("parquet is binary: say where to write it, --output trials.parquet")
    mixed = [name for name in frame.columns if frame[name].dtype == object]  # 1 beside "auto": one column, one type
    frame.astype(dict.fromkeys(mixed, "string")).to_parquet(path, index=False)


REASON = 60  # characters of a reason in a table
DETAILS = ("error", "identity", "seed", "created", "started", "ended", "origin", "model", "attempt", "node", "flops",
           "memory_mb", "train_loss", "train_accuracy", "lr_last", "images_per_s")  # fmt: skip


def _table(frame: pd.DataFrame, path: Any) -> None:
    """Without the columns of DETAILS and the refused trials among others, which the other formats have."""
    refused = frame["state"].eq("refused").fillna(False) if "state" in frame else pd.Series(False, index=frame.index)
    hidden = 0 if refused.all() else int(refused.sum())
    frame = _reasons(frame[~refused] if hidden else frame)
    columns = [name for name in frame.columns if name not in DETAILS and frame[name].notna().any()]
    numbers = tuple(name for name in columns if pd.api.types.is_numeric_dtype(frame[name]))
    made = table(*columns, right=numbers)
    for column in made.columns:
        column.no_wrap = column.header in numbers
    in_order = (
        frame.sort_values("fitness", ascending=False) if "generation" not in frame and "fitness" in frame else frame
    )
    for _, row in in_order.iterrows():
        made.add_row(*(_cell(row[name]) for name in columns))
    out = console if path is sys.stdout else Console(file=open(path, "w", encoding="utf-8"), width=250)
    out.print(made)
    if hidden:
        out.print(f"{hidden:,} refused (their reasons: --format csv, column error)", markup=False)


def _reasons(frame: pd.DataFrame) -> pd.DataFrame:
    """With the end of what failed trials said, where there are any."""
    if "error" not in frame:
        return frame
    return frame.assign(reason=[_last_line(text) for text in frame["error"]])


def _last_line(text: Any) -> Any:
    last = "" if pd.isna(text) else text.strip().rpartition("\n")[2]
    return (last if len(last) <= REASON else f"{last[: REASON - 1]}…") or pd.NA


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return number(value) if value is pd.NA or isinstance(value, float) else str(value)


FORMATS: dict[str, Callable[[pd.DataFrame, Any], None]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
}


VIEWS: dict[str, Callable[[Results, dict[str, str] | None], pd.DataFrame]] = {
    "trials": lambda results, metrics: results.trials,
    "curves": lambda results, metrics: results.curves,
    "generations": lambda results, metrics: results.generations(),
    "lineage": lambda results, metrics: results.lineage(),
    "pareto": lambda results, metrics: results.pareto(metrics),
    "rungs": lambda results, metrics: results.rungs(),
    "importances": lambda results, metrics: results.importances(),
}


def write_frame(frame: pd.DataFrame, writer: Callable[[pd.DataFrame, Any], None], output: Path | None) -> None:
    writer(frame, sys.stdout if output is None else output)
    if output is not None:
        console.print(f"{len(frame)} rows written to {output}")


def print_spaces() -> None:
    from raynas.space import names, read

    made = table("space", "parameters", "distinct networks", "about", right=("distinct networks",))
    for name in names():
        space = read(name)
        made.add_row(name, ", ".join(space.domains), _networks(space, (1, 28, 28)), space.about)
    console.print(made)
    console.print("[dim]networks are counted on inputs of 1x28x28; hyperparameters are not[/dim]")


def _networks(space: Any, shape: tuple[int, int, int]) -> str:
    from raynas.models import model, same_network

    kind, rule = model(space.parameters), same_network(space.constants, shape)
    return number((space if rule is None else space.merging(rule)).networks(kind.needs))


def print_space(name: str, sample: int, shape: tuple[int, int, int], classes: int, seed: int) -> None:
    """One space: its parameters, its size and some of its configs."""
    from raynas.models import cost
    from raynas.rng import stream
    from raynas.space import read

    space = read(name)
    console.print(f"[bold]{name}[/bold]: {space.about}")
    for parameter, spec in space.spec().items():
        console.print(f"  {parameter}: {spec}", markup=False)
    console.print(f"distinct networks on {'x'.join(map(str, shape))}: {_networks(space, shape)}")
    if sample:
        made = table("parameters", "FLOPs", "config", right=("parameters", "FLOPs"))
        for index in range(sample):
            config = space.sample(stream(seed, index))
            costs = cost(config, shape, classes)
            made.add_row(number(costs["params"]), number(costs["flops"]), shown(config, 400))
        console.print(made)


def print_datasets(data_dir: Path | None) -> None:
    from raynas.data import find, names

    made = table("dataset", "here")
    for name in names():
        path = find(name, data_dir)
        made.add_row(name, str(path) if path else "downloaded when first used")
    console.print(made)
    console.print("[dim]also: any .npz in MedMNIST's layout, any folder of images (ImageFolder), by path[/dim]")


def print_dataset(name: str, data_dir: Path | None) -> None:
    from raynas.data import describe, load

    for key, value in describe(load(name, data_dir=data_dir)).items():
        console.print(f"{key}: {value}", markup=False)
