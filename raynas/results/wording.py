"""A verdict in sentences."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raynas.results.verdict import Network, Verdict


def sentences(verdict: "Verdict") -> list[str]:
    """What was found, most important first, then how much it may be trusted."""
    if verdict.best is None:
        return ["No finalist could be trained: there is nothing to recommend.", *_failures(verdict), *verdict.notes]
    said = [*_choice(verdict), *_random(verdict), *_baseline(verdict), *_ensemble(verdict)]
    return [*said, *_caution(verdict), *_failures(verdict), *verdict.notes, _looks(verdict)]


def _pm(value: float, half: float) -> str:
    return f"{value:.4f}" + ("" if math.isnan(half) else f" ± {half:.4f}")


def _score(verdict: "Verdict", network: "Network") -> str:
    return _pm(*verdict.interval(network))


def _size(network: "Network") -> str:
    return "parameters unknown" if network.params is None else f"{network.params:,} parameters"


def _choice(verdict: "Verdict") -> list[str]:
    best, recommended = verdict.best, verdict.recommended
    assert best is not None
    assert recommended is not None
    tied = [network.label for network in verdict.tied if network is not best]
    count = len(verdict.of_kind("finalist"))
    how = ""
    if tied:
        how = (
            ", the smallest of those that are tied with the best"
            if recommended is not best
            else ", the best and the smallest of those tied with it"
        )
    said = [
        f"Recommended: {recommended.label} ({_size(recommended)}), test accuracy {_score(verdict, recommended)}{how}."
    ]
    if tied:
        said.append(
            f"Best on the test split: {best.label}, {_score(verdict, best)}; tied with it, which is not told apart from it by "
            f"this many trainings: {', '.join(tied)}."
        )
    elif count > 1:
        said.append(f"It is the best of the {count} finalists; no other is tied with it.")
    return said


def _random(verdict: "Verdict") -> list[str]:
    found, pick, many = verdict.against_random, verdict.pick, verdict.affordable
    if found is None or pick is None or many is None:
        return ["No random network was trained: whether the search was worth its cost cannot be said."]
    count = len(verdict.of_kind("random"))
    whose = "the one random network" if count == 1 else f"the best of {min(many, count)} random networks"
    cost = f"The search and its finalists took as much training as {many:,} random network{'s' if many > 1 else ''} in full."
    by = _pm(abs(found.value), found.half)
    said = {
        "yes": f"Search beat random at equal cost: {pick.label} is {by} better on the test split than {whose}.",
        "worse": f"Random beat the search at equal cost: {whose} is {by} better on the test split than {pick.label}.",
        "no": f"The search did not show itself better than random: {pick.label} against {whose}, "
        f"{_pm(found.value, found.half)} on the test split.",
        "unsure": f"{pick.label.capitalize()} is {by} better on the test split than {whose}.",
    }[verdict.beats_random or "no"]
    if verdict.beats_random != "unsure":
        return [said, cost]
    return [
        f"{said} Whether it beats the best of {many:,}, which is equal cost, cannot be said from {count}: up to "
        f"{verdict.most_above():.0%} of random networks may be better than it (95 %). "
        f"--random {many} would show it.",
        cost,
    ]


def _baseline(verdict: "Verdict") -> list[str]:
    said = []
    for network in verdict.of_kind("baseline"):
        assert verdict.recommended is not None
        found = verdict.difference(verdict.recommended, network)
        gap = _pm(abs(found.value), found.half)
        size = f"the {network.label} ({_size(network)})"
        if found.p <= 0.05:
            word = "better" if found.value > 0 else "worse"
            said.append(f"{verdict.recommended.label.capitalize()} is {gap} {word} than {size}.")
        else:
            said.append(
                f"{verdict.recommended.label.capitalize()} is not told apart from {size}: {_pm(found.value, found.half)}."
            )
    return said


def _ensemble(verdict: "Verdict") -> list[str]:
    made = verdict.ensemble
    if made is None:
        return []
    half = verdict.images_half(made.accuracy)
    return [
        f"An ensemble of {len(made.members)} of the finalists' trainings, chosen on validation, has test accuracy "
        f"{_pm(made.accuracy, half)} (the interval is of the test images; it was scored once)."
    ]


def _caution(verdict: "Verdict") -> list[str]:
    best = verdict.best
    assert best is not None
    images = (
        f"Intervals are of the mean over trainings (95 %); which {verdict.images:,} images are in the test split adds "
        f"± {verdict.images_half(best.mean):.4f}, much the same for all networks."
    )
    said = [images]
    high = verdict.optimism(best)
    if len(verdict.of_kind("finalist")) > 1 and not math.isnan(high):
        said.append(
            f"The best was named by its test scores, which makes its mean too high by up to {high:.4f} on average."
        )
    if min(len(network.tests) for network in verdict.networks if network.tests) < 3:
        said.append("Fewer than three trainings of a network tell little apart: --seeds 3 or more is better.")
    if verdict.objective != "accuracy":
        said.append(f"The search was for {verdict.objective}; this compares test accuracy alone.")
    return said


def _failures(verdict: "Verdict") -> list[str]:
    return [
        f"{network.failed} of {network.failed + len(network.tests)} trainings of {network.label} failed and count nowhere."
        for network in verdict.networks
        if network.failed
    ]


def _looks(verdict: "Verdict") -> str:
    trainings = sum(len(network.tests) for network in verdict.networks)
    return (
        f"The test split was scored once at the end of each of {trainings} trainings, never in the search; this is "
        f"verification {verdict.turn} of it."
    )
