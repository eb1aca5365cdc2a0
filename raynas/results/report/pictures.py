"""The pictures of a report: plotly figures as data, drawings of networks as SVG."""

import json
from base64 import b64encode
from typing import Any, NamedTuple

from raynas.results.drawing import draw_trial
from raynas.results.plots import PLOTS
from raynas.tables import InputError

ORDER = ("best_so_far", "curves", "rungs", "pareto", "parallel", "importances", "generations", "lineage", "timeline")


class Picture(NamedTuple):
    """`data` is plotly's JSON, its title and the sentence below it taken out: they are text of the page."""

    name: str
    title: str
    said: str
    data: str


def _text(title: dict[str, Any], part: str) -> str:
    """A title or subtitle without plotly's markup."""
    found = title.get(part) or ""
    found = found.get("text", "") if isinstance(found, dict) else found
    return str(found).replace("<br>", " ").replace("<b>", "").replace("</b>", "")


def _picture(results: Any, name: str, figure: Any) -> Picture:
    made = json.loads(figure.to_json())
    layout = made["layout"]
    title = layout.pop("title", None) or {}
    title = {"text": title} if isinstance(title, str) else title
    layout.pop("template", None)  # the page has its own, light and dark
    heading = _text(title, "text").removeprefix(f"{results.name}: ") or name.replace("_", " ")
    made = {"data": made["data"], "layout": layout}
    return Picture(name, heading[:1].upper() + heading[1:], _text(title, "subtitle"), json.dumps(made))


def pictures(results: Any) -> tuple[list[Picture], list[str]]:
    """Those that this experiment has something for, and why it lacks the others."""
    found, lacking = [], []
    for name in (name for name in ORDER if name in PLOTS):
        try:
            found.append(_picture(results, name, PLOTS[name](results, None)))
        except InputError as error:
            lacking.append(f"{name.replace('_', ' ')}: {error}")
    return found, lacking


def drawing(results: Any, number: int) -> str | None:
    """The network of a trial as the address of an image: a script in it could not run. None where it cannot be drawn."""
    try:
        svg = draw_trial(results, number)
    except InputError:
        return None
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
