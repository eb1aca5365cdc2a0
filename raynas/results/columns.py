"""The columns of every frame: their types, units and meanings. What a frame has beyond these are the experiment's own
parameters and metrics."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd


class Column(NamedTuple):
    """`dtype` is pandas's name of the type; those with a capital (Int64, Float64) and `string` can be missing."""

    dtype: str
    unit: str
    meaning: str


MOMENT = "datetime64[ns, UTC]"
_NUMBER = Column("int64", "", "the trial's number, from 0 on")
_FITNESS = Column("float64", "objective", "higher is better; of the last report; missing for failed trials")

TRIALS = {
    "number": _NUMBER,
    "state": Column("string", "", "queued, running, done, stopped (early), failed, refused (breaks a limit)"),
    "fitness": _FITNESS,
    "epochs": Column("Int64", "epochs", "the last epoch that was reported"),
    "params": Column("Int64", "", "trainable parameters of the network"),
    "flops": Column("Int64", "", "of one forward pass of one image; a multiply and an add are two"),
    "memory_mb": Column("Float64", "10^6 bytes", "float32 weights and the largest layer's input and output"),
    "seconds": Column("float64", "s", "spent training, all attempts"),
    "cpu": Column("Float64", "CPUs", "what the trial was given"),
    "gpu": Column("Float64", "GPUs", "what the trial was given, a share or whole ones"),
    "attempt": Column("int64", "", "how often it was started; more than 1 after its process was lost"),
    "node": Column("string", "", "where its last report came from"),
    "duplicate_of": Column("Int64", "", "the trial with the same network, which answered this one"),
    "failure": Column("string", "", "error, diverged, oom, lost"),
    "error": Column("string", "", "what a failed or refused trial said"),
    "identity": Column("string", "", "equal for configs that mean the same network trained the same way"),
    "seed": Column("int64", "", "of the trial's weights and batches"),
    "origin": Column("string", "JSON", "where the config came from: operator, parents, generation"),
    "created": Column(MOMENT, "UTC", "when the searcher proposed it"),
    "started": Column(MOMENT, "UTC", "when it was first placed"),
    "ended": Column(MOMENT, "UTC", "when it was over"),
}

CURVES = {
    "number": _NUMBER,
    "epoch": Column("int64", "epochs", "how far the trial was"),
    "fitness": Column("float64", "objective", "higher is better; at this epoch"),
    "seconds": Column("float64", "s", "spent on this epoch"),
    "attempt": Column("int64", "", "which attempt reported it"),
}

METRICS = {
    "train_loss": Column("float64", "nats", "mean cross-entropy over the epoch's training batches"),
    "train_accuracy": Column("float64", "share", "right answers over the epoch's training batches"),
    "val_loss": Column("float64", "nats", "mean cross-entropy on validation"),
    "val_accuracy": Column("float64", "share", "right answers on validation"),
    "lr_last": Column("float64", "", "learning rate of the epoch's last step"),
    "images_per_s": Column("float64", "images/s", "training speed"),
    "latency_ms": Column("float64", "ms", "median forward pass, measured before training"),
    "latency_iqr_ms": Column("float64", "ms", "its interquartile range"),
}

FRAMES: dict[str, Mapping[str, Column]] = {
    "trials": TRIALS,
    "curves": CURVES,
    "generations": {
        "generation": Column("Int64", "", "from 0 on"),
        "trials": Column("int64", "", "how many it had, twins and refused ones left out"),
        "judged": Column("int64", "", "how many of them have a fitness"),
        "best": Column("float64", "objective", "the highest fitness"),
        "mean": Column("float64", "objective", "the mean fitness"),
        "worst": Column("float64", "objective", "the lowest fitness"),
        "best_trial": Column("Int64", "", "the number of the best"),
        "best_so_far": Column("float64", "objective", "the highest fitness up to this generation"),
    },
    "rungs": {
        "epoch": Column("int64", "epochs", "a rung: an epoch at which trials ended, or at which the rule decides"),
        "reached": Column("int64", "", "trials that reported this epoch"),
        "stopped": Column("int64", "", "trials that were stopped early here"),
        "failed": Column("int64", "", "trials that failed on the way to this rung"),
        "done": Column("int64", "", "trials that ended here by themselves"),
        "best": Column("float64", "objective", "the highest fitness at this epoch"),
        "median": Column("float64", "objective", "the median fitness at this epoch"),
        "best_trial": Column("Int64", "", "the number of the best at this epoch"),
        "seconds": Column("float64", "s", "spent by all trials since the rung before"),
    },
    "importances": {
        "name": Column("string", "", "a parameter, or a decision of an architecture (architecture.layers)"),
        "kind": Column("string", "", "architecture, parameter or cost"),
        "importance": Column("float64", "share", "of the variance of fitness that it explains alone; mean of the repeats"),
        "spread": Column("float64", "share", "standard deviation over the repeats, each on resampled trials"),
        "active": Column("float64", "share", "of the trials in which the decision matters (a fifth layer is there)"),
        "epoch": Column("int64", "epochs", "where all trials were judged"),
        "trials": Column("int64", "", "how many were judged"),
    },
    "compare": {
        "experiment": Column("string", "", "its name"),
        "search": Column("string", "", "its searcher"),
        "seed": Column("int64", "", "its seed"),
        "trials": Column("int64", "", "trials that ended so far, twins and refused ones left out"),
        "number": _NUMBER,
        "seconds": Column("float64", "s", "since its first trial was placed, pauses between sessions included"),
        "cpu_hours": Column("float64", "h", "training time so far times the CPUs of each trial"),
        "gpu_hours": Column("float64", "h", "training time so far times the GPUs of each trial"),
        "fitness": Column("float64", "objective", "of this trial"),
        "best": Column("float64", "objective", "the best so far, by the rule of `best`"),
    },
    "rank_test": {
        "one": Column("string", "", "a group of experiments"),
        "other": Column("string", "", "another"),
        "n_one": Column("int64", "", "experiments in it"),
        "n_other": Column("int64", "", "experiments in the other"),
        "trials": Column("int64", "", "the number of trials at which all were compared: what the shortest had"),
        "median_one": Column("float64", "objective", "median of the best so far"),
        "median_other": Column("float64", "objective", "median of the best so far"),
        "u": Column("float64", "", "Mann-Whitney's U of the first: pairs in which it was better, ties half"),
        "p": Column("Float64", "", "two-sided; missing where too few experiments could ever say"),
        "p_least": Column("float64", "", "the least p that so many experiments can give"),
        "said": Column("string", "", "what that means, in words"),
    },
}  # fmt: skip


def typed(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame with the documented columns in their documented types."""
    table = FRAMES[name]
    return frame.astype({column: table[column].dtype for column in frame.columns if column in table})


def describe(frame: pd.DataFrame, name: str, parameters: Mapping[str, object]) -> pd.DataFrame:
    """Every column of a frame: column, dtype, unit, meaning. `parameters` are those of the space as YAML writes them."""
    rows = []
    for column in frame.columns:
        known = FRAMES[name].get(column) or (METRICS.get(column) if column not in parameters else None)
        said = f"parameter: {parameters[column]}" if column in parameters else "reported by the training"
        unit, meaning = (known.unit, known.meaning) if known else ("", said)
        rows.append((column, str(frame[column].dtype), unit, meaning))
    return pd.DataFrame(rows, columns=["column", "dtype", "unit", "meaning"])
