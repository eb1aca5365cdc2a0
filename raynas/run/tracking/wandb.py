"""Weights & Biases: one run a trial, in the group of the search's name."""

import os

from ray.air.integrations.wandb import WandbLoggerCallback

from raynas.run.plan import Plan
from raynas.run.tracking.audience import Subject
from raynas.run.tracking.callbacks import Through


def check(project: str) -> None:
    """Raise ValueError where no API key is set and WANDB_MODE is not offline."""
    _callback(project).setup()


def _callback(given: str, **more: str | None) -> WandbLoggerCallback:
    """For `PROJECT` or `ENTITY/PROJECT`; `more` goes to wandb.init, in processes that do not see this one's WANDB_MODE."""
    entity, _, project = given.rpartition("/")
    return WandbLoggerCallback(
        project, entity=entity or None, mode=os.environ.get("WANDB_MODE"), resume="allow", **more
    )


class Wandb(Through):
    """A trial that goes on in another session goes on in its run, which takes no epoch twice. Offline runs lie in the
    experiment's folder `wandb`."""

    def __init__(self, project: str, subject: Subject, plan: Plan):
        callback = _callback(project, group=subject.name, dir=str(subject.folder))
        super().__init__(callback, subject.name, subject.key, subject.folder)
        callback.setup()
