"""`raynas export` and `raynas predict`: the model itself."""

from pathlib import Path
from typing import Annotated

import typer

from raynas.cli.door import DataDir, Home, StoreUrl, errors_at_the_door


def export(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    trial: Annotated[
        int | None,
        typer.Option(help="A trial that kept its weights [what verify recommends, else the best]."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The folder to write [NAME-trial-N].")] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(help="safetensors (always), torch, onnx, python; several may be named [all]."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that an export made.")] = False,
    home: Home = None,
    store: StoreUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Write the best network as safetensors, a torch program, ONNX and plain Python, with a model card."""
    with errors_at_the_door(store):
        from raynas.cli.show import print_export
        from raynas.exports.folder import export as write

        print_export(write(name, trial, output=output, formats=format, force=force, home=home, data_dir=data_dir))


def predict(
    model: Annotated[str, typer.Argument(help="An exported folder, or an experiment.")],
    images: Annotated[list[str], typer.Argument(help="Image files, folders of them, .npy, .npz or FILE.npz#ARRAY.")],
    format: Annotated[str, typer.Option(help="table, csv, json or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option(help="Write to this file [standard output].")] = None,
    own_code: Annotated[
        bool, typer.Option("--own-code", help="Import the function that the folder says builds its network.")
    ] = False,
    home: Home = None,
    store: StoreUrl = None,
    data_dir: DataDir = None,
) -> None:
    """What an exported network (or the best of an experiment) sees in images."""
    with errors_at_the_door(store):
        from raynas.cli.show import FORMATS, write_frame
        from raynas.exports.predict import predict as look
        from raynas.tables import look_up

        writer = look_up("format", format, FORMATS)
        write_frame(look(model, images, home=home, data_dir=data_dir, own_code=own_code), writer, output)
