"""MLflow: one run a trial, in the MLflow experiment of the search's name."""

import logging
import os
import re
from collections.abc import Mapping

import mlflow
from ray.air.integrations.mlflow import MLflowLoggerCallback
from sqlalchemy import create_engine

from raynas.objectives import Trial
from raynas.run.cluster import environment
from raynas.run.plan import Plan
from raynas.run.tracking.audience import Subject
from raynas.run.tracking.callbacks import Through

SEARCH = "raynas_search"  # the tag by which the runs of one search are known
STATE = "raynas_state"
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}  # minutes otherwise
PAGE = 1000


def check(uri: str) -> None:
    """Raise whatever MLflow does when nothing answers at `uri`."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # how it sets up a database is not the user's concern
    if re.match(r"(postgresql|mysql|mssql)\b", uri):
        create_engine(uri).connect().close()  # MLflow itself tries again for minutes
    with environment({name: value for name, value in IMPATIENT.items() if name not in os.environ}):
        mlflow.MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


class Mlflow(Through):
    """A run that an ended session left unfinished is deleted and written anew from the store."""

    def __init__(self, uri: str, subject: Subject, plan: Plan):
        callback = MLflowLoggerCallback(uri, experiment_name=subject.name, tags={SEARCH: subject.key})
        super().__init__(callback, subject.name, subject.key, subject.folder)
        callback.setup()
        self.client = mlflow.MlflowClient(tracking_uri=uri)

    def spelled(self, name: str) -> str:
        return re.sub(r"[^\w\-. /:]", "_", name, flags=re.ASCII)

    def missing(self, record: Mapping[int, Trial]) -> set[int]:
        kept, token = set[int](), None
        while True:
            page = self.client.search_runs(
                [self.callback.mlflow_util.experiment_id],
                f"tags.{SEARCH} = '{self.key}'",
                max_results=PAGE,
                page_token=token,
            )
            for run in page:
                number = int(run.data.tags["trial_name"])
                if not record[number].ended or run.info.status in ("RUNNING", "KILLED"):
                    self.client.delete_run(run.info.run_id)
                else:
                    kept.add(number)
            token = page.token
            if not token:
                return record.keys() - kept

    def end(self, trial: Trial) -> None:
        if trial.number in self.runs:
            self.client.set_tag(self._run_id(trial.number), STATE, trial.failure or trial.state)
        super().end(trial)

    def close(self) -> None:
        under_way = [self._run_id(number) for number in self.runs]
        super().close()
        for run_id in under_way:
            self.client.set_terminated(run_id, "KILLED")

    def _run_id(self, number: int) -> str:
        run_id: str = self.callback._trial_runs[self.runs[number]]
        return run_id
