"""A Ray Serve application: POST /predict answers with the best network of an experiment.

`serve run raynas.service.serve:app`, or cluster/kuberay/service.yaml. Needs `raynas[cluster]`. Reads RAYNAS_SERVE_MODEL (the
experiment), RAYNAS_SERVE_TOKEN (what requests must carry as `Authorization: Bearer …`; Ray's own token does not guard
what Serve answers), and RAYNAS_HOME and RAYNAS_DATA as everything does.
"""

import os
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from ray import serve

from raynas.service.guard import Guard
from raynas.service.predictor import Predictor as Model
from raynas.tables import InputError

SHORTEST = 16  # characters of a token that is no guess
MOST = 1024  # images a request; guard.py bounds their size


class Images(BaseModel):
    images: list[Any] = Field(min_length=1, max_length=MOST)


def setting(name: str) -> str:
    """An environment variable that must be there."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise InputError(f"set {name} where the replicas run")
    return value


def token() -> str:
    """The secret that requests must carry."""
    value = setting("RAYNAS_SERVE_TOKEN")
    if len(value) < SHORTEST:
        raise InputError(f"RAYNAS_SERVE_TOKEN must have {SHORTEST} characters or more, got {len(value)}")
    return value


web = FastAPI(title="raynas", docs_url=None, redoc_url=None, openapi_url=None)
web.add_middleware(Guard, token=token)


@serve.deployment
@serve.ingress(web)
class Predictor:
    """Holds the network; a replica that lacks a token, an experiment or its data does not start."""

    def __init__(self) -> None:
        token()
        self.model = Model(setting("RAYNAS_SERVE_MODEL"))

    @web.post("/predict")
    def predict(self, body: Images) -> dict[str, Any]:
        try:
            return asdict(self.model(body.images))
        except InputError as error:
            raise HTTPException(422, str(error)) from None


app = Predictor.bind()  # type: ignore[attr-defined]  # what @serve.deployment made of the class
