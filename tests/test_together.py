"""One trial on several workers: who dies, who raises, and what goes on from its checkpoint."""

from dataclasses import fields
from pathlib import Path

import pytest
import trainings
from ray import tune

import raynas
from raynas.results.schema import trials
from raynas.results.store import Store
from raynas.run import drive
from raynas.run.drive import SearchFailed

SMALL = {"architecture": "NC 5 3 relu;FL relu", "lr": 0.01}


def stored(results):
    store = Store.open(results.path)
    try:
        return store.rows(trials)
    finally:
        store.close()


@pytest.mark.slow
def test_a_worker_that_dies_and_one_that_raises_cost_no_epoch(ray_here, tmp_path, monkeypatch):
    """A killed worker: on from the checkpoint by itself. An error of the code: the trial fails, its checkpoint stays, and the
    same search again goes on from there."""
    made = drive._training

    def fallible(plan):
        whole = made(plan)
        given = {each.name: getattr(whole, each.name) for each in fields(whole)}
        return trainings.Fallible(**given, marks=str(tmp_path))

    monkeypatch.setattr(drive, "_training", fallible)
    space = {"architecture": raynas.Genome(layers=[4, 4], filters=[5, 6], kernels=[1, 3], reductions=2)}
    given = {"data": "fashion_mnist_mini", "search": "random", "trials": 1, "name": "both", "home": tmp_path}
    given |= {"training": {"epochs": 4}, "resources": {"workers": 2, "cpu": 0.5, "gpu": 0.0}, "progress": False}
    results = raynas.search(space, **given)
    (row,) = stored(results)
    print(row)
    assert (row["state"], row["failure"], row["attempt"]) == ("failed", "error", 2)
    results = raynas.search(space, **given)
    (row,) = stored(results)
    assert (row["state"], row["failure"], row["attempt"]) == ("done", None, 3)
    for rank in (0, 1):
        assert (tmp_path / f"trained {rank}").read_text().split() == ["1", "2", "3", "4"]
    assert results.curves["epoch"].tolist() == [1, 2, 3, 4]
    assert results.curves["attempt"].tolist() == [1, 2, 3, 3]
