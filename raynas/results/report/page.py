"""A report's page: what stands in it, and the file."""

import hashlib
import json
import math
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from raynas.results.report.pictures import drawing, pictures
from raynas.results.results import RULE, Results
from raynas.settings import show_yaml

BEST = 3
LONG = 12  # items of a list in the provenance
QUIET = ("model", "identity", "seed", "origin", "error", "attempt", "node", "created", "started", "ended", "cpu", "gpu",
         "flops", "memory_mb", "train_loss", "train_accuracy", "lr_last", "images_per_s", "duplicate_of", "failure")  # fmt: skip


def page(results: Results) -> str:
    """The report as one HTML text that needs nothing else."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    environment.filters["number"] = number
    found, lacking = pictures(results)
    scripts = [_script(get_plotlyjs()), _script(_file("table.js")), _script(_file("charts.js"))]
    return environment.get_template("page.html").render(
        results=results,
        lead=_lead(results.experiment),
        facts=_facts(results),
        verdict=_verdict(results),
        best=[_best(results, row) for _, row in results.best(BEST).iterrows()],
        rule=RULE,
        pictures=found,
        lacking=lacking,
        failures=_failures(results),
        columns=results.columns().to_dict("records"),
        provenance=_provenance(results),
        data=_data({"table": _table(results), "pictures": {each.name: json.loads(each.data) for each in found}}),
        style=Markup(_file("page.css")),
        scripts=[text for text, _ in scripts],
        hashes=" ".join(f"'sha256-{digest}'" for _, digest in scripts),
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def write_report(results: Results, path: Path) -> None:
    """The report as a file: all of it or none."""
    scratch = path.with_name(f".{path.name}.new")
    text = page(results)
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def number(value: Any) -> str:
    """A number as a person writes it: 23,636; 0.8812."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return (
        f"{value:,}"
        if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6 and abs(value) >= 10)
        else f"{value:.4g}"
    )


def _file(name: str) -> str:
    return (resources.files("raynas.results.report") / name).read_text(encoding="utf-8")


def _script(text: str) -> tuple[Markup, str]:
    """A script of the page and its digest, without which the browser runs none."""
    text = f"\n{text.strip()}\n"
    return Markup(text), b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(value: Any) -> Markup:
    """JSON that can stand inside of a page: no text in it can end its element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _lead(row: Mapping[str, Any]) -> str:
    """What was done, in a line."""
    spec = row["spec"]
    search, stop, goal = spec.get("search") or {}, spec.get("stop") or {}, spec.get("objective") or {}
    what = goal.get("metric") or ", ".join(goal.get("metrics") or ()) or goal.get("fitness", "fitness")
    early = f", early stopping by {stop['name']}" if stop.get("name", "none") != "none" else ""
    where = spec.get("data") or spec.get("trainable") or "a training of one's own"
    return f"{search.get('name', 'a search')} on {where} for {what}{early}, seed {row['seed']}"


def _facts(results: Results) -> list[tuple[str, str]]:
    """What stands at the top: (name, value)."""
    frame, row = results.trials, results.experiment
    states = frame["state"].value_counts()
    order = ("done", "stopped", "failed", "refused", "running", "queued")
    said = ", ".join(f"{states[state]:,} {state}" for state in order if state in states)
    top = results.best()
    found = [("trials", f"{len(frame):,}" + (f" ({said})" if said else ""))]
    if len(top):
        found.append(("best fitness", f"{top['fitness'].iloc[0]:.4f} (trial {top['number'].iloc[0]})"))
    hours = float(frame["seconds"].sum()) / 3600
    gpu_hours = float((frame["seconds"] * frame["gpu"].astype("float64").fillna(0.0)).sum()) / 3600
    found.append(("training", _hours(hours) + (f", {_hours(gpu_hours)} of a GPU" if gpu_hours else "")))
    found.append(("wall time", _hours(row["elapsed_s"] / 3600)))
    found.append(("ended", str(row["ended"] or "running, or killed")))
    return found


def _hours(hours: float) -> str:
    seconds = hours * 3600
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min" if seconds < 3600 else f"{hours:.1f} h"


def _verdict(results: Results) -> dict[str, Any]:
    """The latest verification: its sentences, and its networks, the best on the test split first; nothing before."""
    verdict = getattr(results, "verdict", lambda: None)()
    if verdict is None:
        return {}
    tried = sorted((each for each in verdict.networks if each.tests), key=lambda network: -network.mean)
    scores = [verdict.interval(network) for network in tried]
    low = min((mean - (half if half == half else 0.0) for mean, half in scores), default=0.0)
    high = max((mean + (half if half == half else 0.0) for mean, half in scores), default=1.0)
    reach = (high - low) or 1.0
    networks = [
        {
            "label": network.label,
            "recommended": network is verdict.recommended,
            "tied": network in verdict.tied and len(verdict.tied) > 1,
            "params": network.params,
            "score": f"{mean:.4f}" + (f" ± {half:.4f}" if half == half else ""),
            "trainings": len(network.tests),
            "at": 100 * (mean - low) / reach,
            "half": 100 * (half if half == half else 0.0) / reach,
        }
        for network, (mean, half) in zip(tried, scores, strict=True)
    ]
    return {"sentences": [str(sentence) for sentence in verdict.sentences()], "networks": networks}


def _best(results: Results, row: Any) -> dict[str, Any]:
    number_, config = int(row["number"]), results.config(int(row["number"]))
    spent = [(name, row.get(name)) for name in ("params", "flops", "latency_ms", "epochs", "seconds")]
    metrics = [(name, row.get(name)) for name in ("val_accuracy", "val_loss", "train_accuracy")]
    return {
        "number": number_,
        "fitness": row["fitness"],
        "drawing": drawing(results, number_),
        "numbers": [(name, value) for name, value in (*metrics, *spent) if value is not None and not pd.isna(value)],
        "config": config,
    }


def _failures(results: Results) -> list[tuple[str, int, str]]:
    """(kind, how many, the last line of the first of them)"""
    failed = results.trials[results.trials["state"] == "failed"]
    found = []
    for kind, part in failed.groupby("failure", dropna=False):
        texts = [str(text).strip() for text in part["error"].dropna()]
        found.append((str(kind), len(part), texts[0].splitlines()[-1] if texts and texts[0] else ""))
    return found


def _table(results: Results) -> list[dict[str, Any]]:
    """The columns of all trials: name, numeric, quiet (not shown at first), unit, meaning, values."""
    frame = results.trials.sort_values(["fitness", "number"], ascending=[False, True])
    said = results.columns().set_index("column")
    found = []
    for name in frame.columns:
        column = frame[name]
        if isinstance(column, pd.DataFrame) or column.isna().all():
            continue
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        constant = column.nunique(dropna=False) == 1 and name not in ("state", "fitness", "number")
        found.append(
            {
                "name": str(name),
                "numeric": bool(numeric),
                "quiet": name in QUIET or bool(constant),
                "meaning": " ".join(str(said.at[name, part]) for part in ("meaning", "unit") if said.at[name, part]),
                "values": [_value(value) for value in column.astype(object)],
            }
        )
    return found


def _value(value: Any) -> Any:
    """A cell as JSON knows it; moments to the second."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) else str(value)


def _provenance(results: Results) -> list[tuple[str, str]]:
    """(what, YAML): all that says how these results came to be."""
    row = results.experiment
    created = datetime.fromtimestamp(row["created"], timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    when = {"created": created, "driver_s": round(row["elapsed_s"], 1), "ended": row["ended"], "seed": row["seed"]}
    parts = {"When": when, "Experiment": row["spec"], "Data": row["data"], "Code and environment": row["fingerprints"]}
    return [(name, show_yaml(_shortened(value))) for name, value in parts.items() if value]


def _shortened(value: Any) -> Any:
    """Long lists, as of the indices of a split, by their length; the store has them whole."""
    if isinstance(value, Mapping):
        return {str(key): _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value] if len(value) <= LONG else f"({len(value):,} items, in the store)"
    return value
