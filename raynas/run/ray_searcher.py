"""The one adapter between Ray Tune and the ledger: Tune asks for trials and says what became of them."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from raynas.objectives import Failure
from raynas.run.ledger import Ledger
from raynas.run.progress import View, duration, note

LOOK_S = 1.0  # between two looks whether any trial runs
PATIENCE_S = 60.0  # without one, before that is said
REMIND_S = 600.0  # and before it is said again


class RaySearcher(Searcher):
    """Hands the ledger's trials to `tune.Tuner` and tells it how they ended.

    `slots` is asked each time how many may be out at once: nodes come and go.
    Nothing of it is ever pickled to disk: the Tuner's own snapshots hold an empty object, resume replays the store.
    """

    def __init__(self, ledger: Ledger | None, slots: Callable[[], int] = lambda: 1):
        super().__init__(metric="fitness", mode="max")
        self.ledger, self.slots = ledger, slots
        self.numbers: dict[str, tuple[int, int]] = {}  # Ray's trial id: number and attempt

    def __reduce__(self) -> Any:
        return RaySearcher, (None,)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **_: Any) -> bool:
        return metric in (None, "fitness") and mode in (None, "max") and not config

    def suggest(self, trial_id: str) -> Any:
        assert self.ledger is not None
        if len(self.ledger.out) >= self.slots():
            return None
        trial = self.ledger.next()
        if trial == "wait":
            return None
        if trial == "end":
            return Searcher.FINISHED
        assert not isinstance(trial, str)
        self.numbers[trial_id] = trial.number, trial.attempt
        given = {
            "number": trial.number,
            "attempt": trial.attempt,
            "config": trial.config,
            "cost": trial.cost,
            "seed": trial.seed,
            "checkpoint": str(self.ledger.checkpoint(trial)),
            **self.ledger.resources,
        }
        return {"trial": given}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        assert self.ledger is not None
        if not error:  # errors come with their exception to Hearing.on_trial_error
            result = result or {}
            ended, text, fatal = result.get("ended"), result.get("error"), bool(result.get("fatal"))
            self.ledger.end(*self.numbers[trial_id], ended, text, fatal)

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("raynas resumes from its store")


class Hearing(tune.Callback):
    """Writes every report to the ledger and keeps the view fresh. `name` makes a node's name of host name and address."""

    def __init__(
        self,
        ledger: Ledger | None,
        view: View | None,
        name: Callable[[str, str], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.ledger, self.view, self.name, self.clock = ledger, view, name, clock
        self.looked = self.worked = clock()  # when it was last looked whether any trial runs, and when one did
        self.patience_s = PATIENCE_S

    def __reduce__(self) -> Any:
        return Hearing, (None, None)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        assert self.view is not None
        assert self.ledger is not None
        if self.ledger.meter.budget_s is not None:  # a budget of GPU hours counts those that run, not those that wait
            self.ledger.meter.running(trial.config["trial"]["number"] for trial in trials if trial.status == "RUNNING")
        self._say_when_none_runs(trials)
        self.view.refresh()

    def _say_when_none_runs(self, trials: list[Any]) -> None:
        """Ray waits for ever, and silently, for a node that could run what is asked for."""
        assert self.ledger is not None
        now = self.clock()
        if now - self.looked < LOOK_S:
            return
        self.looked = now
        if not self.ledger.out or any(trial.status == "RUNNING" for trial in trials):
            self.worked, self.patience_s = now, PATIENCE_S
        elif now - self.worked >= self.patience_s:
            given = self.ledger.resources
            note(
                f"note: no trial has run for {duration(now - self.worked)}: no node has {given['cpu']:g} cpu and {given['gpu']:g} gpu "
                "free; waiting (`ray status` says what the cluster has). Ctrl-C keeps what is done"
            )
            self.patience_s = now - self.worked + REMIND_S

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        assert self.ledger is not None
        assert self.name is not None
        number, given = result["number"], trial.config["trial"]
        if "fitness" in result:
            said = {key: result[key] for key in ("attempt", "epoch", "metrics", "fitness", "seconds")}
            node = self.name(result["hostname"], result["node_ip"])
            if (
                self.ledger.hear(number, **said, node=node, last="ended" in result)
                and given["config"] != self.ledger.trials[number].config
            ):
                self.ledger.reconfigure(number, given["config"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        assert self.ledger is not None
        given = trial.config["trial"]
        text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else "its process died"
        failure = loss(text)
        self.ledger.lose(given["number"], given["attempt"], failure, text)


# What Ray says of a process or node that went away. One that has just gone with its node is only "unavailable" for a while.
GONE = re.compile(
    r"(actor|worker|node|raylet) died|[Aa]ctor \w+ is unavailable|Object(Lost|FetchTimedOut)Error|OwnerDiedError"
)


def loss(text: str) -> Failure:
    """What the loss of a process means: out of memory, an error of the code, or bad luck."""
    if "OutOfMemoryError" in text or "running low on memory" in text:
        return "oom"
    return "lost" if GONE.search(text) and "error raised in its creation task" not in text else "error"


class Stopping(tune.Stopper):
    """Ends the whole run when the ledger says that what runs is to be let go."""

    def __init__(self, ledger: Ledger | None):
        self.ledger = ledger

    def __reduce__(self) -> Any:
        return Stopping, (None,)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.ledger is not None and self.ledger.must_stop
