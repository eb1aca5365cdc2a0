"""The store in a real PostgreSQL, started here on loopback: many experiments, one driver each, nothing lost by kill -9."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
from ray import tune
from trainings import once  # noqa: F401 -- searched on by name
from typer.testing import CliRunner

import raynas
from raynas.cli.main import app
from raynas.objectives import Trial
from raynas.results import Heard, Store, StoreError
from raynas.results.database import InDatabase, database, engine_of, names_in, shown
from raynas.results.schema import SCHEMA, metadata, trials, versions
from raynas.run.folders import experiments, open_results
from raynas.tables import InputError

PASSWORD = "hunter2"
ROW = {"spec": {"space": {"x": {"uniform": [0.0, 1.0]}}}, "seed": 2**62, "data": None, "fingerprints": {"code": "é"}}
SPACE = {"x": tune.uniform(0.0, 1.0)}
ASKED = {"objective": "score", "search": "random", "cpu": 1, "progress": False}


def _binaries():
    """The folder of PostgreSQL's programs: Debian keeps them off the path."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders and (folders[-1] / "postgres").exists() else None


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL that wants a password, on a free port of loopback; ended by its process id."""
    pytest.importorskip("psycopg", reason="pip install 'raynas[postgres]'")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="raynas-postgres-"))  # pytest's own folders are for their owner alone
    who = {}
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        who = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(folder, "postgres", "postgres")
    (folder / "password").write_text(PASSWORD)
    where = ["-D", str(folder / "data")]
    made = subprocess.run(
        [binaries / "initdb", *where, "-U", "raynas", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync", "-E", "UTF8", "--locale=C"],
        capture_output=True, text=True, cwd=folder, **who,
    )  # fmt: skip
    if made.returncode:
        shutil.rmtree(folder)
        pytest.skip(f"initdb does not work here: {made.stderr.strip()}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"-cport={port}", "-clisten_addresses=127.0.0.1", "-cunix_socket_directories=", "-cfsync=off"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([binaries / "postgres", *where, *options], stdout=log, stderr=log, cwd=folder, **who)
    url = f"postgresql://raynas:{PASSWORD}@127.0.0.1:{port}/postgres"
    try:
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                names_in(database(url))
                break
            except StoreError:
                time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # its fast shutdown
        process.wait(30)
        shutil.rmtree(folder)


@pytest.fixture
def url(server, request):
    """A database of the test's own."""
    import psycopg

    name = re.sub(r"\W", "_", request.node.name.lower())[:60]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{server.rpartition('/')[0]}/{name}"


def at(url, name, folder):
    return InDatabase(database(url), name, folder / name)


def fill(store, numbers=3):
    for number in range(numbers):
        trial = Trial(number, {"x": number / 3, "z": None}, f"id{number}", seed=2**62 + number, state="running")
        store.ask(trial, 3 * number, {"cpu": 1.0, "gpu": 0.0})
        metrics = {"score": number / 3, "list": [1, None], "nan": float("nan"), "b": "second", "a": "first"}
        store.hear(Heard(3 * number + 1, number, 1, 0.1 + 0.2, metrics), 0, 0.5, "here", last=number == 1)
        trial.state, trial.fitness, trial.error = "failed" if number == 2 else "done", 1 / 3, "a NUL \0 in it"
        trial.failure = "diverged"
        store.tell(trial, 3 * number + 2, 1.25)


def test_both_kinds_of_store_hold_the_same(url, tmp_path):
    file = Store.create(tmp_path / "s" / "store.db", {**ROW, "name": "one"})
    rows = Store.create(at(url, "one", tmp_path), {**ROW, "name": "one"})
    for store in (file, rows):
        fill(store)
        store.update_experiment(ended="all are done")
    assert rows.counts() == file.counts() == {"done": 2, "failed": 1}
    assert rows.history() == file.history()
    assert {**rows.experiment(), "created": 0} == {**file.experiment(), "created": 0}
    for store in (file, rows):
        store.close()
    near, far = raynas.Results(file.path), raynas.Results(rows.path)
    moments = ["created", "started", "ended"]
    pd.testing.assert_frame_equal(near.trials.drop(columns=moments), far.trials.drop(columns=moments))
    pd.testing.assert_frame_equal(near.curves, far.curves)
    assert list(far.curves.columns) == list(near.curves.columns), "the order of metrics is kept"
    assert far.folder == tmp_path / "one"


def test_experiments_of_one_database_do_not_see_each_other(url, tmp_path):
    one, two = (Store.create(at(url, name, tmp_path), {**ROW, "name": name}) for name in ("one", "two"))
    fill(one)
    fill(two, 1)
    two.set_trial(0, state="stopped")
    assert [len(store.rows(trials)) for store in (one, two)] == [3, 1]
    assert one.rows(trials)[0]["state"] == "done"
    assert experiments(tmp_path, url) == ["one", "two"]
    with pytest.raises(FileExistsError):
        Store.create(at(url, "two", tmp_path), {**ROW, "name": "two"})
    assert len(two.rows(trials)) == 1
    one.close()
    two.close()


@pytest.mark.parametrize("first", ["raynas", "others"])
def test_tables_of_others_in_the_same_database_are_left_alone(url, tmp_path, first):
    """Optuna has `trials` too, and so may anyone's `experiments`; with either there first, of a user named raynas."""
    import optuna
    import psycopg

    def others():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE experiments (experiment_id text, raynas int)")
            connection.execute("CREATE TABLE raynas (notes text)")
        study = optuna.create_study(study_name="theirs", storage=optuna.storages.RDBStorage(url))
        study.add_trial(optuna.create_trial(value=0.5))

    if first == "others":
        others()
        assert names_in(database(url)) == []
        with pytest.raises(StoreError, match="is not a raynas store"):
            Store.open(at(url, "mine", tmp_path))
    store = Store.create(at(url, "mine", tmp_path), {**ROW, "name": "mine"})
    fill(store)
    store.close()
    if first == "raynas":
        others()
    results = open_results("mine", tmp_path, url)
    assert list(results.trials["state"]) == ["done", "done", "failed"]
    assert list(results.where("x > 0.1 and state = 'done'")["number"]) == [1]
    assert names_in(database(url)) == ["mine"]
    study = optuna.load_study(study_name="theirs", storage=optuna.storages.RDBStorage(url))
    assert [trial.value for trial in study.trials] == [0.5]
    with psycopg.connect(url) as connection:
        kept = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'raynas_store'"
        )
        assert {name for (name,) in kept} == set(metadata.tables)


def test_who_may_only_use_the_tables_need_not_make_them(url, tmp_path):
    """A database whose owner made the schema, for a user that may create nothing."""
    import psycopg

    Store.create(at(url, "one", tmp_path), {**ROW, "name": "one"}).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
        connection.execute("GRANT USAGE ON SCHEMA raynas_store TO guest")
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA raynas_store TO guest")
        connection.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA raynas_store TO guest")
    store = Store.create(at(url.replace("raynas:", "guest:"), "two", tmp_path), {**ROW, "name": "two"})
    fill(store)
    store.close()
    assert names_in(database(url)) == ["one", "two"]


def test_a_verification_is_opened_by_its_name(url, tmp_path):
    store = Store.create(at(url, "one", tmp_path), {**ROW, "name": "one"})
    store.add("verify-1", ROW)
    store.close()
    found = open_results("one/verify-1", tmp_path, url)
    assert (found.name, found.row, found.folder) == ("one/verify-1", "verify-1", tmp_path / "one" / "verify-1")
    for other in ("one/verify-2", "two/verify-1", "one/x"):
        with pytest.raises(InputError, match="holds no 'verify-2'|there is no experiment"):
            open_results(other, tmp_path, url)


def test_one_driver_an_experiment_and_any_number_of_readers(url, tmp_path):
    where = at(url, "one", tmp_path)
    driver = Store.create(where, {**ROW, "name": "one"})
    with pytest.raises(StoreError, match="is running in another process"):
        Store.open(where, writable=True)
    other = Store.create(at(url, "two", tmp_path), {**ROW, "name": "two"})
    reader = Store.open(where)
    fill(driver, 2)
    assert reader.counts() == {"done": 2}
    with pytest.raises(StoreError, match="read-only"):
        reader.update_experiment(ended="by a reader")
    driver.close()
    Store.open(where, writable=True).close()
    other.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from test_postgres import ROW, at, fill
from raynas.results import Store
store = Store.create(at(sys.argv[1], "one", Path(sys.argv[2])), {**ROW, "name": "one"})
fill(store, 2)
with store.writing() as connection:
    connection.exec_driver_sql("UPDATE trials SET state = 'lost'")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_driver_leaves_what_it_told_and_no_lock(url, tmp_path):
    import_path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, url, str(tmp_path)], env={**os.environ, "PYTHONPATH": import_path}
    )
    assert ended.returncode == -signal.SIGKILL
    for attempt in range(100):  # the server takes a moment to see that its client is gone
        try:
            store = Store.open(at(url, "one", tmp_path), writable=True)
            break
        except StoreError:
            assert attempt < 99
            time.sleep(0.1)
    assert store.counts() == {"done": 2}
    assert [type(entry).__name__ for entry in store.history()] == ["Asked", "Heard", "Told"] * 2
    store.close()


def cut_off(url):
    """End all other connections to the database, as a restart of its server does."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip


def test_a_driver_finds_its_database_again(url, tmp_path):
    where = at(url, "one", tmp_path)
    driver = Store.create(where, {**ROW, "name": "one"})
    fill(driver, 1)
    cut_off(url)
    driver.update_experiment(ended="after the restart")
    assert Store.open(where).experiment()["ended"] == "after the restart"
    with pytest.raises(StoreError, match="is running in another process"):  # it has its lock again
        Store.open(where, writable=True)
    driver.close()


def test_a_driver_that_lost_its_lock_to_another_writes_no_more(url, tmp_path, monkeypatch):
    monkeypatch.setattr("raynas.results.store.PATIENCE_S", 1.0)
    where = at(url, "one", tmp_path)
    driver = Store.create(where, {**ROW, "name": "one"})
    cut_off(url)
    other = Store.open(where, writable=True)
    with pytest.raises(StoreError, match="is running in another process"):
        driver.update_experiment(ended="by the first")
    assert driver.broken is not None
    driver.close()
    other.update_experiment(ended="by the second")
    assert Store.open(where).experiment()["ended"] == "by the second"
    other.close()


def test_a_driver_that_was_cut_off_while_another_went_on_writes_no_more(url, tmp_path):
    """The other has ended by then, so the lock is free again, but what this one knows is not all."""
    where = at(url, "one", tmp_path)
    driver = Store.create(where, {**ROW, "name": "one"})
    fill(driver, 1)
    cut_off(url)
    other = Store.open(where, writable=True)
    other.ask(Trial(1, {"x": 0.5, "z": None}, "other", seed=1, state="running"), 9, {"cpu": 1.0})
    other.close()
    with pytest.raises(StoreError, match="was gone on with by another process"):
        driver.update_experiment(ended="by the first")
    driver.close()
    assert Store.open(where).experiment()["ended"] is None


def test_a_newer_schema_is_refused(url, tmp_path):
    Store.create(at(url, "one", tmp_path), {**ROW, "name": "one"}).close()
    engine = engine_of(database(url), writable=True, dump=str)
    with engine.begin() as connection:
        connection.execute(versions.update().values(schema=SCHEMA + 1))
    engine.dispose()
    with pytest.raises(StoreError, match="written by a newer raynas"):
        Store.open(at(url, "one", tmp_path))
    with pytest.raises(StoreError, match="written by a newer raynas"):
        Store.create(at(url, "two", tmp_path), {**ROW, "name": "two"})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mysql://me:hunter2@host/all", "is in PostgreSQL"),
        ("hunter2", "a store is named like postgresql://"),
        ("postgresql://me:hunter2@host:port/all", "a store is named like postgresql://"),
        ("postgresql://me:hunter2@127.0.0.1:1/all", "cannot read the store 'postgresql://me@127.0.0.1:1/all'"),
    ],
)
def test_what_is_no_store_is_said_without_its_password(given, words, tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        open_results("one", tmp_path, given)
    if ":hunter2@" in given:
        assert "hunter2" not in str(caught.value)


def test_the_password_is_shown_nowhere(server, url, tmp_path):
    where = at(url, "one", tmp_path)
    wrong = url.replace(PASSWORD, "wr0ng")
    store = Store.create(where, {**ROW, "name": "one"})
    fill(store)
    store.close()
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        Store.open(at(wrong, "one", tmp_path))
    said = [str(where), repr(where), shown(database(url + "?sslpassword=hunter2")), str(caught.value)]
    for command in (["status"], ["best", "one"], ["results", "one"], ["best", "other"], ["status", "other"]):
        ended = CliRunner().invoke(app, [*command, "--store", url, "--home", str(tmp_path)])
        said.append(ended.output)
        assert ended.exit_code == (2 if "other" in command else 0), ended.output
    assert "there is no experiment 'other'" in said[-1]
    assert not [text for text in said if PASSWORD in text or "wr0ng" in text]


def test_a_search_is_the_same_in_either_store(url, tmp_path, ray_here, monkeypatch):
    near = raynas.search(SPACE, "trainings:once", trials=4, seed=5, name="mine", home=tmp_path / "a", **ASKED)
    far = raynas.search(SPACE, "trainings:once", trials=4, seed=5, name="mine", home=tmp_path / "b", store=url, **ASKED)
    assert not (far.folder / "store.db").exists()
    columns = ["number", "state", "fitness", "epochs", "x", "score", "identity", "seed", "origin"]
    pd.testing.assert_frame_equal(near.trials[columns], far.trials[columns])
    with pytest.raises(InputError, match="exists with another spec"):
        raynas.search(SPACE, "trainings:once", trials=4, seed=6, name="mine", home=tmp_path / "c", store=url, **ASKED)
    monkeypatch.setenv("RAYNAS_STORE", url)
    more = raynas.resume("mine", trials=6, home=tmp_path / "c", progress=False)  # from another home
    assert list(more.trials["state"]) == ["done"] * 6
    pd.testing.assert_frame_equal(more.trials.loc[:3, columns], far.trials[columns])
    assert raynas.reproduce("mine", 0, home=tmp_path / "e").identical
    assert experiments(tmp_path / "b") == ["mine"]
    other = raynas.search(SPACE, "trainings:once", trials=1, home=tmp_path / "c", **ASKED)
    again = raynas.search(SPACE, "trainings:once", trials=1, home=tmp_path / "d", **ASKED)
    assert again.name == f"{other.name}-2", "names are one database's, not one folder's"


DRIVER = """
import sys
from ray import tune
import raynas
space = {"x": tune.uniform(0, 1), "journal": sys.argv[1]}
raynas.search(space, "trainings:endless", objective="score", search="random", trials=6, home=sys.argv[2], name="killed",
              seed=1, cpu=1, progress=False, store=sys.argv[3])
"""


@pytest.mark.slow
def test_a_killed_search_resumes_and_runs_nothing_twice(url, tmp_path, ray_here):
    """kill -9 of the driver in the middle of a real search."""
    journal, home = tmp_path / "journal", tmp_path / "runs"
    import_path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(journal), str(home), url],
        env={**os.environ, "PYTHONPATH": import_path},
        start_new_session=True,
    )
    done = 0
    while done < 2:
        assert driver.poll() is None
        time.sleep(0.2)
        done = Store.open(at(url, "killed", home)).counts().get("done", 0) if "killed" in names_in(database(url)) else 0
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = open_results("killed", home, url).trials
    told = before[before["state"] == "done"]
    results = raynas.resume("killed", home=home, store=url, progress=False)
    assert list(results.trials["state"]) == ["done"] * 6
    pd.testing.assert_frame_equal(results.trials.loc[told.index], told)
    trained = [line.split() for line in journal.read_text().splitlines()]
    for number, x in told["x"].items():
        assert [int(epoch) for at_x, epoch in trained if float(at_x) == x] == list(range(1, 21)), number


COMMANDS = """
search genome_cnn limits=flops<=2e6 --data fashion_mnist_mini --trials 2 --epochs 1 --search random --name mine
resume mine --trials 3
verify mine --k 1 --random 1 --seeds 2 --baseline none
verify mine --weights
results mine --format csv
export mine --output model --format safetensors
train mine --epochs 1
compare mine mine-trained
reproduce mine --trial NUMBER
plot mine best_so_far
report mine
status
"""


@pytest.mark.slow
def test_every_command_finds_an_experiment_in_the_database(url, tmp_path, ray_here, monkeypatch):
    """From the search to the report, with --store alone."""
    monkeypatch.chdir(tmp_path)
    for line in COMMANDS.strip().splitlines():
        command = line.split()
        if "NUMBER" in command:
            command[command.index("NUMBER")] = str(open_results("mine", store=url).best()["number"].iloc[0])
        ended = CliRunner().invoke(app, [*command, "--store", url])
        assert ended.exit_code == 0, f"{command}\n{ended.output}"
    assert names_in(database(url)) == ["mine", "mine-trained"]
    assert not list(tmp_path.rglob("store.db"))
    assert open_results("mine", store=url).verification is not None
    assert "Recommended" in (tmp_path / "mine-report.html").read_text()
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert "RAYNAS_STORE" not in os.environ
