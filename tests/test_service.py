"""Searches on other machines: what travels, the door, the face of a future, and (slow) a real cluster with a token."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas as pd
import pytest
import ray
import typer
from ray import tune
from typer.testing import CliRunner

import raynas
from raynas.cli.door import errors_at_the_door, whats_next
from raynas.cli.jobs import _follow
from raynas.cli.main import app
from raynas.objectives import Trial
from raynas.results import Heard, Store, StoreError
from raynas.results.results import Results
from raynas.run.folders import locked, open_results
from raynas.service import door, packing, parcel
from raynas.service.cluster import Cluster
from raynas.service.fetch import install
from raynas.service.future import Future, JobFailed
from raynas.service.jobs import Job
from raynas.service.order import CONFIG, order, spec_asked
from raynas.settings import parse_yaml
from raynas.space import read as read_space
from raynas.tables import InputError

SPACE = {"x": tune.uniform(0.0, 1.0)}
OWN = """
import time


def train(config):
    for epoch in range(2):
        time.sleep(config.get("pause_s", 0))
        yield {"score": config["x"] * (epoch + 1)}
"""


# -- what travels ------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    """A working directory as people have them."""
    root = tmp_path / "project"
    for name, text in {
        "own.py": OWN, "pkg/__init__.py": "", "pkg/deep/notes.txt": "kept", "pkg/deep/secret.txt": "x", "pkg/.gitignore": "secret.txt\n",
        ".gitignore": "*.log\n/out/\n!keep.log\n", "a.log": "x", "keep.log": "x", "out/big.txt": "x", "pkg/out/small.txt": "x",
        ".rayignore": "scratch\n", "scratch/a.txt": "x", ".git/config": "x", ".venv/lib/a.py": "x", ".venv/pyvenv.cfg": "x", "runs/one/store.db": "x",
        "__pycache__/own.pyc": "x", ".env": "TOKEN=x", "secret.txt": "at the top",
    }.items():  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "small.npz").write_bytes(b"0" * 1000)
    (root / "images.npz").write_bytes(b"0" * 2_000_000)
    (tmp_path / "elsewhere.txt").write_text("not yours")
    (root / "link.txt").symlink_to(tmp_path / "elsewhere.txt")
    return root


KEPT = {
    ".gitignore", ".rayignore", "keep.log", "own.py", "pkg/.gitignore", "pkg/__init__.py", "pkg/deep/notes.txt",
    "pkg/out/small.txt", "secret.txt", "small.npz",
}  # fmt: skip


def test_what_travels_is_what_nothing_ignores(project):
    package = packing.look(project)
    assert {name for name, _ in package.files} == KEPT
    assert package.datasets == (("images.npz", 2_000_000),)
    assert package.size == sum((project / name).stat().st_size for name in KEPT)
    assert "10 files" in str(package)
    assert "1 datasets (2.0 MB) stay here; 1 secrets stay here (.env)" in str(package)


HIDDEN = (
    ".ray-token", ".ssh/config", ".aws/credentials", ".ray/auth_token", ".netrc", ".pgpass", ".env.local", "tls/server.pem", "tls/server.key",
    "keys/id_rsa", "keys/id_ed25519.old", "pkg/.ssh/known", "named-otherwise",
)  # fmt: skip


def test_nobody_sends_a_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="is your home directory"):
        packing.look(tmp_path)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "first-report.html").write_text("x")
    (tmp_path / "project" / "own.py").write_text(OWN)
    assert [name for name, _ in packing.look(tmp_path / "project").files] == ["own.py"]


def test_who_stops_following_is_told_that_the_job_goes_on(capsys):
    class Following:
        id = "mine-1"

        def follow(self):
            yield "trial 0 done\n"
            raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        _follow(Following())
    assert ended.value.exit_code == 130
    said = capsys.readouterr()
    assert said.out == "trial 0 done\n"
    assert "the job goes on: raynas logs mine-1 --follow" in said.err


@pytest.mark.parametrize(
    ("args", "said"), [((), "interrupted\n"), (("mine", "verify"), "interrupted; go on with: raynas verify mine\n")]
)
def test_an_interrupt_says_how_to_go_on_where_there_is_a_way(args, said, capsys):
    with pytest.raises(typer.Exit) as ended, errors_at_the_door():
        raise KeyboardInterrupt(*args)
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == said


def test_what_is_next_is_said_as_it_is_typed_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = written(tmp_path / "there" / "mine")
    store.close()
    results = Results(tmp_path / "there" / "mine" / "store.db")
    assert whats_next(results, None, None) == "all trials: raynas results mine    the best: raynas best mine"
    assert f"raynas best mine --home {tmp_path / 'there'}" in whats_next(results, tmp_path / "there", None)
    assert "--home" not in whats_next(results, Path("runs"), None)
    url = "postgresql://me:hunter2@db/all"
    assert "raynas best mine --store postgresql://me@db/all" in whats_next(results, None, url)


def test_secrets_stay_here_and_are_said(project, monkeypatch):
    kept = packing.look(project).files
    for name in HIDDEN:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("hunter2")
    (project / "keys" / "mine").symlink_to(project / "keys" / "id_rsa")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(project / "named-otherwise"))
    package = packing.look(project)
    assert package.files == kept
    folders = {".ssh/", ".aws/", ".ray/", "pkg/.ssh/"}
    files = {name for name in HIDDEN if not name.startswith((*folders,))}
    assert set(package.secrets) == {".env", "keys/mine"} | folders | files
    assert "15 secrets stay here (.aws/, .env, .env.local, …)" in str(package)
    assert "stay here" not in str(packing.look(project / "pkg" / "deep"))


def test_environments_stay_here_and_packages_that_are_called_so_travel(project):
    for name in ("env", "venv", "pkg/env"):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text("MINE = 1\n")
    for name, mark in (("tools", "pyvenv.cfg"), ("pkg/conda", "conda-meta/history")):
        (project / name / mark).parent.mkdir(parents=True)
        (project / name / mark).write_text("")
        (project / name / "lib.py").write_text("")
    found = {name for name, _ in packing.look(project).files}
    assert found - KEPT == {"env/__init__.py", "venv/__init__.py", "pkg/env/__init__.py"}


def test_data_of_a_package_belongs_to_it(project):
    (project / "pkg" / "data.npz").write_bytes(b"0" * 2_000_000)
    package = packing.look(project)
    assert {name for name, _ in package.files} == KEPT | {"pkg/data.npz"}
    assert [name for name, _ in package.datasets] == ["images.npz"]


def test_a_package_above_the_limit_is_refused_with_its_largest_files(project):
    (project / "movie.bin").write_bytes(b"0" * 3_000_000)
    with pytest.raises(InputError, match=r"at most 2 MB travel. The largest: movie.bin \(3.0 MB\)"):
        packing.look(project, limit_mb=2)
    with pytest.raises(InputError, match="is no folder"):
        packing.look(project / "nowhere")


def test_one_content_is_one_package(project, tmp_path):
    package = packing.look(project)
    first, second = tmp_path / "1.zip", tmp_path / "2.zip"
    packing.pack(package, {CONFIG: "a: 1"}, first)
    os.utime(project / "own.py")
    packing.pack(package, {CONFIG: "a: 1"}, second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert set(archive.namelist()) == KEPT | {CONFIG}
        assert archive.read(CONFIG) == b"a: 1"
        assert archive.read("own.py").decode() == OWN


# -- the order ---------------------------------------------------------------------------------------------------------


def test_an_order_is_a_search_by_name_on_the_cluster():
    spec = spec_asked(SPACE, "own:train", None, 4, None, {"objective": "score", "seed": 3})
    made = order(spec, name="mine", home="/shared/runs", data_dir="/shared/data", store="postgresql://me@db/all")
    assert made.entrypoint("0.1.0") == (
        "exec python -m raynas --expect 0.1.0 search --config raynas-job.yaml --name mine --home /shared/runs --address auto "
        "--data-dir /shared/data --store postgresql://me@db/all"
    )
    read = parse_yaml(made.config, "the order")
    assert read["budget"] == {"trials": 4}
    assert raynas.Experiment(**{**read, "space": {}}).seed == 3
    assert list(read_space(read["space"]).domains) == ["x"]


def test_what_is_typed_cannot_become_a_shell_command():
    made = order(
        {"space": SPACE_SPEC, "trainable": "own:train", "objective": "score"}, home="/a b; rm -rf /", data_dir="$(x)"
    )
    assert "--home '/a b; rm -rf /'" in made.entrypoint(None)
    assert "'$(x)'" in made.entrypoint(None)


SPACE_SPEC = {"x": {"uniform": [0.0, 1.0]}}


def test_a_space_in_a_file_travels_as_what_is_in_it(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("parameters: {x: {uniform: [0.0, 1.0]}}\n")
    made = order({"space": str(path), "trainable": "own:train", "objective": "score"})
    assert str(tmp_path) not in made.config
    assert (
        json.loads(made.config)["space"]
        == json.loads(order({"space": SPACE_SPEC, "trainable": "own:train"}).config)["space"]
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "./images"}, "datasets do not travel"),
        ({"data": "images.npz"}, "Copy it to the cluster's shared disk"),
        ({"data": "fashion_mnits"}, "Did you mean 'fashion_mnist'"),
        ({"data": "tabular:./table.npz#part"}, "datasets do not travel"),
        ({"data": "(arrays)"}, "arrays do not travel"),
        ({"trainable": "__main__:train"}, "put the function in a module"),
        ({"data": "mnist", "budgets": {}}, "unknown key 'budgets'"),
    ],
)
def test_what_a_cluster_cannot_have_is_refused_here(change, words):
    with pytest.raises(InputError, match=words):
        order({"space": SPACE_SPEC, **change})


@pytest.mark.parametrize(
    "data", ["mnist", "/shared/images", "tabular:table.npz#part", "tabular:/shared/table.npz#part"]
)
def test_what_a_cluster_may_have_is_not(data):
    assert json.loads(order({"space": SPACE_SPEC, "data": data}).config)["data"] == data


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@db/all", "postgresql://me@db/all?password=hunter2"])
def test_a_password_is_not_shown_to_who_sees_the_jobs(url):
    with pytest.raises(InputError, match="PGPASSWORD") as caught:
        order({"space": SPACE_SPEC, "data": "mnist"}, store=url)
    assert "hunter2" not in str(caught.value)


def test_a_password_of_a_tracker_does_not_travel():
    with pytest.raises(InputError, match=r"mlflow:https://me:\*\*\*@host/x.*MLFLOW_TRACKING_PASSWORD") as caught:
        order({"space": SPACE_SPEC, "data": "mnist", "track": ["mlflow:https://me:hunter2@host/x"]})
    assert "hunter2" not in str(caught.value)


# -- the door ----------------------------------------------------------------------------------------------------------


class Dashboard(BaseHTTPRequestHandler):
    """What Ray's dashboard answers at its door."""

    def do_GET(self):
        server = self.server
        server.heard.append(self.headers.get("Authorization"))
        status = 200
        if server.token is not None and server.heard[-1] != f"Bearer {server.token}":
            status = 401 if server.heard[-1] is None else 403
        if server.sleep_s:
            time.sleep(server.sleep_s)
        body = json.dumps(server.answer).encode() if status == 200 else b"Unauthorized"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def dashboard(monkeypatch, tmp_path):
    """A stand-in for a dashboard; this user has no token."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # must not go before what is said
    server = HTTPServer(("127.0.0.1", 0), Dashboard)
    server.heard, server.token, server.sleep_s = [], None, 0.0
    server.answer = {"version": "4", "ray_version": ray.__version__, "ray_commit": "x"}
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()


def test_a_cluster_without_a_token_is_refused_unless_meant(ray_here, dashboard, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter2")
    with pytest.raises(InputError, match="takes jobs without a token"):
        door.knock(dashboard.url)
    assert door.knock(dashboard.url, allow_open=True).ray_version == ray.__version__
    assert set(dashboard.heard) == {None}, "the token was shown to who did not ask"


def test_a_token_opens(dashboard, monkeypatch, tmp_path):
    dashboard.token = "hunter2"
    for path in (None, ""):  # an empty path is none, to Ray too
        if path is not None:
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", path)
        with pytest.raises(InputError, match="wants a token and there is none here"):
            door.knock(dashboard.url)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("hunter2\n")
    assert door.knock(dashboard.url).address == dashboard.url
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "other"))
    with pytest.raises(InputError, match="is not there"):
        door.knock(dashboard.url)
    (tmp_path / "other").write_text("wrong")
    with pytest.raises(InputError, match="refuses the token") as caught:
        door.knock(dashboard.url)
    assert "wrong" not in str(caught.value)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter2")  # first of all, as in Ray
    assert "hunter2" not in repr(door.knock(dashboard.url))


def test_another_release_of_ray_is_said(dashboard):
    dashboard.answer["ray_version"] = "2.9.3"
    with pytest.raises(InputError, match=r"runs Ray 2\.9\.3, this machine .* --any-version"):
        door.knock(dashboard.url, allow_open=True)
    assert door.knock(dashboard.url, allow_open=True, any_version=True).ray_version == "2.9.3"


def test_what_is_no_ray_is_said(dashboard):
    for answer in ({"hello": 1}, ["no"]):
        dashboard.answer = answer
        with pytest.raises(InputError, match="is no Ray dashboard"):
            door.knock(dashboard.url, allow_open=True)


def test_who_does_not_answer_is_not_waited_for(dashboard, monkeypatch):
    monkeypatch.setattr(door, "ANSWER_S", 0.2)
    dashboard.sleep_s = 1.0
    with pytest.raises(InputError, match="did not answer within"):
        door.knock(dashboard.url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InputError, match=f"nobody answers at http://{nobody}"):
        door.knock(nobody)


@pytest.mark.parametrize(
    "address", ["auto", "ray://host:10001", "http://", "http://host:port", "http://me:secret@host:8265", "host/path"]
)
def test_other_addresses_are_explained(address):
    with pytest.raises(InputError, match="the http address of its dashboard"):
        door.http_address(address)


def test_the_commands_end_with_one_clear_error(dashboard, tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    for command in (
        ["submit", "genome_cnn", "--data", "mnist"],
        ["jobs"],
        ["logs", "x"],
        ["stop", "x"],
        ["fetch", "x"],
    ):
        ended = CliRunner().invoke(app, [*command, "--address", dashboard.url])
        assert ended.exit_code == 2, ended.output
        assert "without a token" in ended.output


def test_a_cluster_with_another_raynas_says_so():
    ended = CliRunner().invoke(app, ["--expect", "9.9", "spaces"])
    assert ended.exit_code == 2
    assert f"has raynas {raynas.__version__}, and the job comes from raynas 9.9" in ended.output
    assert CliRunner().invoke(app, ["--expect", raynas.__version__, "spaces"]).exit_code == 0


# -- the future --------------------------------------------------------------------------------------------------------


class Script:
    """A run that goes through the given states, one a look."""

    def __init__(self, *states):
        self.states, self.stopped = list(states), False

    def state(self):
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def log(self):
        return "".join(f"line {number}\n" for number in range(20 - 5 * len(self.states)))

    def stop(self):
        self.stopped = True
        self.states = ["stopped"]

    def results(self):
        return "the results"


def test_a_future_ends_as_its_run_does():
    assert Future("a", "1", Script("queued", "running", "done"), 0.0).result() == "the results"
    with pytest.raises(JobFailed, match="line 14"):
        Future("a", "1", Script("running", "failed"), 0.0).result(timeout=5)
    with pytest.raises(CancelledError, match="submit it again by this name"):
        Future("a", "1", Script("stopped"), 0.0).result()
    with pytest.raises(TooLate, match="'a' is running after 0.01 s"):
        Future("a", "1", Script("running"), 0.0).result(timeout=0.01)
    assert Future("a", "1", Script("done"), 0.0).exception() is None


def test_only_what_is_not_over_can_be_cancelled():
    run = Script("running")
    future = Future("a", "1", run, 0.0)
    assert future.running()
    assert not future.done()
    assert future.cancel()
    assert run.stopped
    assert future.cancelled()
    assert future.done()
    assert not future.cancel()


def test_following_a_log_gives_every_line_once():
    future = Future("a", "1", Script("queued", "running", "running", "done"), 0.0)
    text = "".join(future.follow())
    assert text == future.logs()


# -- results as text ---------------------------------------------------------------------------------------------------


def written(folder, created_name="mine", numbers=3):
    """A store with a few trials and the weights of one."""
    row = {
        "spec": {"space": SPACE_SPEC, "objective": {"fitness": "accuracy"}},
        "seed": 0,
        "data": None,
        "fingerprints": None,
    }
    store = Store.create(folder / "store.db", {**row, "name": created_name})
    for number in range(numbers):
        trial = Trial(number, {"x": number / 10}, f"id{number}", state="running")
        store.ask(trial, 3 * number, {"cpu": 1.0})
        store.hear(Heard(3 * number + 1, number, 1, number / 10, {"score": number / 10}), 0, 0.5, "here")
        trial.state, trial.fitness = "done", number / 10
        store.tell(trial, 3 * number + 2, 1.0)
    weights = folder / "checkpoints" / "00002" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(os.urandom(100_000))
    return store


def test_a_parcel_brings_the_same_experiment_also_while_it_is_written(tmp_path):
    store = written(tmp_path / "there" / "mine")
    lines = parcel.wrap(tmp_path / "there" / "mine")
    store.close()
    got = install("\n".join(["chatter", *lines, "more chatter"]), tmp_path / "here" / "mine")
    pd.testing.assert_frame_equal(got.trials, Results(tmp_path / "there" / "mine" / "store.db").trials)
    weights = "checkpoints/00002/model.safetensors"
    assert (got.folder / weights).read_bytes() == (tmp_path / "there" / "mine" / weights).read_bytes()
    assert install("\n".join(lines), tmp_path / "here" / "mine").name == "mine", "fetching again replaces"
    assert os.listdir(tmp_path / "here") == ["mine"]


def test_a_parcel_that_was_damaged_or_cut_is_refused(tmp_path):
    written(tmp_path / "mine").close()
    lines = parcel.wrap(tmp_path / "mine")
    other = "A" if lines[1][7] != "A" else "B"
    for damaged in (
        lines[:-1],
        lines[1:],
        [*lines[:2], lines[-1]],
        [lines[0], lines[1][:7] + other + lines[1][8:], *lines[2:]],
        [],
    ):
        with pytest.raises(StoreError, match="fetch it again"):
            parcel.unwrap("\n".join(damaged), tmp_path / "got")
        assert not (tmp_path / "got").exists()


def test_another_experiment_is_not_overwritten(tmp_path):
    written(tmp_path / "a" / "mine").close()
    written(tmp_path / "b" / "mine", numbers=1).close()
    with pytest.raises(InputError, match="is another experiment"):
        install("\n".join(parcel.wrap(tmp_path / "a" / "mine")), tmp_path / "b" / "mine")
    assert len(Results(tmp_path / "b" / "mine" / "store.db").trials) == 1


def test_a_fetch_loses_nothing_that_was_made_here(tmp_path):
    store = written(tmp_path / "there" / "mine")
    store.close()
    lines = "\n".join(parcel.wrap(tmp_path / "there" / "mine"))
    here = tmp_path / "here" / "mine"
    install(lines, here)
    store = Store.open(here / "store.db", writable=True)
    store.add("verify-1", {"spec": {}, "seed": 0, "data": None, "fingerprints": None})
    store.ask(Trial(3, {"x": 0.3}, "id3", state="running"), 9, {"cpu": 1.0})
    store.close()
    with pytest.raises(InputError, match=r"made here \(verify-1, trial 3\)"):
        install(lines, here)
    assert Results(here / "store.db").verification is not None
    assert os.listdir(here.parent) == ["mine"]


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_fetch_that_fails_leaves_what_was_there(failing, tmp_path, monkeypatch):
    """The first rename takes the old away, the second brings the new; the third, the old back: then it is beside its place."""
    written(tmp_path / "there" / "mine").close()
    lines = "\n".join(parcel.wrap(tmp_path / "there" / "mine"))
    here = tmp_path / "here" / "mine"
    install(lines, here)
    (here / "notes.txt").write_text("kept")
    rename, seen = Path.rename, []

    def renamed(path, to):
        if here in (path, Path(to)):
            seen.append(path)
            if len(seen) == failing or (len(seen), failing) == (2, 3):
                raise OSError("the disk is gone")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", renamed)
    with pytest.raises(OSError, match="the disk is gone"):
        install(lines, here)
    monkeypatch.undo()
    (kept,) = (tmp_path / "here").rglob("notes.txt")
    if failing < 3:
        assert os.listdir(here.parent) == ["mine"]
        assert kept.parent == here
    else:
        assert kept.parent.parent.name.startswith(".mine-before-")
    assert len(Results(kept.parent / "store.db").trials) == 3
    install(lines, here)
    assert len(Results(here / "store.db").trials) == 3


def test_another_experiment_at_the_path_of_a_job_is_not_read_in_its_place(tmp_path, monkeypatch):
    """Both sides may call their home /tmp/runs: what is read in place was driven by the job."""
    home, there = tmp_path / "runs", object.__new__(Cluster)
    written(home / "mine").close()
    written(tmp_path / "cluster" / "mine", numbers=1).close()
    monkeypatch.setattr(
        there, "_find", lambda given: Job(given, "mine", "done", "", None, None, "0.1.0", str(home), "")
    )
    parcels = "\n".join(parcel.wrap(tmp_path / "cluster" / "mine"))
    monkeypatch.setattr("raynas.service.cluster.sent", lambda client, job: parcels)
    there.to, there.store, there.client = tmp_path / "fetched", None, None
    monkeypatch.setenv("RAYNAS_JOB", "mine-1")
    with locked(home / "mine"):
        pass
    monkeypatch.setenv("RAYNAS_JOB", "mine-2")
    with locked(home / "mine"):
        monkeypatch.setenv("RAYNAS_JOB", "mine-3")
        with pytest.raises(InputError, match="is running in another process"):
            locked(home / "mine").__enter__()
    for id in ("mine-3", "mine-4", "mine", ""):
        assert there.fetch(id).path == tmp_path / "fetched" / "mine" / "store.db", id
    for id in ("mine-1", "mine-2"):  # the second went on with what the first began
        assert there.fetch(id).path == home / "mine" / "store.db"
    assert there.fetch("mine-1", to=tmp_path / "other").path == tmp_path / "other" / "mine" / "store.db"
    (home / "mine" / "store.db").rename(home / "elsewhere")
    assert there.fetch("mine-1").path == tmp_path / "fetched" / "mine" / "store.db"


def test_a_job_knows_its_own_id(tmp_path, monkeypatch):
    """It leaves it beside what it writes, and is known by it afterwards."""
    there, jobs = object.__new__(Cluster), []
    monkeypatch.setattr("raynas.service.cluster.send", lambda client, job: jobs.append(job))
    monkeypatch.setattr(there, "jobs", list)
    there.home = there.data_dir = there.store = there.client = None
    there.working_dir, there.limit_mb, there.any_version = tmp_path, 50, False
    ids = [there.submit(SPACE, "own:train", trials=1, objective="score", name="mine").id for _ in range(2)]
    assert len(set(ids)) == 2
    assert [job["submission_id"] for job in jobs] == ids
    assert [job["runtime_env"]["env_vars"]["RAYNAS_JOB"] for job in jobs] == ids


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "", "a/b"])
def test_a_job_cannot_name_a_folder_elsewhere(name, tmp_path, monkeypatch):
    there = object.__new__(Cluster)
    job = Job("id", name, "done", "", None, None, "0.1.0", str(tmp_path), "postgresql://me@nowhere/all")
    monkeypatch.setattr(there, "_find", lambda given: job)
    there.to, there.store = tmp_path / "here", None
    with pytest.raises(InputError, match="an experiment's name is letters"):
        there.fetch("id")


def test_a_job_cannot_name_a_database_that_is_asked_with_ones_password(tmp_path, monkeypatch):
    there = object.__new__(Cluster)
    job = Job("id", "mine", "done", "", None, None, "0.1.0", str(tmp_path), "postgresql://me:hunter2@elsewhere/all")
    monkeypatch.setattr(there, "_find", lambda given: job)
    monkeypatch.delenv("RAYNAS_STORE", raising=False)
    there.to, there.store = tmp_path / "here", None
    with pytest.raises(InputError, match="are in 'postgresql://me@elsewhere/all', says the job"):
        there.fetch("id")
    there.store = "postgresql://me@127.0.0.1:1/own"
    assert there.fetch("id").path.url.host == "127.0.0.1"  # connects when it is read


def test_a_password_is_not_in_the_command_of_a_process_here(tmp_path, monkeypatch):
    started = {}

    class Started:
        pid = 1

        def __init__(self, command, env, stdout, **_):
            started.update(command=command, env=env)
            stdout.write(b"what it said")

        def wait(self):
            return 1

        def poll(self):
            return 1

    monkeypatch.setattr(subprocess, "Popen", Started)
    url = "postgresql://me:hunter2@db/all"
    with raynas.cluster(None, home=tmp_path, store=url) as here:
        future = here.submit(SPACE, "own:train", trials=1, objective="score")
    assert not [part for part in started["command"] if "hunter2" in part]
    assert started["env"]["RAYNAS_STORE"] == url
    with pytest.raises(JobFailed, match="what it said"):  # also after the block, whose folder is gone
        future.result()


def test_what_is_too_large_for_a_log_is_said(tmp_path):
    written(tmp_path / "mine").close()
    with pytest.raises(InputError, match=r"at most 0.05 MB are fetched"):
        parcel.wrap(tmp_path / "mine", limit_mb=0.05)
    with pytest.raises(InputError, match="no experiment"):
        parcel.wrap(tmp_path / "yours")


# -- this machine ------------------------------------------------------------------------------------------------------


def test_a_search_in_this_very_process(tmp_path, ray_here):
    """It may be of a closure, which cannot travel; it fails as a job does, and bad input is said at the door."""

    def training(config):
        if broken:
            raise KeyError("no such thing")
        yield {"score": config["x"]}

    broken = False
    asked = {"objective": "score", "search": "random", "trials": 2}
    with raynas.cluster(in_process=True, home=tmp_path) as here:
        good = here.submit(SPACE, training, name="good", **asked)
        assert good.done()
        assert not good.cancel()
        assert list(good.result().trials["state"]) == ["done", "done"]
        assert "trial 1 done" in good.logs()
        with pytest.raises(InputError, match="serch"):
            here.submit(SPACE, training, serch="random")
        broken = True
        bad = here.submit(SPACE, training, **{**asked, "trials": 20})
        with pytest.raises(JobFailed, match="no such thing"):
            bad.result()
        assert "failed" in set(bad.results().trials["state"])
        assert [future.state for future in here.jobs()] == ["done", "failed"]
    with pytest.raises(InputError, match="not both"):
        raynas.cluster("http://127.0.0.1:8265", in_process=True)


@pytest.mark.slow  # the README shows it, and its test runs it
def test_a_search_in_a_process_of_this_machine(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    with raynas.cluster(None, home=tmp_path / "runs", working_dir=tmp_path) as here:
        good = here.submit(SPACE, "own:train", trials=2, objective="score", search="random", name="good", seed=1)
        bad = here.submit("genome_cnn", data=str(tmp_path / "nowhere"), trials=1)
        with pytest.raises(JobFailed, match="nowhere"):
            bad.result()
        results = good.result()
        assert good.done()
        assert not good.cancel()
        assert list(results.trials["state"]) == ["done", "done"]
        assert results.path == tmp_path.resolve() / "runs" / "good" / "store.db"
        assert "good" in good.logs()
        assert [future.state for future in here.jobs()] == ["done", "failed"]


@pytest.mark.slow
def test_a_cancelled_search_goes_on_where_it_was(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    spec = {"objective": "score", "search": "random", "name": "mine", "trials": 6}
    with raynas.cluster(None, home=tmp_path / "runs", working_dir=tmp_path) as here:
        future = here.submit({**SPACE, "pause_s": 0.5}, "own:train", **spec)
        _wait_for_trials(lambda: future.results(), 1)
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result()
        told = set(future.results().trials.query("state == 'done'")["number"])
        assert told
        results = here.submit({**SPACE, "pause_s": 0.5}, "own:train", **spec).result()
    assert list(results.trials["state"]) == ["done"] * 6
    assert results.trials["attempt"].iloc[list(told)].max() == results.trials["attempt"].min()


def _wait_for_trials(results, count):
    while True:
        try:
            if (results().trials["state"] == "done").sum() >= count:
                return
        except InputError:
            pass  # not begun yet
        time.sleep(0.3)


# -- a real cluster ----------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """A Ray of one node with a dashboard on loopback that wants a token; ended by its own process ids."""
    psutil = pytest.importorskip("psutil")
    pytest.importorskip("aiohttp_cors", reason="Ray Jobs needs ray[default]")
    folder = tmp_path_factory.mktemp("ray")
    (folder / "token").write_text("0123456789abcdef" * 4)
    source = str(Path(raynas.__file__).parents[1])
    port, gcs = free_port(), free_port()
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": source,
        "HOME": str(folder),
    }
    command = [
        str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--port={gcs}", "--dashboard-host=127.0.0.1",
        f"--dashboard-port={port}", "--num-cpus=1", "--num-gpus=0", "--include-dashboard=true", f"--temp-dir={folder / 'r'}",
        "--object-store-memory=100000000", f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}",
    ]  # fmt: skip
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "token"))
            while True:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    door.knock(address)
                    break
                except InputError:
                    time.sleep(0.5)
        yield address, folder
    finally:
        with suppress(psutil.NoSuchProcess):
            theirs = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            for one in psutil.wait_procs(theirs, 10)[1]:
                one.kill()
        process.wait()


@pytest.fixture
def there(head, monkeypatch, tmp_path):
    """The cluster's address, with its token at hand, from a working directory of one module."""
    address, folder = head
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "token"))
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return address


@pytest.mark.slow
def test_a_search_on_a_cluster_is_fetched(there, tmp_path):
    with raynas.cluster(there) as cluster:
        future = cluster.submit(SPACE, "own:train", trials=2, objective="score", search="random", name="far", seed=1)
        text = "".join(future.follow())
        results = future.result()
        assert results.path == Path("runs") / "far" / "store.db"
        assert list(results.trials["state"]) == ["done", "done"], text
        here = raynas.search(
            SPACE, "own:train", trials=2, objective="score", search="random", name="near", seed=1, progress=False
        )
        columns = ["number", "state", "fitness", "epochs", "x", "score", "identity", "seed"]
        pd.testing.assert_frame_equal(results.trials[columns], here.trials[columns])
        (job,) = [job for job in cluster.jobs() if job.name == "far"]
        assert (job.state, job.raynas, job.id) == ("done", raynas.__version__, future.id)
        with pytest.raises(InputError, match="has no job 'fra'"):
            cluster.job("fra")


@pytest.mark.slow
def test_a_stopped_job_goes_on_where_it_was_read_in_place(there, tmp_path):
    home = tmp_path / "shared"
    with raynas.cluster(there, home=home) as cluster:
        asked = {"objective": "score", "search": "random", "name": "long", "trials": 5, "seed": 2}
        future = cluster.submit({**SPACE, "pause_s": 0.5}, "own:train", **asked)
        _wait_for_trials(lambda: open_results("long", home), 1)
        with pytest.raises(InputError, match="is running as the job"):
            cluster.submit({**SPACE, "pause_s": 0.5}, "own:train", **asked)
        ended = CliRunner().invoke(app, ["stop", future.id, "--address", there])
        assert ended.exit_code == 0, ended.output
        with pytest.raises(CancelledError):
            future.result()
        before = future.results().trials
        assert future.results().path == home / "long" / "store.db"
        assert "stopping; what is done is kept" in future.logs()
        assert before["state"].isin(["done", "queued"]).all(), "the driver let go of its trials"
        after = cluster.submit({**SPACE, "pause_s": 0.5}, "own:train", **asked).result().trials
        done = before[before["state"] == "done"]
        assert list(after["state"]) == ["done"] * 5
        pd.testing.assert_series_equal(after.loc[done.index, "ended"], done["ended"], check_names=False)


@pytest.mark.slow
def test_errors_of_a_real_cluster_are_clear(there, tmp_path, monkeypatch):
    cluster = Cluster(there)
    monkeypatch.setattr(raynas, "__version__", "9.9")
    failed = cluster.submit(SPACE, "own:train", trials=1, objective="score", name="versions")
    with pytest.raises(JobFailed, match=r"the job comes from raynas 9\.9"):
        failed.result()
    monkeypatch.undo()
    (tmp_path / "wrong").write_text("f" * 64)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "wrong"))
    with pytest.raises(InputError, match="refuses the token"):
        Cluster(there)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match="wants a token"):
        Cluster(there)
