"""Ensembles by forward selection with replacement (Caruana et al., 2004)."""

from typing import Any

import numpy as np

from raynas.data import Dataset
from raynas.results.results import Results
from raynas.results.verdict import Ensemble, Network
from raynas.run.winner import trained_model
from raynas.tables import InputError
from raynas.train.checkpoint import has_checkpoint

ROUNDS = 30  # members at most, with repetition


def right(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Accuracy (for multi-label data the mean share of right labels), and the mean log-likelihood, which breaks ties."""
    if labels.ndim == 2:
        hit, likely = (probabilities > 0.5) == (labels > 0.5), np.where(labels > 0.5, probabilities, 1 - probabilities)
    else:
        hit, likely = probabilities.argmax(axis=1) == labels, probabilities[np.arange(len(labels)), labels]
    return float(hit.mean()), float(np.log(np.maximum(likely, 1e-12)).mean())


def choose(predictions: list[np.ndarray], labels: np.ndarray, rounds: int = ROUNDS) -> list[int]:
    """How often each of `predictions` (each (N, C)) is in the ensemble: the one that helps most on `labels` is added, again
    and again, and the best of all the ensembles on the way is taken (the paper's sec. 2, with replacement)."""
    total, counts = np.zeros_like(predictions[0]), [0] * len(predictions)
    best, kept = (-1.0, -np.inf), list(counts)
    for size in range(1, rounds + 1):
        scores = [right((total + each) / size, labels) for each in predictions]
        chosen = max(range(len(predictions)), key=lambda place: (scores[place], -place))
        total, counts[chosen] = total + predictions[chosen], counts[chosen] + 1
        if scores[chosen] > best:
            best, kept = scores[chosen], list(counts)
    return kept


def mix(predictions: list[np.ndarray], counts: list[int]) -> np.ndarray:
    """The mean of the predictions, each as often as it counts."""
    return np.average(predictions, axis=0, weights=counts)


def ensemble_of(verification: Results, networks: tuple[Network, ...], data: Dataset) -> Ensemble:
    """The ensemble of the finalists' trainings: chosen on validation, then scored on the test split. Raises InputError where
    their weights are gone."""
    import torch

    from raynas.data.batches import Batches
    from raynas.train.predict import probabilities
    from raynas.train.recipe import recipe_for

    assert data.test is not None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    numbers = [number for network in networks if network.kind == "finalist" for number in network.trials]
    if not numbers:
        raise InputError("no finalist could be trained: there is nothing to make an ensemble of")
    for number in numbers:
        if not has_checkpoint(verification.folder / "checkpoints" / f"{number:05d}"):
            raise InputError(f"the weights of training {number} of '{verification.name}' are gone; --again trains anew")

    def predict(number: int, split: Any) -> np.ndarray:
        network = trained_model(verification, number).to(device)
        recipe = recipe_for(verification.experiment["spec"]["training"], verification.config(number))
        return probabilities(network, Batches(split, data.mean, data.std, device), recipe)

    counts = choose([predict(number, data.validation) for number in numbers], data.validation.labels)
    chosen = [(number, count) for number, count in zip(numbers, counts, strict=True) if count]
    said = []
    for split in (data.validation, data.test):
        mixed = mix([predict(number, split) for number, _ in chosen], [count for _, count in chosen])
        said.append(right(mixed, split.labels)[0])
    return Ensemble(tuple(chosen), *said)
