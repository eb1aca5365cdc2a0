"""Who else hears: every trial once, whole, in MLflow, TensorBoard, Weights & Biases and Optuna, whatever was killed."""

import json
import struct

import mlflow
import optuna
import pytest
import trainings
from ray import tune
from test_cli import raynas as command
from test_ledger import open_ledger, run_all, run_one, score

import raynas
from raynas.objectives import parse_limit
from raynas.run.experiment import Experiment
from raynas.run.plan import make_plan
from raynas.run.tracking import Audience, check_trackers, open_trackers, without_passwords
from raynas.run.tracking.table import TRACKERS
from raynas.space import read
from raynas.tables import InputError

SPACE = {"x": tune.uniform(0.0, 1.0), "n": tune.randint(0, 50)}


class Noted:
    """Writes down what it hears; `has` are the trials that it says it has."""

    def __init__(self, has=(), breaks=False):
        self.has, self.breaks, self.heard, self.closed = set(has), breaks, {}, 0

    def missing(self, record):
        return record.keys() - self.has

    def _note(self, trial, what):
        if self.breaks:
            raise ConnectionError("nobody there\nat all")
        self.heard.setdefault(trial.number, []).append(what)

    def start(self, trial):
        self._note(trial, "start")

    def hear(self, trial, epoch, fitness, metrics):
        assert metrics["score"] * epoch == fitness
        self._note(trial, epoch)

    def end(self, trial):
        self._note(trial, trial.state)

    def close(self):
        self.closed += 1


def tracked(folder, *trackers, **given):
    audience = Audience({str(number): tracker for number, tracker in enumerate(trackers)})
    more = {**given.pop("more", {}), "audience": audience}
    ledger = open_ledger(folder, more=more, **given)
    audience.replay(ledger.store.history())
    return ledger


# -- what they are told ------------------------------------------------------------------------------------------------


def test_every_trained_trial_is_told_once_and_whole(tmp_path):
    """Twins are not told, refused trials at their end only, a lost process is no second trial."""
    noted = Noted()
    more = {"cost": lambda config: {"params": config["n"]}, "limits": (parse_limit("params < 40"),)}
    space = {"x": tune.choice([0.0, 0.5]), "n": tune.choice([1, 2, 3, 50])}
    ledger = tracked(tmp_path, noted, space=space, search="random", trials=6, more=more)
    first = ledger.next()
    ledger.hear(first.number, 1, 1, {"score": score(first.config)}, score(first.config), 0.1)
    ledger.lose(first.number, 1, "lost", "gone")
    second = ledger.next()
    assert second is first
    ledger.hear(first.number, 1, 2, {"score": 0.0}, 0.0, 0.1)  # of the attempt that was given up
    run_one(ledger, first)
    failing = ledger.next()
    ledger.end(failing.number, 1, "oom", "no room")
    stopped = ledger.next()
    ledger.hear(stopped.number, 1, 1, {"score": 0.5}, 0.5, 0.1)
    ledger.end(stopped.number, 1, None)
    run_all(ledger)
    ledger.close()
    expected = {}
    for number, trial in ledger.trials.items():
        if trial.duplicate_of is None:
            expected[number] = ["refused"] if trial.state == "refused" else ["start", 1, 2, "done"]
    expected |= {first.number: ["start", 1, "start", 2, "done"], failing.number: ["start", "failed"]}
    expected |= {stopped.number: ["start", 1, "stopped"]}
    assert noted.heard == expected
    assert {"refused", "done"} <= {said[-1] for said in expected.values()}
    assert len(noted.heard) < len(ledger.trials)  # there were twins
    assert noted.closed == 1


@pytest.mark.parametrize("has", [set(), {0}, {0, 1, 2}])
def test_what_a_tracker_missed_is_told_from_the_store(tmp_path, has):
    """After a kill in the midst of the third trial."""
    ledger = open_ledger(tmp_path, search="random", trials=5)
    for _ in range(2):
        run_one(ledger, ledger.next())
    third = ledger.next()
    ledger.hear(2, 1, 1, {"score": score(third.config)}, score(third.config), 0.1)
    ledger.store.close()
    noted = Noted(has)
    ledger = tracked(tmp_path, noted, search="random", trials=5)
    on_record = {0: ["start", 1, 2, "done"], 1: ["start", 1, 2, "done"], 2: ["start", 1]}
    before = {number: said for number, said in on_record.items() if number not in has}
    assert noted.heard == before
    run_all(ledger)
    assert noted.heard[2] == [*before.get(2, []), "start", 2, "done"]
    assert noted.heard[4] == ["start", 1, 2, "done"]


def test_one_that_raises_is_left_out_and_the_search_goes_on(tmp_path, capsys):
    broken, noted = Noted(breaks=True), Noted()
    ledger = tracked(tmp_path, broken, noted, trials=5)
    run_all(ledger)
    ledger.close()
    assert len(noted.heard) == 5
    assert broken.closed == 1
    assert capsys.readouterr().err == "note: no longer tracked by 0: ConnectionError: nobody there\n"


# -- the systems themselves, through a ledger and a kill -----------------------------------------------------------------


def scalars(folder):
    """(tag, step, value) of the event files in a folder: TFRecords of TensorBoard's own messages."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content, place = file.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            found += [
                (value.tag, event.step, round(value.simple_value, 5))
                for value in event.summary.value
                if value.HasField("simple_value")
            ]
            place += 16 + length
    return found


def mlflow_runs(uri, name):
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs)
    return client, {int(run.info.run_name): run for run in runs}


def offline_runs(folder):
    """What `wandb sync` would send: by trial, the run's record and its history."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = {}
    for file in folder.glob("wandb/offline-run-*/*.wandb"):
        content, place, whole = file.read_bytes()[7:], 0, b""
        record, history = None, []
        while place + 7 <= len(content):
            room = 32768 - (place + 7) % 32768  # records are cut where blocks end
            if room < 7:
                place += room
                continue
            _, length, kind = struct.unpack_from("<IHB", content, place)
            whole += content[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # whole, or the last part
                item, whole = Record.FromString(whole), b""
                if item.WhichOneof("record_type") == "run":
                    record = item.run
                elif item.WhichOneof("record_type") == "history":
                    history.append({(i.key or i.nested_key[0]): json.loads(i.value_json) for i in item.history.item})
        found[int(record.display_name)] = record, history
    return found


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory):
    """A database that MLflow has set up, which takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    check_trackers([f"mlflow:sqlite:///{path}"])
    return path


@pytest.fixture
def places(tmp_path, empty_mlflow):
    """Where three systems write, and `mlflow` and `optuna` as URLs."""
    (tmp_path / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    return {
        "mlflow": f"sqlite:///{tmp_path}/mlflow.db",
        "tensorboard": str(tmp_path / "boards"),
        "optuna": f"sqlite:///{tmp_path}/study.db",
    }


def opened(places, folder, name="test", created=1.0, objective="score"):
    given = {"space": read(SPACE).spec(), "trainable": "trainings:parabola", "objective": objective}
    plan = make_plan(Experiment.model_validate(given))
    return open_trackers([f"{kind}:{place}" for kind, place in places.items()], name, created, folder, plan)


def test_a_killed_search_leaves_every_trial_once_and_whole(tmp_path, places):
    def session(trials):
        audience = opened(places, tmp_path)
        assert len(audience.trackers) == 3
        ledger = open_ledger(tmp_path, search="random", trials=trials, more={"audience": audience})
        audience.replay(ledger.store.history())
        return ledger

    ledger = session(4)
    run_one(ledger, ledger.next())
    stopped, killed = ledger.next(), ledger.next()
    for trial in (stopped, killed):
        ledger.hear(trial.number, 1, 1, {"score": score(trial.config)}, score(trial.config), 0.1)
    ledger.end(stopped.number, 1, None)
    ledger.store.close()  # nobody says goodbye
    ledger = session(4)
    run_one(ledger, ledger.next())
    last = ledger.next()
    ledger.end(last.number, last.attempt, "error", "KeyError: 'it'")
    run_all(ledger)
    ledger.close()
    session(4).close()  # nothing new
    states = {0: "done", 1: "stopped", 2: "done", 3: "failed"}
    assert {number: trial.state for number, trial in ledger.trials.items()} == states
    curves = {number: dict(trial.curve) for number, trial in ledger.trials.items()}

    client, runs = mlflow_runs(places["mlflow"], "test")
    assert {number: run.info.status for number, run in runs.items()} == {
        number: "FAILED" if state == "failed" else "FINISHED" for number, state in states.items()
    }
    assert runs[3].data.tags["raynas_state"] == "error"
    assert runs[1].data.tags["raynas_state"] == "stopped"
    for number, run in runs.items():
        config = {name: str(value) for name, value in ledger.trials[number].config.items()}
        assert run.data.params == {**config, "seed": str(ledger.trials[number].seed)}
        history = client.get_metric_history(run.info.run_id, "fitness") if curves[number] else []
        assert [(metric.step, metric.value) for metric in history] == list(curves[number].items())

    for number, curve in curves.items():
        found = [
            item for item in scalars(tmp_path / "boards" / "test" / f"{number:05d}") if item[0].endswith("/fitness")
        ]
        assert found == [("ray/tune/fitness", epoch, round(value, 5)) for epoch, value in curve.items()]

    study = optuna.load_study(study_name="test", storage=places["optuna"])
    by_number = {trial.user_attrs["number"]: trial for trial in study.trials}
    assert len(study.trials) == len(by_number) == 4
    assert {number: trial.state.name for number, trial in by_number.items()} == {
        0: "COMPLETE", 1: "PRUNED", 2: "COMPLETE", 3: "FAIL",
    }  # fmt: skip
    for number, trial in by_number.items():
        assert trial.params == ledger.trials[number].config
        assert trial.intermediate_values == pytest.approx(curves[number])
    assert study.best_trial.user_attrs["number"] == ledger.best()[0].number
    assert study.best_value == ledger.best()[0].fitness
    assert by_number[3].user_attrs["error"] == "KeyError: 'it'"


def test_two_searches_of_one_name_stay_apart(tmp_path, places):
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        audience = opened(places, folder, created=float(number))
        ledger = open_ledger(folder, search="random", seed=number, trials=2, more={"audience": audience})
        run_all(ledger)
        ledger.close()
        assert len(audience.trackers) == 3
    assert sorted(path.name for path in (tmp_path / "boards").iterdir()) == ["test", "test-2"]
    assert sorted(optuna.get_all_study_names(places["optuna"])) == ["test", "test-2"]
    client = mlflow.MlflowClient(places["mlflow"])
    runs = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    assert len(runs) == 4
    assert len({run.data.tags["raynas_search"] for run in runs}) == 2


def test_an_interrupted_run_goes_on_as_one(tmp_path, places):
    """Closed in the midst of a trial: MLflow shows it as killed until the search goes on."""
    ledger = open_ledger(tmp_path, search="random", trials=1, more={"audience": opened(places, tmp_path)})
    trial = ledger.next()
    ledger.hear(0, 1, 1, {"score": score(trial.config)}, score(trial.config), 0.1)
    ledger.close()
    ledger.store.close()
    assert mlflow_runs(places["mlflow"], "test")[1][0].info.status == "KILLED"
    audience = opened(places, tmp_path)
    ledger = open_ledger(tmp_path, search="random", trials=1, more={"audience": audience})
    audience.replay(ledger.store.history())
    run_all(ledger)
    ledger.close()
    client, runs = mlflow_runs(places["mlflow"], "test")
    assert runs[0].info.status == "FINISHED"
    assert [metric.step for metric in client.get_metric_history(runs[0].info.run_id, "fitness")] == [1, 2]
    steps = [step for tag, step, _ in scalars(tmp_path / "boards" / "test" / "00000") if tag == "ray/tune/fitness"]
    assert steps == [1, 2]


def test_several_goals_are_the_studys_directions(tmp_path, places):
    goals = {"fitness": "pareto", "metrics": {"score": "max", "x_again": "min"}}
    only = {"optuna": places["optuna"]}
    ledger = open_ledger(
        tmp_path, search="random", trials=2, more={"audience": opened(only, tmp_path, objective=goals)}
    )
    for _ in range(2):
        trial = ledger.next()
        ledger.hear(trial.number, 1, 1, {"score": 0.5, "x_again": trial.config["x"]}, 0.5, 0.1)
        ledger.end(trial.number, 1, "done")
    study = optuna.load_study(study_name="test", storage=places["optuna"])
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["score", "x_again"]
    assert [trial.values for trial in study.trials] == [[0.5, trial.config["x"]] for trial in ledger.trials.values()]
    best = min(ledger.trials.values(), key=lambda trial: trial.config["x"])
    assert [trial.user_attrs["number"] for trial in study.best_trials] == [best.number]


def test_structured_spaces_are_decisions_in_the_study(tmp_path, places):
    given = {"space": "genome_cnn", "data": "fashion_mnist_mini", "hyperparameters": {"clip": {"choice": [None, 1.0]}}}
    plan = make_plan(Experiment.model_validate(given))
    audience = open_trackers([f"optuna:{places['optuna']}"], "test", 1.0, tmp_path, plan)
    ledger = open_ledger(tmp_path, space=plan.space, search="random", trials=6, more={"audience": audience})
    while not isinstance(trial := ledger.next(), str):
        ledger.hear(trial.number, 1, 1, {"val_accuracy": trial.number / 10}, trial.number / 10, 0.1)
        ledger.end(trial.number, 1, "done")
    study = optuna.load_study(study_name="test", storage=places["optuna"])
    assert len(study.trials) == 6
    for trial in study.trials:
        assert plan.space.unflat(trial.params) == ledger.trials[trial.user_attrs["number"]].config
        assert trial.user_attrs["config.architecture"] == plan.space.unflat(trial.params)["architecture"]
    assert {choice for trial in study.trials for choice in trial.distributions["clip"].choices} == {None, 1.0}


# -- at the door -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mlflo:sqlite:///x.db", "unknown tracker 'mlflo'. Did you mean 'mlflow'"),
        ("optuna", "say where optuna is to write, e.g. optuna:sqlite:///study.db"),
        ("optuna:nonsense", "cannot track by 'optuna:nonsense': "),
        ("optuna:sqlite:////proc/none/study.db", "cannot track by 'optuna:sqlite:////proc/none/study.db': "),
        ("mlflow:postgresql://me:secret@127.0.0.1:1/x", "cannot track by 'mlflow:postgresql://me:***@127.0.0.1:1/x': "),
        ("tensorboard:/proc/version/x", "'/proc/version' is no folder that can be written to"),
        ("wandb:project", "cannot track by 'wandb:project': No WandB API key found"),
    ],
)
def test_what_cannot_be_tracked_is_said_before_anything_is_written(tmp_path, monkeypatch, given, said):
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    arguments = ["search", "genome_cnn", "--data", "fashion_mnist_mini", "--track", given]
    code, printed = command(*arguments, home=tmp_path / "runs")
    assert code == 2
    assert said in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_missing_package_names_its_extra(monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(InputError, match=rf"pip install 'raynas\[{name}\]'"):
        check_trackers([f"{name}:x"])


def test_one_of_a_kind(tmp_path):
    with pytest.raises(InputError, match="tracked by one tensorboard"):
        check_trackers([f"tensorboard:{tmp_path}", f"tensorboard:{tmp_path}/b"])


def test_passwords_are_not_stored():
    given = ["mlflow:https://me:se:cret@host/x", "optuna:postgresql://me@host/x", "tensorboard:a/b", "wandb:a"]
    assert without_passwords(given) == ["mlflow:https://me:***@host/x", *given[1:]]
    with pytest.raises(InputError, match="the password of 'mlflow:https://me:\\*\\*\\*@host/x' is not stored"):
        check_trackers(without_passwords(given))


# -- a real search ---------------------------------------------------------------------------------------------------


def test_a_search_is_tracked_by_all_of_them(ray_here, tmp_path, places, monkeypatch):
    """Odd metrics, a failure at once and one later, twins; and a resume with fewer trackers adds no trial."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    track = [f"{kind}:{place}" for kind, place in places.items()] + ["wandb:proj"]
    given = {"objective": "score", "search": "random", "seed": 2, "resources": {"concurrency": 1}}
    space = {"x": tune.choice([0, 1, 2, 3])}
    results = raynas.search(
        space, trainings.steps, trials=5, name="all", home=tmp_path, track=track, progress=False, **given
    )
    frame = results.trials.set_index("number")
    own = frame[frame["duplicate_of"].isna()]
    assert results.experiment["spec"]["track"] == track
    assert len(own) == 5 < len(frame)
    _, runs = mlflow_runs(places["mlflow"], "all")
    assert set(runs) == set(own.index)
    odd = runs[own[own["x"] == 3].index[0]].data
    assert odd.metrics["top_5"] == 0.5
    assert odd.metrics["parts/a"] == 1.0
    assert {path.name for path in (tmp_path / "boards" / "all").iterdir() if path.is_dir()} == {
        f"{number:05d}" for number in own.index
    }
    study = optuna.load_study(study_name="all", storage=places["optuna"])
    assert study.best_trial.user_attrs["number"] == results.best()["number"].iloc[0]
    wandb = offline_runs(results.folder)
    assert set(wandb) == set(own.index)
    for number, (record, history) in wandb.items():
        epochs = results.curves.query(f"number == {number}")["epoch"].tolist()
        assert [item["training_iteration"] for item in history] == epochs
        assert (record.project, record.run_group) == ("proj", "all")
        assert {item.key: json.loads(item.value_json) for item in record.config.update}["x"] == own["x"][number]
    more = raynas.resume("all", trials=5, track=track[2:3], home=tmp_path, progress=False)
    assert more.experiment["spec"]["track"] == track[2:3]
    assert len(optuna.load_study(study_name="all", storage=places["optuna"]).trials) == 5
    again = raynas.search(space, trainings.steps, trials=5, name="all", home=tmp_path, progress=False, **given)
    assert len(again.trials) == len(frame)  # who hears is no part of what a search is
