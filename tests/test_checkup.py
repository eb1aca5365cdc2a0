"""raynas doctor --address, and addresses that cannot be joined."""

import os
import re
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial

import pytest
from test_cli import raynas as command

from raynas.cli.nodes import examine_nodes
from raynas.run.address import check_address, why_not
from raynas.run.checkup import NodeFacts, ask_nodes, findings
from raynas.run.probe import Probe, in_container, multi_process_service, versions
from raynas.tables import InputError

LOOK = {"versions": versions(), "nvidia": [], "mps": False, "free": 2**40}
GOOD = NodeFacts(
    "box (10.0.0.2)", {"GPU": 1.0, "object_store_memory": 2.0**30}, LOOK, (0.01, 0.002), gpus=["A, trains"]
)


def other(**changed):
    return replace(GOOD, look={**LOOK, **changed})


BROKEN = {
    "versions": (other(versions={**versions(), "ray": "1.0.0"}), "ray 1.0.0 (here "),
    "raynas": (other(versions={**versions(), "raynas": None}), "raynas missing (here "),
    "disk": (other(free=2**20), "0.0 GiB free"),
    "gpus": (replace(GOOD, gpus=[]), "torch sees 0"),
    "training": (replace(GOOD, gpus=[], gpu_error="does not train: no kernel"), "no kernel"),
    "clock": (replace(GOOD, offset_s=(-3.0, 0.1)), "-3.000 s ± 0.100"),
    "writing": (replace(GOOD, unwritten="cannot write below '/x': Permission denied"), "Permission denied"),
    "reading": (replace(GOOD, unread=["other (10.0.0.3)"]), "other (10.0.0.3)"),
    "store": (replace(GOOD, resources={"GPU": 1.0, "object_store_memory": 90.0}), "--object-store-memory"),
    "answer": (NodeFacts("box", {}, error="no answer in 60 s (look)"), "no answer"),
}


def test_a_good_node_is_well(tmp_path):
    assert all(finding.well for finding in findings(GOOD, ("tiny", 100), tmp_path))
    slow_network = replace(GOOD, offset_s=(2.0, 1.5))  # may be 0.5 s: not known to be wrong
    assert all(finding.well for finding in findings(slow_network, None, tmp_path))


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_is_found_and_nothing_else(what, tmp_path):
    facts, text = BROKEN[what]
    bad = [finding for finding in findings(facts, ("tiny", 100), tmp_path) if not finding.well]
    assert len(bad) == 1
    assert text in bad[0].text


def test_mps_is_told_where_there_are_gpus(tmp_path):
    def mps(**changed):
        return [
            f.text for f in findings(other(nvidia=["H100, 80 GiB, 570"], **changed), None, tmp_path) if f.what == "mps"
        ]

    assert mps(mps=True) == ["runs"]
    assert mps()[0].startswith("does not run")
    assert mps(mps=None)[0].startswith("unknown in a container")
    assert not [finding for finding in findings(GOOD, None, tmp_path) if finding.what == "mps"]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM, None])
def test_mps_is_seen_by_who_holds_its_pipe(kind, tmp_path, monkeypatch):
    """Whatever its process is called, and however many have died and left theirs; in a container too."""
    pipe = tmp_path / "control"
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    for container in (True, False):
        monkeypatch.setattr("raynas.run.probe.in_container", lambda container=container: container)
        assert multi_process_service() is (None if container else False)
        if kind is None:
            os.mkfifo(pipe)
            end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        else:
            daemon = socket.socket(socket.AF_UNIX, kind)
            daemon.bind(str(pipe))
            if kind != socket.SOCK_DGRAM:
                daemon.listen()
        assert multi_process_service() is True
        if kind is None:
            os.close(end)
        else:
            daemon.setblocking(False)
            with pytest.raises(BlockingIOError):  # nobody has come
                daemon.recv(1) if kind == socket.SOCK_DGRAM else daemon.accept()
            daemon.close()
        assert multi_process_service() is False  # it is dead, and its pipe still there
        pipe.unlink()


def test_a_pod_is_a_container(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert in_container()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    for there in ("/.dockerenv", "/run/.containerenv", None):
        monkeypatch.setattr(os.path, "exists", lambda path, there=there: path == there)
        assert in_container() is (there is not None)


def test_folders_of_two_nodes(tmp_path):
    """Two nodes that share a folder see each other's file; one that does not is found; nothing is left."""
    here, there, elsewhere = (Probe(f"{tmp_path}/{place}/runs/.doctor", f"{tmp_path}/{place}/runs") for place in "aab")
    tokens = {"1": "x", "2": "y", "3": "z"}
    for probe, (name, token) in zip((here, there, elsewhere), tokens.items(), strict=True):
        assert probe.write(name, token) is None
    assert here.read(tokens) == there.read(tokens) == ["3"]
    assert elsewhere.read(tokens) == ["1", "2"]
    assert here.read({"1": "another"}) == ["1"]
    for probe in (here, there, elsewhere):
        probe.clean()
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    assert "cannot write below" in Probe(f"{tmp_path}/file/x", f"{tmp_path}/file").write("1", "x")


def test_doctor_asks_the_nodes(ray_here, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("raynas.cli.nodes.ask_nodes", partial(ask_nodes, patience_s=600))  # on a busy machine too
    home = tmp_path / "runs"
    assert examine_nodes("auto", home, "fashion_mnist_mini", None) == 1  # Ray was given GPUs that are not there
    out = " ".join(capsys.readouterr().out.split())
    assert "! 2 for Ray" in out
    assert out.count("! ") == 1
    for text in (
        f"ray {versions()['ray']}",
        "is written here and read everywhere",
        "GiB free",
        "fashion_mnist_mini takes",
    ):
        assert text in out
    assert re.search(r"[+-]0\.\d{3} s ± 0\.\d{3}", out)
    assert not home.exists()


def test_a_node_that_does_not_answer(ray_here, tmp_path):
    (facts,) = ask_nodes(tmp_path, patience_s=0.0)
    assert "no answer" in facts.error


ADDRESSES = {
    "127.0.0.1": "cannot read the address",
    "127.0.0.1:http": "cannot read the address",
    "127.0.0.1:70000": "a port is a number",
    "ray://10.0.0.1:10001": "runs on a machine of the cluster",
    "http://10.0.0.1:8265": "runs on a machine of the cluster",
    "127.0.0.1:1": "Connection refused",
    "no-such-host.invalid:6379": "cannot reach",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_that_cannot_be_joined(address):
    with pytest.raises(InputError, match=ADDRESSES[address]):
        check_address(address)


def test_nobody_to_be_joined_by_auto(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(InputError, match="unset it"):
        check_address("auto")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match="refused"):
        check_address("auto")


def test_another_server_than_a_ray():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(InputError, match="not the head of a Ray"):
            check_address(f"127.0.0.1:{server.getsockname()[1]}")


CLIENT = """
import sys
import ray
from raynas.run.cluster import connected
from raynas.tables import InputError
if len(sys.argv) > 2:
    ray.__version__ = sys.argv[2]
try:
    with connected(sys.argv[1]):
        print("joined", ray.cluster_resources())
except InputError as error:
    print("refused:", error)
"""


def test_token_and_versions(ray_here):
    """From processes of their own, at the door of this session's Ray."""
    import ray
    from ray._raylet import AuthenticationTokenLoader

    address = ray.get_runtime_context().gcs_address
    token = AuthenticationTokenLoader.instance().get_raw_token(ignore_auth_mode=True)

    def client(token, *more):
        environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        command = [sys.executable, "-c", CLIENT, address, *more]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    running = [client("0" * 64), client(token, "1.2.3"), client(token)]
    wrong, older, same = (each.communicate()[0] for each in running)
    assert wrong.startswith("refused:")
    assert "the token is missing or wrong; set RAY_AUTH_MODE=token" in wrong
    assert older.startswith("refused:")
    assert "Ray: 1.2.3" in older
    assert f"Ray: {ray.__version__}" in older
    assert same.startswith("joined")


def test_why_not():
    error = ConnectionError("Failed to connect")
    assert why_not(error) == "Failed to connect"
    assert why_not(ValueError()) == "ValueError"
    error.__cause__ = RuntimeError("Version mismatch: The cluster was started with:\n  Ray: 2.0")
    assert why_not(error).startswith("Version mismatch: The cluster was started with: Ray: 2.0; both")


def test_commands_at_the_door(monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # another test's Ray may be
    gone = ["--address", "127.0.0.1:1"]
    for arguments in (["doctor", *gone], ["search", "genome_cnn", "--data", "fashion_mnist_mini", *gone]):
        code, out = command(*arguments)
        assert code == 2
        assert "cannot reach Ray at '127.0.0.1:1'" in out
    code, out = command("doctor", "--data", "fashion_mnist_mini")
    assert code == 2
    assert "goes with --address" in out
