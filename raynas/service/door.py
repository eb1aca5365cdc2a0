"""The door of a cluster: address, token and versions are checked before anything is sent through it.

A cluster takes code from whoever reaches its dashboard's port, so Ray can ask for a token. Its nodes and those who submit
hold the same one: in RAY_AUTH_TOKEN, in the file that RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token (`ray get-auth-token
--generate` writes one); RAY_AUTH_MODE=token where the nodes are started turns the question on. Over plain http a token can be
read on the way: reach other machines by https or through a tunnel.
"""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from raynas.run.cluster import environment
from raynas.tables import InputError

ANSWER_S = 5
TOKEN_FILE = "~/.ray/auth_token"
HOW = "RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token"


@dataclass(frozen=True)
class Door:
    """A cluster that let us in: `client` speaks to its jobs, `ray_version` is what runs there."""

    address: str
    ray_version: str
    client: Any = field(repr=False)  # holds the token


def http_address(given: str) -> str:
    """`HOST:8265` or `http://HOST:8265` as the latter."""
    text = given if "://" in given else f"http://{given}"
    parts = urlsplit(text)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if given == "auto" or not usable or parts.path.strip("/") or parts.query or parts.username:
        raise InputError(
            f"a cluster takes jobs at the http address of its dashboard, e.g. http://HOST:8265, got '{given}' (`ray dashboard "
            "cluster.yaml` or `kubectl port-forward` bring it to this machine)"
        )
    return f"{parts.scheme}://{parts.netloc}"


def token() -> str | None:
    """The token of this user, where Ray looks for it too; None where there is none."""
    if said := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return said
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named or TOKEN_FILE).expanduser()
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        if not named:  # an empty one is none, to Ray too
            return None
        raise InputError(f"RAY_AUTH_TOKEN_PATH names '{path}', which is not there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the token in '{path}': {error}") from error


def knock(address: str, *, allow_open: bool = False, any_version: bool = False) -> Door:
    """Go through the door of the cluster at `address`.

    Raises InputError when nobody answers within seconds, when it is no Ray, when the token is missing or wrong, when the
    cluster takes jobs without a token (unless `allow_open`), and when it runs another release of Ray (unless `any_version`).
    """
    address = http_address(address)
    status, answer = _ask(address, {})  # the token is not shown to a cluster that does not want it
    headers: dict[str, str] = {}
    if status in (401, 403):
        mine = token()
        if mine is None:
            raise InputError(f"the cluster at {address} wants a token and there is none here: put it in {HOW}")
        headers = {"Authorization": f"Bearer {mine}"}
        status, answer = _ask(address, headers)
        if status in (401, 403):
            raise InputError(
                f"the cluster at {address} refuses the token that is here; it is read from {HOW}, in this order"
            )
    elif status == 200 and not allow_open:
        raise InputError(
            f"the cluster at {address} takes jobs without a token: whoever reaches it can run code there. Start its nodes with "
            "RAY_AUTH_MODE=token, or say that it is meant so: --no-token (allow_open=True)"
        )
    version = answer.get("ray_version") if status == 200 else None
    if not isinstance(version, str):
        raise InputError(f"what answers at {address} is no Ray dashboard (status {status})")
    if not any_version:
        _same_release(address, version)
    return Door(address, version, _client(address, headers))


def _ask(address: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """The status and answer of the question which version runs there."""
    import requests

    try:
        response = requests.get(f"{address}/api/version", headers=headers, timeout=ANSWER_S, allow_redirects=False)
        answer = response.json() if response.status_code == 200 else {}
    except requests.exceptions.JSONDecodeError:
        answer = {}
    except requests.exceptions.Timeout:
        raise InputError(f"the cluster at {address} did not answer within {ANSWER_S} s") from None
    except (requests.exceptions.RequestException, UnicodeError):
        raise InputError(
            f"nobody answers at {address}: is the cluster up, and its dashboard reachable from here (port 8265)?"
        ) from None
    return response.status_code, answer if isinstance(answer, dict) else {}


def _same_release(address: str, theirs: str) -> None:
    import ray

    mine = ray.__version__
    if release(theirs) != release(mine):
        raise InputError(
            f"the cluster at {address} runs Ray {theirs}, this machine {mine}: install the same release "
            f"(pip install 'ray[default]=={theirs}'), or go on all the same: --any-version (any_version=True)"
        )


def release(version: str) -> str:
    """`2.60` of `2.60.0`."""
    return ".".join(version.split(".")[:2])


def _client(address: str, headers: dict[str, str]) -> Any:
    from ray.exceptions import RayError
    from ray.job_submission import JobSubmissionClient

    # without None Ray shows the token of a cluster that this process runs itself
    said: dict[str, str | None] = {**headers} or {"Authorization": None}
    # what is uploaded is said already
    logging.getLogger("ray.dashboard.modules.dashboard_sdk").setLevel(logging.WARNING)
    try:
        with environment({"RAY_API_SERVER_ADDRESS": address}):  # else $RAY_ADDRESS goes before what was said
            return JobSubmissionClient(address, headers=said)
    except (RuntimeError, OSError, RayError) as error:  # OSError: it went away in between
        raise InputError(f"cannot speak to the jobs of {address}: {error}") from error
