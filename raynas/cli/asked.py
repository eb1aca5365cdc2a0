"""What `search`, `plan` and `submit` take: their options, and the spec that these say."""

from pathlib import Path
from typing import Annotated, Any

import typer

from raynas.cli.door import Overrides
from raynas.tables import InputError

SpaceName = Annotated[str | None, typer.Argument(help="A space by name, a YAML path or package.module:name.")]
Data = Annotated[str | None, typer.Option(help="A dataset by name or path (see `raynas data`).")]
Searcher = Annotated[str | None, typer.Option("--search", help="Which searcher: regularized-evolution, optuna, …")]
Stop = Annotated[str | None, typer.Option(help="Early stopping: none, asha, hyperband, median, pbt.")]
Objective = Annotated[str | None, typer.Option(help="accuracy, loss, or the name of a metric to maximise.")]
Trainable = Annotated[str | None, typer.Option(help="A training function of your own, package.module:function.")]
Trials = Annotated[int | None, typer.Option(help="How many trials.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of a trial.")]
Cpu = Annotated[float | None, typer.Option(help="CPUs of a trial.")]
Gpu = Annotated[str | None, typer.Option(help="GPUs of a trial, e.g. 0.25; auto: measured.")]
Seed = Annotated[int | None, typer.Option(help="The seed of everything.")]
Name = Annotated[str | None, typer.Option(help="The experiment's name [made, and printed].")]
Config = Annotated[Path | None, typer.Option(help="An experiment as a YAML file.")]
Track = Annotated[
    list[str] | None,
    typer.Option("--track", help="Who else hears: mlflow:URI, tensorboard:DIR, wandb:PROJECT, optuna:URL; repeatable."),
]

IN_SECTIONS = {"trials": "budget.trials", "epochs": "training.epochs", "cpu": "resources.cpu", "gpu": "resources.gpu"}


def spec_typed(space: str | None, overrides: Overrides, config: Path | None, said: dict[str, Any]) -> dict[str, Any]:
    """The spec of what was typed: the file, over it the options that were `said`, over these the overrides."""
    from raynas.settings import override, read_yaml

    spec: dict[str, Any] = read_yaml(config) if config else {}
    positional = list(overrides or [])
    if space is not None and "=" in space and config is not None:  # `--config f.yaml budget.trials=4`
        positional.insert(0, space)
        space = None
    given = {key: value for key, value in {"space": space, **said}.items() if value is not None}
    spec |= {key: value for key, value in given.items() if key not in IN_SECTIONS}
    spec = override(spec, [f"{path}={given[key]}" for key, path in IN_SECTIONS.items() if key in given])
    spec = override(spec, positional)
    if "space" not in spec:
        raise InputError("name a space, e.g. raynas search genome_cnn --data fashion_mnist_mini (known: raynas spaces)")
    return spec
