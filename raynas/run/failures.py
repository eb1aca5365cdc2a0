"""When failing trials mean a broken script, not bad luck."""

from raynas.objectives import Trial

ALIKE = 3  # the search stops when this many first trials fail in the same way


def all_alike(ended: list[Trial]) -> bool:
    """Whether the first `ALIKE` trials of a session, and no others yet, failed in one way that is the code's."""
    kinds = {_signature(trial) for trial in ended[:ALIKE]}
    return len(ended) == ALIKE and len(kinds) == 1 and None not in kinds


def _signature(trial: Trial) -> tuple[str, ...] | None:
    """By what two failures are alike: the kind, the exception's type and the place it was raised at."""
    if trial.failure not in ("error", "lost"):
        return None
    lines = (trial.error or "").strip().splitlines() or [""]
    places = [line.strip() for line in lines if line.strip().startswith("File ")]
    return (trial.failure, lines[-1].split(":")[0], places[-1] if places else "")
