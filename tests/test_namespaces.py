"""Machines with networks of their own: each Ray node in a network namespace, joined by a bridge. Needs root and iproute2."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from raynas.results import Store
from raynas.results.schema import trials

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
NET = "10.79.83"
NODES = (1, 2, 3)  # the first is the head and runs no trials
QUICK_TO_MISS = {"health_check_period_ms": 1000, "health_check_timeout_ms": 2000, "health_check_initial_delay_ms": 0}
PATIENCE_S = 240


def namespace(node):
    return f"raynas-{os.getpid()}-{node}"


def ip(*arguments):
    return subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def inside(node, *command, **options):
    path = os.pathsep.join([str(HERE.parent), str(HERE)])
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}
    environment = {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", **token}
    return ["ip", "netns", "exec", namespace(node), sys.executable, *map(str, command)], {"env": environment, **options}


def end_all(node):
    """Whatever still runs in a namespace, and the namespace: ours alone."""
    for pid in ip("netns", "pids", namespace(node)).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    ip("netns", "del", namespace(node))


def wait_for(what, condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.2)


def start(node, address):
    """`ray start` of the head, or of a machine with a pretended GPU."""
    common = ["--block", f"--node-ip-address={NET}.{node}", "--object-store-memory=100000000"]
    if node == 1:
        config = f"--system-config={json.dumps(QUICK_TO_MISS)}"
        mine = ["--head", "--port=6379", "--num-cpus=0", "--num-gpus=0", "--include-dashboard=false", config]
    else:
        mine = [f"--address={address}", "--num-cpus=4", "--num-gpus=1"]
    return ["-m", "ray.scripts.scripts", "start", *common, *mine]


def head_answers():
    command, options = inside(1, "-c", f"import socket; socket.create_connection(('{NET}.1', 6379), 2)")
    return subprocess.run(command, capture_output=True, **options).returncode == 0


@pytest.fixture
def machines(tmp_path):
    """Three machines on a bridge, a Ray node on each; yields the head's address."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2 (apt-get install iproute2)")
    with ExitStack() as stack:
        try:
            ip("netns", "add", namespace("hub"))
            stack.callback(end_all, "hub")
            ip("-n", namespace("hub"), "link", "add", "bridge0", "type", "bridge")
            ip("-n", namespace("hub"), "link", "set", "bridge0", "up")
            for node in NODES:
                ip("netns", "add", namespace(node))
                stack.callback(end_all, node)
                hub, mine = ("-n", namespace("hub"), "link"), ("-n", namespace(node))
                ip(*hub, "add", f"port{node}", "type", "veth", "peer", "name", "eth0", "netns", namespace(node))
                ip(*hub, "set", f"port{node}", "master", "bridge0", "up")
                ip(*mine, "addr", "add", f"{NET}.{node}/24", "dev", "eth0")
                ip(*mine, "link", "set", "eth0", "up")
                ip(*mine, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
        address = f"{NET}.1:6379"
        for node in NODES:
            log = stack.enter_context((tmp_path / f"node{node}.log").open("w"))
            command, options = inside(node, *start(node, address), stdout=log, stderr=log)
            subprocess.Popen(command, **options)
            if node == 1:
                wait_for("the head", head_answers)
        yield address


def rows(home):
    if not (home / "apart" / "store.db").exists():
        return []
    store = Store.open(home / "apart" / "store.db")
    try:
        return [dict(row) for row in store.rows(trials)]
    finally:
        store.close()


def test_a_machine_that_loses_its_network(machines, tmp_path):
    """The cable of one machine is pulled while trials run on it: they run again on the other, each ends once."""
    code = f"import ray; ray.init(address='{machines}'); print(sum(node['Alive'] for node in ray.nodes()))"
    count, options = inside(1, "-c", code, capture_output=True, text=True)
    wait_for("all nodes", lambda: subprocess.run(count, **options).stdout.strip() == "3")
    what = ["-m", "raynas", "search", "--name", "apart", "--home", tmp_path, "--address", machines]
    config = tmp_path / "apart.yaml"
    config.write_text(
        "space: {x: {uniform: [0.0, 1.0]}}\ntrainable: trainings:patient\nobjective: score\nsearch: random\n"
        "budget: {trials: 24}\nresources: {gpu: 0.25}\n"
    )
    asked, options = inside(1, *what, "--config", config, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    searching = subprocess.Popen(asked, text=True, **options)
    pulled = f"/{NET}.3"
    wait_for("a report of the third machine", lambda: any(pulled in (row["node"] or "") for row in rows(tmp_path)))
    before = {row["number"] for row in rows(tmp_path) if row["ended"]}
    ip("-n", namespace("hub"), "link", "set", "port3", "down")
    said, _ = searching.communicate(timeout=500)
    assert searching.returncode == 0, said
    found = rows(tmp_path)
    assert len(found) == 24
    assert {row["state"] for row in found} == {"done"}
    again = [row for row in found if row["attempt"] > 1]
    assert again
    assert all(f"/{NET}.2" in row["node"] for row in again)
    assert not before & {row["number"] for row in again}
