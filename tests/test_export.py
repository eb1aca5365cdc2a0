"""Exported networks: every format does what the trained network does, in a folder that is whole or not there."""

import ast
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ray import tune
from test_cli import raynas as command
from test_models import CONFIGS, a_cell, a_genome, a_pair
from torch import nn

import raynas
from raynas.data import load
from raynas.exports.card import card
from raynas.exports.folder import chosen, export, write_all
from raynas.exports.formats import FORMATS, ExportError, Format
from raynas.exports.images import read_images
from raynas.exports.model import Trained, from_folder
from raynas.exports.predict import predict
from raynas.exports.record import Record, read_record, title, write_record
from raynas.models import MODELS, build, macro, micro, nas_bench_201
from raynas.models.source import SOURCES, dense_cell, skips, source, two_inputs, write
from raynas.models.source.chains import FUNCTIONS
from raynas.rng import stream
from raynas.space import read
from raynas.space.genome import ACTIVATIONS
from raynas.tables import InputError

needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")), reason="needs the extra export"
)

# -- networks written out --------------------------------------------------------------------------------------------

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 11, 8), (1, 9, 9)]
NAMES = ("a coat", 'the "shirt"', "it's a bag")
SMALL = {"nas_bench_201": {"channels": 3, "cells": 2}, "enas_micro": {"layers": 3, "channels": 2, "dropout": 0.1}}
SMALL["enas_macro"] = {"channels": 2, "dropout": 0.1}
EXTREMES = {
    "dead_cell": a_cell("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_1x1~1|none~2|", channels=2, cells=1),
    "dead_edges": a_cell("|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_3x3~0|none~1|none~2|", channels=2),
    "training_only": a_pair("0 1 1 3 0 4 1 2", "1 0 0 1 2 2 1 4", layers=4, channels=2, drop_path=0.2, auxiliary=0.4),
    "three_reductions": a_pair("0 4 0 4 1 4 2 4", "1 4 0 4 2 4 0 4", layers=3, channels=2, reductions=3, stem_stride=2),
    "one_layer": {"model": "enas_macro", "architecture": "max_pool_3x3", "channels": 3},
}


def shaken(network, seed=0):
    """In evaluation mode, with other numbers everywhere: a layer in another's place shows."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                uniform = torch.rand(tensor.shape, generator=draw)
                positive = name.endswith(("running_var", "norm.weight"))
                tensor.copy_(uniform + 0.5 if positive else tensor + 0.2 * (uniform - 0.5))
    return network.eval()


def written(config, shape, names=NAMES, about="Trial 3."):
    made = source(config, shape, len(names))
    mean, std = [0.25, 0.5, 1.0][: shape[0]], [2.0, 1.0, 0.5][: shape[0]]
    return made, write(made, about, shape, names, mean, std, "pixels"), mean, std


def checked(text):
    """The file, with every comment on a size made an assertion."""
    pattern = r"^( *)(?:older, )?(\w+) = (.*?)  # (\d+) x (\d+) x (\d+)$"
    return re.subn(pattern, r"\g<0>\n\1assert tuple(\2.shape[1:]) == (\4, \5, \6)", text, flags=re.MULTILINE)


def same(config, shape, seed=0):
    """The network written out has the logits of the one that is built; returns the file."""
    network = shaken(build(config, shape, len(NAMES)), seed)
    made, text, mean, std = written(config, shape)
    code, sizes = checked(re.sub(r"^( *)older = last = ", r"\1last = older = ", text, flags=re.MULTILINE))
    assert sizes >= 1
    place = {"__file__": "network.py", "__name__": "network"}
    exec(compile(code, "network.py", "exec"), place)
    other = place["Network"]().eval()
    other.load_state_dict(made.weights(network.state_dict()))  # strict: every name is there, and no other
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(seed))
    normal = (images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    with torch.no_grad():
        expected, found = network(normal), other(images)
    assert expected.std() > 0
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6), (found - expected).abs().max()
    return text


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", [*CONFIGS, *EXTREMES])
def test_networks_written_out_do_what_the_built_ones_do(name, shape):
    config = (CONFIGS | EXTREMES)[name]
    if name == "training_only" and min(shape[1:]) < 20:
        pytest.skip("an auxiliary head needs 5 px where it stands")
    text = same(config, shape)
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.split(".")[0] for name in imported} == {"torch", "pathlib"}


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(sorted(SOURCES)), st.integers(0, 10**6), st.sampled_from(SHAPES), st.booleans())
def test_whatever_is_drawn_from_a_space_is_written_out_alike(kind, number, shape, shared):
    space = read({"genome": "genome_cnn"}.get(kind, kind))
    config = {**space.sample(stream(number)), **SMALL.get(kind, {})}
    if kind.startswith("enas"):
        config["form"] = "shared" if shared else "final"
    same(config, shape, number)


def test_every_model_and_every_operation_can_be_written_out():
    assert set(SOURCES) == set(MODELS)
    assert set(FUNCTIONS) == set(ACTIVATIONS)
    assert set(dense_cell.OPERATIONS) == set(nas_bench_201.OPERATIONS)
    assert set(two_inputs.OPERATIONS) == set(micro.OPERATIONS)
    assert set(skips.OPERATIONS) == set(macro.OPERATIONS)


def test_what_is_not_needed_is_not_there():
    text = written(EXTREMES["dead_edges"], (1, 28, 28))[1]
    assert text.count("ConvBlock(channels, channels") == 1  # the one edge from input to output
    assert "avg_pool(" not in text
    text = written(EXTREMES["training_only"], (1, 28, 28))[1]
    assert "drop-path and the auxiliary head" in text
    assert "128" not in text  # the auxiliary head's channels
    assert "F." not in written(a_genome("NC 5 3 tanh;FL tanh"), (1, 28, 28))[1].split("class Network")[1]


def test_files_are_as_formatters_and_linters_want_them(tmp_path):
    for name, config in (CONFIGS | EXTREMES).items():
        (tmp_path / f"{name}.py").write_text(written(config, (3, 32, 32))[1])
    many = tuple(f"class number {number}" for number in range(30))
    nasty = 'Trial 3 of """x""" in C:\\new.'
    (tmp_path / "nasty.py").write_text(written(CONFIGS["relu"], (1, 28, 28), many, nasty)[1])
    rules = ["--isolated", "--select", "E,F,I,B,UP,SIM,RUF,W", "--ignore", "E501"]
    for arguments in (["check", *rules], ["format", "--isolated", "--check", "--diff"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *arguments, tmp_path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


# -- a real search, exported -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def some_images(tmp_path_factory):
    """A few of the packaged images as a file of one's own."""
    data = load("fashion_mnist_mini")
    parts = {"train": data.train.take(np.arange(400)), "val": data.validation.take(np.arange(100))}
    path = tmp_path_factory.mktemp("data") / "clothes.npz"
    np.savez(
        path,
        **{f"{part}_{what}": getattr(split, what) for part, split in parts.items() for what in ("images", "labels")},
    )
    return path


@pytest.fixture(scope="module")
def searched(tmp_path_factory, some_images, ray_here):
    space = {
        "model": "genome",
        "architecture": tune.choice([CONFIGS[name]["architecture"] for name in ("smooth", "relu")]),
    }
    return raynas.search(
        space,
        data=some_images,
        search="grid",
        trials=2,
        epochs=2,
        training={"batch_size": 20, "lr": 0.005},
        keep=1,
        home=tmp_path_factory.mktemp("runs"),
        name="night",
        progress=False,
    )


@pytest.fixture(scope="module")
def exported(searched, tmp_path_factory):
    score = SimpleNamespace(trial=int(searched.best()["number"].iloc[0]), accuracy=0.5, low=0.4, high=0.6, images=1000)
    return export(searched, output=tmp_path_factory.mktemp("out") / "model", score=score)


@pytest.fixture
def photos(tmp_path):
    """Real images as files, larger than the network's and in colour."""
    images = load("fashion_mnist_mini").validation.images[:3]
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).resize((56, 40)).convert("RGB").save(tmp_path / f"{number}.png")
    return tmp_path


def test_every_format_is_there_and_close(exported):
    wanted = [name for name in FORMATS if name not in exported.left_out]
    assert list(exported.differences) == wanted
    assert exported.images >= 64
    assert all(0 <= difference < 1e-4 for difference in exported.differences.values())
    assert exported.differences["safetensors"] < 1e-5
    files = {file for name in wanted for file in FORMATS[name].files}
    assert {path.name for path in exported.folder.iterdir()} == {*files, "README.md"}
    assert read_record(exported.folder).formats == exported.differences
    assert [path.name for path in exported.folder.parent.iterdir()] == ["model"]  # nothing is left beside it


def test_predictions_are_those_of_the_trained_network(searched, exported, some_images):
    data = load(some_images)
    network = raynas.model(searched)
    images = torch.from_numpy(data.validation.images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = network((images - float(data.mean[0])) / float(data.std[0])).softmax(dim=1)
    for model in (exported.folder, exported.folder / "model.json", searched):
        frame = raynas.predict(model, data.validation.images)
        assert frame["class"].tolist() == expected.argmax(dim=1).tolist()
        assert np.allclose(frame["probability"], expected.max(dim=1).values, atol=1e-5)
    second = expected.sort(dim=1, descending=True)
    assert np.allclose(frame["second_probability"], second.values[:, 1], atol=1e-5)
    assert [data.class_names[number] for number in frame["class"]] == frame["name"].tolist()
    accuracy = (frame["class"].to_numpy() == data.validation.labels).mean()
    assert accuracy == pytest.approx(searched.best()["val_accuracy"].iloc[0], abs=0.01)


def test_the_commands(searched, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    number, home = int(searched.best()["number"].iloc[0]), searched.folder.parent
    code, output = command("export", "night", "--format", "torch", home=home)
    folder = tmp_path / f"night-trial-{number}"
    assert code == 0, output
    assert "model.pt2" in output
    assert not (folder / "model.onnx").exists()
    code, output = command("export", "night", home=home)
    assert code == 2
    assert "is there already" in output
    code, output = command("export", "night", "--format", "safetensors", "--force", home=home)
    assert code == 0, output
    assert not (folder / "model.pt2").exists()
    code, output = command("predict", folder, photos, "--format", "json")
    assert code == 0, output
    rows = json.loads(output)
    assert [row["image"] for row in rows] == [str(photos / f"{number}.png") for number in range(3)]
    again = predict(searched, photos)
    assert [row["class"] for row in rows] == again["class"].tolist()
    for form in ("table", "csv"):
        code, output = command("predict", folder, photos / "0.png", "--format", form)
        assert code == 0
        assert rows[0]["name"] in output


def test_every_block_of_the_card_runs(exported, photos, monkeypatch):
    folder = exported.folder
    text = (folder / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    scores = {score["name"]: score["value"] for score in front["model-index"][0]["results"][0]["metrics"]}
    assert scores["test accuracy"] == 0.5
    assert scores["validation accuracy"] == pytest.approx(read_record(folder).metrics["val_accuracy"], abs=1e-6)
    assert "0.4000 to 0.6000" in text
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    photo = folder / "photo.png"
    shutil.copy(photos / "0.png", photo)
    try:
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        assert len([kind for kind, _ in blocks if kind == "python"]) == len(exported.differences)
        for kind, block in blocks:
            if kind == "bash":
                code, output = command(*block.split()[1:])
                assert code == 0, output
            elif kind == "python":
                exec(compile(block, "README.md", "exec"), {"__name__": "card"})
            else:
                assert yaml.safe_load(block) == read_record(folder).config
    finally:
        sys.modules.pop("network", None)
        photo.unlink()


def test_the_folder_one_is_in_is_not_replaced(exported, searched, monkeypatch):
    monkeypatch.chdir(exported.folder)
    for place in (".", ".."):
        with pytest.raises(InputError, match="say its name"):
            export(searched, output=place, force=True)
    assert (exported.folder / "model.json").is_file()


def test_names_are_no_markup_in_the_card():
    """Names of classes and of data are folders' names: anything."""
    names = ("<script>alert(1)</script>", "a|b *c* `d`\n# e")
    record = a_model({"model": "test_export:own_network", "width": 4}, classes=2).record
    data = {**record.data, "name": "x`<b>`\n---\n😀"}
    changes = {"class_names": list(names), "data": data, "formats": {"safetensors": 0.0}}
    text = card(record.model_copy(update=changes), 1)
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(front)["model-index"][0]["results"][0]["dataset"]["name"] == data["name"]
    assert r"Classes: 0 \<script\>alert\(1\)\</script\>, 1 a\|b \*c\* \`d\` \# e." in body
    assert body.count("`x'<b>' --- 😀`") == 3


@pytest.mark.parametrize(
    ("objective", "row", "limit"),
    [
        ({"fitness": "accuracy"}, "the search chose by it", "by its accuracy on validation, which therefore flatters it."),
        ({"fitness": "loss"}, "the search did not choose by it", "by its loss on validation, which therefore flatters"),
        ({"fitness": "metric", "metric": "params", "mode": "min"}, "the search did not choose by it", "by its number of parameters. Nothing"),
        ({"fitness": "pareto", "metrics": {"val_accuracy": "max", "flops": "min"}}, "the search chose by it and others",
         "by its accuracy on validation and `flops`, which"),
        ({"fitness": "genome", "alpha": 0.3}, "the search chose by it and others", "by its accuracy on validation and number of parameters, which"),
    ],
    ids=lambda value: value["fitness"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_the_card_says_what_the_search_chose_by(objective, row, limit):
    record = a_model({"model": "test_export:own_network", "width": 4}, classes=2).record
    changes = {"search": record.search.model_copy(update={"objective": objective}), "metrics": {"val_accuracy": 0.5}}
    text = card(record.model_copy(update=changes), 1)
    assert f"| validation | 1 | 0.5000 | {row} |" in text
    assert f"The search chose it {limit}" in text


def test_a_format_that_differs_fails_the_export_and_leaves_nothing(searched, tmp_path, monkeypatch):
    honest = FORMATS["torch"]

    def off(folder, batches):
        return honest.run(folder, batches) + 1e-2

    monkeypatch.setitem(FORMATS, "torch", Format(honest.files, honest.about, honest.write, off))
    with pytest.raises(ExportError, match=r"torch is not the original: its logits differ by up to 0\.01 on 128"):
        export(searched, output=tmp_path / "out", formats=["torch"])
    assert list(tmp_path.iterdir()) == []


def test_the_file_alone_is_checked_without_raynas(searched, tmp_path, monkeypatch):
    honest = FORMATS["python"]

    def leaning(folder, model):
        honest.write(folder, model)
        text = (folder / "network.py").read_text()
        (folder / "network.py").write_text(text.replace("import torch\n", "import raynas\nimport torch\n", 1))

    monkeypatch.setitem(FORMATS, "python", Format(honest.files, honest.about, leaning, honest.run))
    with pytest.raises(ExportError, match="import of raynas halted"):
        export(searched, output=tmp_path / "out", formats=["python"])
    assert list(tmp_path.iterdir()) == []


def test_a_verification_has_its_own_name(changed):
    other = changed("UPDATE experiments SET name = 'night/verify-1'")
    assert title(other.name, 3) == "night-verify-1-trial-3"


def test_nothing_is_written_over(searched, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for force, said in ((False, "is there already"), (True, "is no exported folder")):
        with pytest.raises(InputError, match=said):
            export(searched, output=mine, formats=["safetensors"], force=force)
    assert (mine / "thesis.txt").read_text() == "years of work"


# -- what cannot be exported -------------------------------------------------------------------------------------------


@pytest.fixture
def changed(searched, tmp_path):
    """A copy of the search whose store can be changed."""
    shutil.copytree(searched.folder, tmp_path / "night")

    def change(statement, *values):
        with sqlite3.connect(tmp_path / "night" / "store.db") as connection:
            connection.execute(statement, values)
        connection.close()
        return raynas.open(tmp_path / "night")

    return change


def test_trials_that_have_nothing_to_give_are_refused(searched, changed, tmp_path):
    frame = searched.trials[searched.trials["state"] == "done"].sort_values("fitness")
    worst, best = int(frame["number"].iloc[0]), int(frame["number"].iloc[-1])
    out = {"output": tmp_path / "out", "formats": ["safetensors"]}
    with pytest.raises(
        InputError, match=f"no weights were kept for trial {worst} of 'night': trials {best} have theirs"
    ):
        export(searched, worst, **out)
    with pytest.raises(InputError, match="has no trial 999"):
        export(searched, 999, **out)
    state = "UPDATE trials SET state = ?, failure = ?, error = ? WHERE number = ?"
    results = changed(state, "failed", "diverged", "the loss is nan", best)
    with pytest.raises(InputError, match=f"trial {best} of 'night' failed: the loss is nan"):
        export(results, best, **out)
    with pytest.raises(InputError, match=f"trial {best} of 'night' is still running"):
        export(changed(state, "running", None, None, best), best, **out)
    with pytest.raises(InputError, match=f"was answered by its twin: the network is that of trial {worst}"):
        export(changed("UPDATE trials SET state = 'done', duplicate_of = ? WHERE number = ?", worst, best), best, **out)
    with pytest.raises(InputError, match="has no finished trial yet"):
        export(changed("UPDATE trials SET fitness = NULL"), **out)
    assert not (tmp_path / "out").exists()


def test_other_mistakes_are_said_before_anything_is_written(searched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = searched.folder.parent
    for arguments, said in (
        (["export", "nigt"], "Did you mean 'night'"),
        (["export", "night", "--format", "onx"], "Did you mean 'onnx'"),
        (["predict", "night"], "Missing argument"),
        (["predict", "nigt", "x.npy"], "Did you mean 'night'"),
        (["predict", tmp_path, "x.npy"], "has no model.json"),
        (["predict", "night", "x.png"], "there is no image 'x.png'"),
        (["predict", "night", "x.png", "--format", "jsn"], "Did you mean 'json'"),
    ):
        code, output = command(*arguments, home=home)
        assert code == 2, output
        assert said in " ".join(output.split())
        assert "Traceback" not in output
    with pytest.raises(InputError, match="the score is of trial 77"):
        export(searched, score=SimpleNamespace(trial=77, accuracy=1, low=1, high=1, images=1))
    monkeypatch.setattr("raynas.exports.folder.missing", lambda: "onnx needs onnxruntime: pip install 'raynas[export]'")
    monkeypatch.setattr("raynas.exports.onnx.missing", lambda: "onnx needs onnxruntime: pip install 'raynas[export]'")
    with pytest.raises(InputError, match="pip install 'raynas"):
        export(searched, formats=["onnx"])
    assert list(tmp_path.iterdir()) == []
    wanted, left_out = chosen(a_model(CONFIGS["relu"]), None)
    assert left_out == {"onnx": "onnx needs onnxruntime: pip install 'raynas[export]'"}
    assert wanted == ["safetensors", "torch", "python"]


# -- models without a search -------------------------------------------------------------------------------------------


def own_network(config, input_shape, classes):
    """A model of a user's own."""
    channels, height, width = input_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, config["width"]), nn.Linear(config["width"], classes))  # fmt: skip


def a_model(config, shape=(1, 28, 28), classes=3, task="classification", dtype="uint8", data=None):
    mean, std = ([100.0] * shape[0], [50.0] * shape[0]) if data is None else (data.mean.tolist(), data.std.tolist())
    search = {"searcher": "random", "objective": {}, "seed": 0, "trials": 1, "training_s": 1.0, "elapsed_s": 1.0}
    record = Record(
        name="x", trial=0, config=config, task=task, input_shape=list(shape), classes=classes,
        class_names=[f"c{number}" for number in range(classes)], dtype=dtype, mean=mean, std=std,
        metrics={}, epochs=1, training={}, training_s=1.0, test=None, cost={}, search=search,
        data={"name": "d", "sha256": "0", "train": 1, "validation": 1, "test": 0}, fingerprints={},
    )  # fmt: skip
    return Trained(shaken(build(config, shape, classes)), record)


def a_dataset(shape=(1, 28, 28)):
    images = np.random.default_rng(0).integers(0, 255, (90, *shape[1:], shape[0]), dtype=np.uint8)
    return load((images, np.arange(90) % 3), validation=0.5)


@needs_onnx
@pytest.mark.parametrize(
    "name",
    [
        "macro_shared",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("cell", "micro_loose", "macro", "simple_cnn_2")),
    ],
)
def test_onnx_and_torch_programs_of_every_kind_are_the_same_network(name, tmp_path):
    shape = (3, 32, 32)
    data = a_dataset(shape)
    count, differences = write_all(tmp_path, a_model(CONFIGS[name], shape, data=data), data, ["torch", "onnx"])
    assert count == 90  # all there are: half of them validation
    assert set(differences) == {"torch", "onnx"}
    import onnx

    graph = onnx.load(tmp_path / "model.onnx").graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param  # any number of images


def test_a_model_of_ones_own_is_not_written_out_and_not_imported_unasked(tmp_path, monkeypatch):
    data = a_dataset()
    model = a_model({"model": "test_export:own_network", "width": 4}, data=data)
    wanted, left_out = chosen(model, None)
    assert "python" in left_out
    assert "python" not in wanted
    write_all(tmp_path, model, data, ["safetensors"])
    with pytest.raises(InputError, match="it is not written out"):
        FORMATS["python"].write(tmp_path, model)
    with pytest.raises(InputError, match="built by the function 'test_export:own_network'"):
        predict(tmp_path, np.zeros((28, 28), np.uint8))
    frame = predict(tmp_path, np.zeros((2, 28, 28), np.uint8), own_code=True)
    assert frame["image"].tolist() == ["0", "1"]
    bad = model.record.model_copy(update={"config": {"model": "no_such_module:function", "width": 4}})
    write_record(tmp_path, bad)
    with pytest.raises(InputError, match="own_code"):  # not even looked for
        from_folder(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: {**data, "input_shape": [1, 28]}, "input_shape"),
        (lambda data: {**data, "mean": [1.0, 2.0]}, "classes or channels"),
        (lambda data: {**data, "colour": 3}, "colour"),
        (lambda data: {**data, "raynas_model": 2}, "raynas_model"),
        (lambda data: {**data, "config": {"model": "genom"}}, "Did you mean 'genome'"),
        (lambda data: {**data, "config": {"model": ["genome"]}}, "unknown model"),
        (lambda data: {**data, "config": {"architecture": 5}}, "a genome is a string"),
        (lambda data: {**data, "config": CONFIGS["smooth"]}, "cannot be used"),
        (lambda data: [data], "model.json"),
    ],
)
def test_a_damaged_folder_is_one_clear_error(tmp_path, change, said):
    FORMATS["safetensors"].write(tmp_path, a_model(CONFIGS["relu"]))
    data = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(change(data)))
    with pytest.raises(InputError, match=said):
        from_folder(tmp_path)


def test_damaged_weights_are_one_clear_error(tmp_path):
    FORMATS["safetensors"].write(tmp_path, a_model(CONFIGS["relu"]))
    whole = (tmp_path / "model.safetensors").read_bytes()
    for content in (b"", whole[:50], whole[:-7]):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(InputError, match="cannot be used"):
            from_folder(tmp_path)


# -- predictions -------------------------------------------------------------------------------------------------------


def test_multi_label_probabilities_are_each_their_own():
    model = a_model(CONFIGS["relu"], classes=4, task="multi-label")
    images = np.random.default_rng(0).integers(0, 255, (5, 28, 28), dtype=np.uint8)
    frame = predict(model, images)
    with torch.no_grad():
        expected = model.whole(torch.from_numpy(images)[:, None].float()).sigmoid().numpy()
    assert np.allclose(frame["probability"], expected.max(axis=1))
    for row, labels in zip(expected, frame["labels"], strict=True):
        assert labels == ", ".join(f"c{number}" for number in range(4) if row[number] >= 0.5)
    assert predict(a_model(CONFIGS["relu"], classes=2), images).columns.tolist()[-1] == "second_probability"


def test_images_of_any_form_are_the_same_image(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    record = a_model(CONFIGS["relu"], (3, 32, 32)).record
    Image.fromarray(image).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", image)
    np.savez(tmp_path / "a.npz", other=image[:8, :8], images=image[None])
    forms = [
        image,
        image.transpose(2, 0, 1),
        image[None],
        torch.from_numpy(image),
        Image.fromarray(image),
        image.astype(float),
    ]
    forms += [tmp_path / "a.png", str(tmp_path / "a.npy"), tmp_path / "a.npz", f"{tmp_path}/a.npz#images"]
    for form in forms:
        names, pixels = read_images(form, record)
        assert len(names) == 1
        assert pixels.dtype == np.uint8
        assert (pixels[0] == image).all()
    names, pixels = read_images(forms, record)
    assert len(names) == len(set(names)) == len(forms)
    assert (pixels == image).all()
    grey = rng.integers(0, 255, (7, 40, 30), dtype=np.uint8)  # another size, no colour
    assert read_images(grey, record)[1].shape == (7, 32, 32, 3)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.random.default_rng(0).random((28, 28)), "trained on bytes, 0 to 255; got float64 from"),
        (np.ones((28, 28)), "got float64 from 1 to 1"),  # white, where 1 is the most
        (np.full((28, 28), 300), "got int64 from 300 to 300"),
        (np.full((28, 28), -1), "got int64 from -1"),
        (np.zeros((2, 4, 4), np.uint8), "at least 8 px"),
        (np.zeros((0, 28, 28), np.uint8), "holds no images"),
        (np.zeros((2, 28, 28, 5), np.uint8), "1 or 3 channels"),
        (np.full((8, 8), "a"), "bytes or numbers"),
        (3.5, "must be"),
        ([], "no images were given"),
        ("nowhere.png", "there is no image"),
        ("nowhere.npy", "cannot read 'nowhere.npy'"),
        (__file__, "cannot read the image"),
    ],
    ids=range(13),
)
def test_images_that_are_none(images, said):
    with pytest.raises(InputError, match=said):
        predict(a_model(CONFIGS["relu"]), images)


def test_networks_of_numbers_take_numbers_in_their_units(tmp_path):
    model = a_model(CONFIGS["relu"], dtype="float32")
    images = np.random.default_rng(0).random((4, 28, 28), dtype=np.float32)
    assert (read_images(images, model.record)[1][..., 0] == images).all()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "a.png")
    for given_images, said in (
        (tmp_path / "a.png", "is an image file"),
        (np.zeros((28, 28), np.uint8), "has bytes"),
        (np.zeros((30, 28), np.float32), r"images of \(30, 28, 1\); the network takes \(28, 28, 1\)"),
    ):
        with pytest.raises(InputError, match=said):
            predict(model, given_images)


def test_the_front_door_offers_them():
    assert raynas.export is export
    assert raynas.predict is predict
