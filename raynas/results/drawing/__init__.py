"""Drawings of networks: `draw(config)` is one SVG text that needs nothing else."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from raynas.results.drawing.cells import draw_cell, draw_macro, draw_micro
from raynas.results.drawing.chains import draw_genome, draw_parameters, draw_simple_cnn
from raynas.results.drawing.sheet import Sheet
from raynas.tables import InputError

__all__ = ["DRAWINGS", "architecture_of", "draw", "draw_trial"]


class Drawing(NamedTuple):
    """How a kind of network is drawn, from which parameters, and what its picture is called."""

    draw: Callable[[Sheet, Mapping[str, Any]], None]
    needs: tuple[str, ...]
    title: str


DRAWINGS: dict[str, Drawing] = {
    "genome": Drawing(draw_genome, ("architecture",), "layered genome"),
    "simple_cnn": Drawing(draw_simple_cnn, ("conv_layers", "hidden", "dropout"), "small CNN"),
    "nas_bench_201": Drawing(draw_cell, ("architecture",), "network of dense cells"),
    "enas_micro": Drawing(draw_micro, ("normal", "reduction"), "network of two cells with two inputs each"),
    "enas_macro": Drawing(draw_macro, ("architecture",), "macro network"),
}
"""By model, as raynas/models/build.py names them."""
DEFAULT = "genome"
FOUND = "found_"  # before the columns with what a search in a supernet found


def draw(config: Mapping[str, Any], title: str | None = None) -> str:
    """The network of `config` as an SVG text. A model that raynas does not know is drawn as its parameters.

    Raises InputError where the named model's architecture does not read.
    """
    name = config.get("model", DEFAULT)
    drawing = DRAWINGS.get(name) if isinstance(name, str) else None
    if drawing is not None and all(key in config for key in drawing.needs):
        sheet = Sheet(title or drawing.title)
        try:
            drawing.draw(sheet, config)
            sheet.legend()
            return sheet.svg()
        except InputError:
            if "model" in config:
                raise
        except (TypeError, ValueError, ArithmeticError) as error:
            raise InputError(f"cannot draw the {drawing.title} of {dict(config)}: {error}") from error
    sheet = Sheet(title or f"network of '{config.get('model', 'a training of your own')}'")
    draw_parameters(sheet, {key: value for key, value in config.items() if key != "model"})
    return sheet.svg()


def architecture_of(results: Any, number: int) -> dict[str, Any]:
    """The config of a trial's network; of a search in a supernet, that of what it found."""
    frame = results.trials
    if number not in frame["number"].tolist():
        raise InputError(f"'{results.name}' has no trial {number}; trials are numbered 0 to {len(frame) - 1}")
    oneshot = results.experiment["spec"].get("oneshot")
    if oneshot is None:
        return dict(results.config(number))
    row = frame[frame["number"] == number].iloc[0]
    found = {name: row.get(f"{FOUND}{name}", value) for name, value in oneshot["space"].items()}
    if any(isinstance(value, dict) or value is None or value != value for value in found.values()):
        raise InputError(f"trial {number} of '{results.name}' has not finished an epoch: it found nothing yet")
    return found


def draw_trial(results: Any, number: int | None = None) -> str:
    """The network of a trial of an experiment (default: of the best) as an SVG text."""
    if number is None:
        top = results.best()
        if top.empty:
            raise InputError(f"'{results.name}' has no trial with a fitness yet; say which trial to draw")
        number = int(top["number"].iloc[0])
    config = architecture_of(results, number)
    row = results.trials[results.trials["number"] == number].iloc[0]
    said = [f"{results.name}, trial {number}"]
    if row["fitness"] == row["fitness"]:
        said.append(f"fitness {row['fitness']:.4f}")
    if not pd.isna(row["params"]):
        said.append(f"{int(row['params']):,} parameters")
    return draw(config, ", ".join(said))
