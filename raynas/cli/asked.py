"""From what was typed to an experiment's spec: the YAML file, then the options, then key=value."""

from pathlib import Path
from typing import Any

from raynas.tables import InputError


def asked(
    space: str | None,
    overrides: list[str] | None,
    config: Path | None,
    named: dict[str, Any],
    typed: dict[str, Any],
) -> dict[str, Any]:
    """`named` are fields of Experiment, `typed` settings by key; those not given are None. Raises InputError without a space."""
    from raynas.settings import override, read_yaml

    spec: dict[str, Any] = read_yaml(config) if config else {}
    positional = list(overrides or [])
    if space is not None and "=" in space and config is not None:  # `--config f.yaml budget.trials=4`
        positional.insert(0, space)
        space = None
    spec |= {key: value for key, value in {"space": space, **named}.items() if value is not None}
    spec = override(spec, [f"{key}={value}" for key, value in typed.items() if value is not None])
    spec = override(spec, positional)
    if "space" not in spec:
        raise InputError("name a space, e.g. raynas search genome_cnn --data fashion_mnist_mini (known: raynas spaces)")
    return spec
