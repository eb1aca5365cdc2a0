"""Pictures as files: HTML by plotly, PNG, SVG and PDF by kaleido, which needs a Chrome or Chromium."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings
from xml.etree import ElementTree

import plotly.graph_objects as go

from raynas.results.plots.style import shorter
from raynas.tables import InputError, look_up

WIDTH, HEIGHT = 900, 500
SUFFIXES = {".html": "html", ".png": "png", ".svg": "svg", ".pdf": "pdf"}
INSTALL = "pip install 'raynas[images]'"
BROWSER = (
    "install a Chrome or Chromium (Debian: apt install chromium; anywhere: plotly_get_chrome), or say where it is in "
    "BROWSER_PATH; .html needs none"
)


def format_of(path: Path) -> str:
    """What kind of file `path` names. Raises InputError."""
    return look_up("picture format", path.suffix.lower(), SUFFIXES)


def write_figure(figure: Any, path: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    """A plotly figure as one file, by its suffix; pictures of pixels have two a px. Raises InputError where kaleido or a
    browser is missing."""
    kind = format_of(path)
    if kind == "html":
        figure.write_html(path, include_plotlyjs=True)
        return
    path.write_bytes(_image(figure, kind, width, height))


def _image(figure: Any, kind: str, width: int, height: int) -> bytes:
    try:
        from kaleido.errors import ChromeNotFoundError
    except ImportError as error:
        raise InputError(f"pictures as .{kind} need kaleido: {INSTALL}; .html needs nothing") from error
    try:
        with catch_warnings():
            filterwarnings("ignore", message="The kopts argument is ignored")  # of one_browser
            return bytes(figure.to_image(format=kind, width=width, height=height, scale=2 if kind == "png" else 1))
    except ChromeNotFoundError as error:
        raise InputError(f"pictures as .{kind} need a browser: {BROWSER}") from error
    except (ValueError, RuntimeError, OSError) as error:
        raise InputError(
            f"cannot draw .{kind}: {shorter(str(error).strip(), 300)}. If it is the browser: {BROWSER}"
        ) from error


@contextmanager
def one_browser() -> Iterator[None]:
    """While this lasts, pictures share one browser: starting one takes seconds. Nothing where kaleido is missing."""
    try:
        import kaleido

        kaleido.start_sync_server(silence_warnings=True)
    except ImportError:
        yield
        return
    try:
        yield
    finally:
        kaleido.stop_sync_server(silence_warnings=True)


def write_drawing(svg: str, path: Path) -> None:
    """A drawing of a network as one file: SVG as it is, HTML around it, or by kaleido."""
    kind = format_of(path)
    if kind == "svg":
        path.write_text(svg, encoding="utf-8")
        return
    root = ElementTree.fromstring(svg)
    width, height = int(root.get("width", WIDTH)), int(root.get("height", HEIGHT))
    if kind == "html":
        title = root.get("aria-label", "").replace("&", "&amp;").replace("<", "&lt;")
        path.write_text(f'<!doctype html><meta charset="utf-8"><title>{title}</title>\n{svg}\n', encoding="utf-8")
        return
    source = f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
    spread = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "sizex": 1, "sizey": 1, "sizing": "contain"}
    hidden = {"visible": False}
    figure = go.Figure(
        layout={
            "images": [{"source": source, **spread}],
            "margin": dict.fromkeys("lrtb", 0),
            "xaxis": hidden,
            "yaxis": hidden,
        }
    )
    path.write_bytes(_image(figure, kind, width, height))
