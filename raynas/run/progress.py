"""What a person sees while it runs: one live view on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any, Protocol, TextIO

from raynas.objectives import Trial
from raynas.run.ledger import Ledger

FRESH_S = 0.25  # between two drawings of the live view
SILENCE_S = 60.0  # the longest between two plain lines while trials report
SHOWN = 3  # trials under way


def note(text: str) -> None:
    """What is no part of the view: it goes where a pipe does not take it."""
    print(text, file=sys.stderr, flush=True)


class View(Protocol):
    """Looks at a ledger; `refresh` is called often and must be cheap."""

    def refresh(self) -> None: ...

    def close(self) -> None: ...


class Silent:
    """Shows nothing."""

    def refresh(self) -> None:
        pass

    def close(self) -> None:
        pass


def duration(seconds: float) -> str:
    """`75` as `1m15s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def eta_s(ledger: Ledger, epochs: int | None) -> float | None:
    """Seconds until the first part of the budget is used up: the wall time, the GPU hours at what runs now, the trials at the pace
    of this session, of `epochs` a trial. None where nothing says so yet."""
    found = [_trials_s(ledger, epochs)]
    if ledger.budget.wall_time_s is not None:
        found.append(max(0.0, ledger.budget.wall_time_s - ledger.elapsed_s))
    if ledger.meter.budget_s is not None and ledger.meter.since:
        left = max(0.0, ledger.meter.budget_s - ledger.meter.spent_s)
        found.append(left / (ledger.meter.gpus * len(ledger.meter.since)))
    if found[0] is None and ledger.budget.trials is not None:
        return None  # before anything was reported
    return min((seconds for seconds in found if seconds is not None), default=None)


def _trials_s(ledger: Ledger, epochs: int | None) -> float | None:
    """Of the trials' part."""
    halfway = sum(min(1.0, trial.epoch / epochs) for trial in ledger.out.values()) if epochs else 0.0
    done = len(ledger.ended_here) + halfway
    if not done or ledger.budget.trials is None:
        return None
    left = ledger.budget.trials - ledger.trained + len(ledger.out) + len(ledger.queue) - halfway
    return max(0, left) * (time.monotonic() - (ledger.first_start or ledger.session_began)) / done


def ended(ledger: Ledger) -> int:
    """Trials that count for the budget and are over."""
    own = (trial for trial in ledger.trials.values() if trial.duplicate_of is None)
    return sum(trial.ended and trial.state != "refused" for trial in own)


def counts(ledger: Ledger) -> dict[str, int]:
    """Trials by state."""
    found = {"done": 0, "running": len(ledger.out), "stopped": 0, "failed": 0, "refused": 0}
    for trial in ledger.trials.values():
        if trial.ended:
            found[trial.state] += 1
    return found


def shown(config: dict[str, Any], width: int = 60) -> str:
    """A config on one line: the architecture first, numbers short."""
    parts = []
    for name in sorted(config, key=lambda key: (key != "architecture", key)):
        value = config[name]
        if name == "architecture":
            parts.append(str(value))
        elif name != "model":
            parts.append(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}")
    text = "  ".join(parts)
    return text if len(text) <= width else text[: width - 1] + "…"


def end_of(trial: Trial) -> str:
    """How a trial ended, in a few words."""
    if trial.duplicate_of is not None:
        return f"same as {trial.duplicate_of}"
    if trial.state == "failed":
        return f"failed ({trial.failure})"
    return f"{trial.state} after {trial.epoch} epoch{'s' if trial.epoch != 1 else ''}"


def under_way(ledger: Ledger, epochs: int | None) -> list[str]:
    """The trials that have reported and not ended, the furthest first."""
    trials = sorted((trial for trial in ledger.out.values() if trial.curve), key=lambda trial: -trial.epoch)
    of = f"/{epochs}" if epochs else ""
    return [f"trial {trial.number}: epoch {trial.epoch}{of}, {trial.curve[-1][1]:.4f}" for trial in trials[:SHOWN]]


def news(ledger: Ledger) -> list[str]:
    """What the searcher has to say, so far."""
    return getattr(ledger.searcher, "news", [])


class Lines:
    """One line for each trial that ended; where that takes long, now and then how far the others are."""

    def __init__(self, ledger: Ledger, epochs: int | None, file: TextIO | None = None):
        self.ledger, self.epochs, self.file = ledger, epochs, file or sys.stdout
        self.spoke = time.monotonic()
        self.said = len(ledger.ended_here)
        self.before = ended(ledger) - self.said  # in earlier sessions
        self.heard = len(news(ledger))

    def refresh(self) -> None:
        for text in news(self.ledger)[self.heard :]:
            self.heard += 1
            self._say(text)
        for trial in self.ledger.ended_here[self.said :]:
            self.said += 1
            best = self.ledger.best()
            fitness = "-" if trial.fitness is None else f"{trial.fitness:.4f}"
            top = f"{best[0].fitness:.4f} (trial {best[0].number})" if best else "-"
            total = self.ledger.budget.trials or "?"
            line = f"[{self.before + self.said}/{total}] trial {trial.number} {end_of(trial)}, fitness {fitness}, best {top}"
            self._say(line + self._left())
        running = under_way(self.ledger, self.epochs) if time.monotonic() - self.spoke >= SILENCE_S else []
        if running:
            self._say("  ".join(running) + self._left())

    def _say(self, line: str) -> None:
        print(line, file=self.file, flush=True)
        self.spoke = time.monotonic()

    def _left(self) -> str:
        left = eta_s(self.ledger, self.epochs)
        return f", {duration(left)} left" if left and left >= 1 else ""

    def close(self) -> None:
        self.refresh()


class Live:
    """One rich view: counts, best so far, time left, how far trials are, the five best."""

    def __init__(self, ledger: Ledger, epochs: int | None, name: str, console: Any = None):
        from rich.live import Live as RichLive

        self.ledger, self.epochs, self.name, self.drawn = ledger, epochs, name, 0.0
        self.heard = len(news(ledger))
        self.live = RichLive(self._draw(), auto_refresh=False, console=console)
        self.live.start()

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        found, left = counts(self.ledger), eta_s(self.ledger, self.epochs)
        states = "  ".join(
            f"{count} {state}" for state, count in found.items() if count or state not in ("failed", "refused")
        )
        head = Text.assemble((self.name, "bold"), f"  {states}", f"  {duration(self.ledger.elapsed_s)}")
        head.append(f"  {duration(left)} left" if left is not None else "")
        total = self.ledger.budget.trials
        bar = ProgressBar(total=total, completed=ended(self.ledger), width=60, pulse=total is None)
        running = Text("   ".join(under_way(self.ledger, self.epochs)), style="dim")
        return Group(head, bar, running, top_table(self.ledger.best(5), Table(box=None, pad_edge=False)))

    def refresh(self) -> None:
        if time.monotonic() - self.drawn >= FRESH_S:
            self.drawn = time.monotonic()
            for text in news(self.ledger)[self.heard :]:
                self.heard += 1
                self.live.console.print(text)
            self.live.update(self._draw(), refresh=True)

    def close(self) -> None:
        self.live.update(self._draw(), refresh=True)
        self.live.stop()


def top_table(best: list[Trial], table: Any) -> Any:
    """The best trials as rows of a rich table."""
    table.add_column("trial", justify="right")
    table.add_column("fitness", justify="right")
    table.add_column("epochs", justify="right")
    table.add_column("config", overflow="ellipsis", no_wrap=True)
    for trial in best:
        table.add_row(str(trial.number), f"{trial.fitness:.4f}", str(trial.epoch), shown(trial.config, 200))
    return table
