"""The model card: README.md of an exported folder, with the front matter that Hugging Face reads."""

import json
import re
from typing import Any

from raynas.exports.formats import FORMATS
from raynas.exports.record import Record

READS = {"accuracy": ("val_accuracy",), "loss": ("val_loss",), "genome": ("val_accuracy", "params")}
WORDS = {"val_accuracy": "accuracy on validation", "val_loss": "loss on validation", "params": "number of parameters"}


def _plain(text: str) -> str:
    """Someone's text as words of Markdown: what would be markup or HTML is escaped, and it stays on its line."""
    return re.sub(r"([\\`*_{}\[\]()<>#|!~&])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Someone's text as a span of code, which no sign in it can end."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def card(record: Record, images: int) -> str:
    """Markdown. `images` is how many the formats were compared on."""
    parts = [
        _front(record),
        f"# {record.title}",
        _about(record),
        "## How good\n\n" + _scores(record),
        "## The network\n\n" + _network(record),
        "## Use it\n\n" + _use(record),
        "## Files\n\n" + _files(record, images),
        "## What it cost\n\n" + _cost(record),
        "## Limits\n\n" + _limits(record),
        "## Where it comes from\n\n" + _origin(record),
    ]
    return "\n\n".join(parts) + "\n"


def _front(record: Record) -> str:
    """YAML, its values written as JSON, which YAML includes."""
    scores = {"validation accuracy": record.metrics.get("val_accuracy")}
    scores["test accuracy"] = None if record.test is None else record.test.accuracy
    results = {
        "task": {"type": "image-classification"},
        "dataset": {"name": record.data["name"], "type": record.data["name"]},
        "metrics": [
            {"type": "accuracy", "name": name, "value": round(value, 6)}
            for name, value in scores.items()
            if value is not None
        ],
    }
    fields: dict[str, Any] = {
        "library_name": "raynas",
        "pipeline_tag": "image-classification",
        "tags": ["raynas", "neural-architecture-search"],
        "metrics": ["accuracy"],
        "model-index": [{"name": record.title, "results": [results]}],
    }
    return "\n".join(
        ["---", *(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()), "---"]
    )


def _about(record: Record) -> str:
    shape = " x ".join(str(side) for side in record.input_shape)
    what = "labels" if record.task == "multi-label" else "classes"
    found = f"{record.search.searcher}, {_several(record.search.trials, 'network')} trained"
    return (
        f"An image classifier for {shape} images of {_code(record.data['name'])} ({record.classes} {what}), which raynas "
        f"{_whose(record, found)}."
    )


def _whose(record: Record, search: str) -> str:
    """Which network it is, and which training of it."""
    verified, name = record.verified, record.name.partition("/")[0]
    if verified is None:
        return f"found: trial {record.trial} of `{record.name}` ({search})"
    verification = f"its verification `{verified.verification}`"
    best = ", the best of them on validation" if verified.recommended and verified.trainings > 1 else ""
    this = f"trained anew {_times(verified.trainings)}: this is training {record.trial} of it{best}"
    if verified.kind != "finalist":
        return f"trained beside the search `{name}` ({search}): {verified.label}, which {verification} {this}"
    finalist = f"found: {verified.label} (trial {verified.of} of the search `{name}`; {search})"
    return f"{finalist}, {'recommended' if verified.recommended else 'compared'} by {verification} and {this}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _reads(record: Record) -> tuple[str, ...]:
    """The metrics that the search chose by."""
    objective = record.search.objective
    named = (
        objective.get("weights")
        or objective.get("metrics")
        or [objective[key] for key in ("metric",) if key in objective]
    )
    return READS.get(str(objective.get("fitness")), tuple(named))


def _chosen(record: Record) -> str:
    """What validation accuracy was to the search, or to the verification."""
    if record.verified is not None:
        count = record.verified.trainings
        return f"{'the best of' if record.verified.recommended else 'one of'} {_several(count, 'training')}"
    reads = _reads(record)
    return (
        "the search did not choose by it"
        if "val_accuracy" not in reads
        else f"the search chose by it{' and others' * (len(reads) > 1)}"
    )


def _scores(record: Record) -> str:
    rows = ["| split | images | accuracy | 95 % interval |", "|---|---|---|---|"]
    if "val_accuracy" in record.metrics:
        rows.append(
            f"| validation | {record.data['validation']:,} | {record.metrics['val_accuracy']:.4f} | {_chosen(record)} |"
        )
    if record.test is not None:
        test = record.test
        rows.append(f"| test | {test.images:,} | {test.accuracy:.4f} | {test.low:.4f} to {test.high:.4f} |")
        return "\n".join(rows) + _over_seeds(record)
    there = record.data["test"]
    search = record.name.partition("/")[0]
    why = f"`raynas verify {search}` scores it" if there else "the data has none"
    alone = f"| test | {there:,} | not scored alone | see below |" if record.verified else ""
    return "\n".join([*rows, alone or f"| test | {there:,} | not scored | {why} |"]) + _over_seeds(record)


def _over_seeds(record: Record) -> str:
    """What the verification says of the network, whatever the seed."""
    verified = record.verified
    if verified is None:
        return ""
    half = "" if verified.half is None else f" ± {verified.half:.4f}"
    why = "mean and its 95 % interval over seeds" if half else "no interval of one training"
    return (
        f"\n\nThe table is of this training, its interval of the choice of images alone. Trained {_times(verified.trainings)} from fresh "
        f"seeds, the network has a test accuracy of {verified.mean:.4f}{half} ({why})."
    )


def _network(record: Record) -> str:
    cost = record.cost
    counts = f"{cost['params']:,} parameters" if "params" in cost else "Parameters were not counted"
    counts += f"; {cost['flops']:,} FLOPs an image (a multiply and an add are two)" if "flops" in cost else ""
    counts += f"; {cost['memory_mb']:,.3g} MB of memory at least" if "memory_mb" in cost else ""
    config = "\n".join(f"{name}: {json.dumps(value)}" for name, value in record.config.items())
    classes = ", ".join(f"{number} {_plain(name)}" for number, name in enumerate(record.class_names))
    named = f"\n\nClasses: {classes}." if not all(name.isdecimal() for name in record.class_names) else ""
    return f"{counts}. Its config, architecture and hyperparameters:\n\n```yaml\n{config}\n```{named}"


def _use(record: Record) -> str:
    channels, height, width = record.input_shape
    mean, std = (", ".join(f"{value:.6g}" for value in values) for values in (record.mean, record.std))
    rule = (
        f"Every format takes images `(batch, {channels}, {height}, {width})`, float32, {record.units}, any number at once, and "
        f"gives `(batch, {record.classes})` logits. Normalisation (mean {mean}, std {std}, those of the training images) is in it."
    )
    example = f"torch.zeros(1, {channels}, {height}, {width})  # put images here: {record.units}"
    blocks = [BLOCKS[name].format(example=example, activation=_activation(record)) for name in record.formats]
    return "\n\n".join([rule, "From this folder:", *blocks])


def _activation(record: Record) -> str:
    return "sigmoid()" if record.task == "multi-label" else "softmax(dim=1)"


PREDICT = """\
With raynas, which also reads image files and brings them to size:

```bash
raynas predict . photo.png
```

```python
import raynas

print(raynas.predict(".", "photo.png"))
```"""
TORCH = """\
With torch only, as a program:

```python
import torch

network = torch.export.load("model.pt2").module()
images = {example}
with torch.no_grad():
    print(network(images).{activation})
```"""
ONNX = """\
With onnxruntime:

```python
import numpy
import onnxruntime
import torch

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
images = {example}
(logits,) = session.run(["logits"], {{"images": images.numpy()}})
print(numpy.round(logits, 3))
```"""
PYTHON = """\
With torch only, as code to read, change and train on (`network.py` imports nothing else):

```python
import torch
from network import load

network = load()
images = {example}
with torch.no_grad():
    print(network(images).{activation})
```"""
BLOCKS = {"safetensors": PREDICT, "torch": TORCH, "onnx": ONNX, "python": PYTHON}


def _files(record: Record, images: int) -> str:
    rows = ["| file | what | largest difference of a logit |", "|---|---|---|"]
    for name, difference in record.formats.items():
        files = ", ".join(f"`{file}`" for file in FORMATS[name].files)
        rows.append(f"| {files} | {FORMATS[name].about} | {difference:.2g} |")
    return "\n".join([*rows, "", f"Differences are from the network as it was trained, on {images} real images."])


def _cost(record: Record) -> str:
    search = record.search
    training = ", ".join(f"{name} {value}" for name, value in record.training.items() if value is not None)
    verified = record.verified
    verification = (
        ""
        if verified is None
        else (
            f"The verification: {_several(verified.all_trainings, 'training')} in {verified.training_s:,.0f} s of training, "
            f"{verified.elapsed_s:,.0f} s in all. "
        )
    )
    return (
        f"The search: {_several(search.trials, 'network')} trained in {search.training_s:,.0f} s of training, {search.elapsed_s:,.0f} s in all "
        f"(seed {search.seed}). {verification}This {'network' if verified is None else 'training'}: {_several(record.epochs, 'epoch')} in "
        f"{record.training_s:,.0f} s; {training}."
    )


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _limits(record: Record) -> str:
    sizes = record.data
    channels, height, width = record.input_shape
    lines = [
        f"It has seen {sizes['train']:,} training images of {_code(sizes['name'])} and nothing else; images of another kind get an "
        "answer too, and no warning.",
        _flattered(record),
        f"Image files are made {'grey' if channels == 1 else 'RGB'} and {width} x {height}, cut off evenly where the sides differ.",
        "Its probabilities are not calibrated, and it was not examined for fairness. The data's licence and limits are its own.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _flattered(record: Record) -> str:
    """Which scores the choice of this network has made too good."""
    verified, reads = record.verified, _reads(record)
    by = " and ".join(WORDS.get(name, _code(name)) for name in reads) or "fitness"
    again = any(name.startswith("val_") for name in reads)
    if verified is None:
        said = f"The search chose it by its {by}" + (", which therefore flatters it." if again else ".")
        return said + ("" if record.test else " Nothing is known of it on images that the search has not used.")
    if verified.kind != "finalist":
        return "It was not chosen: it is what the search was compared with."
    said = f"The search chose the network by its {by}" + (", so that validation flatters it." if again else ".")
    among = f" The verification chose among {verified.finalists} by their test accuracy, which flatters that a little."
    return said + among * (verified.recommended and verified.finalists > 1)


def _origin(record: Record) -> str:
    found = record.fingerprints
    versions = ", ".join(f"{name} {version}" for name, version in found.get("versions", {}).items() if version)
    rows = [
        f"- data: {_code(record.data['name'])}, sha256 `{record.data['sha256']}`",
        f"- code: sha256 `{found.get('code', 'unknown')}`",
        f"- trained with Python {found.get('python', '?')}, {versions or 'versions unknown'}",
        f"- on {found.get('platform', 'an unknown platform')}",
    ]
    return "\n".join([*rows, "", "`model.json` has all of this for programs."])
