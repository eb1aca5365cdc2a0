"""cluster/README.md followed to the letter, on processes and machines that are there."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import machines
import pandas
import pytest
from machines import ROOT

pytestmark = pytest.mark.slow
README = (ROOT / "cluster" / "README.md").read_text()
SMALL = 'resources.concurrency=2 "limits=flops <= 2e6"'


def blocks(title, language):
    """The code of a section of the README."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.S | re.M)
    return re.findall(rf"```{language}\n(.*?)```", section, re.S)


def programs(folder):
    """A folder with `raynas`, `ray` and `python` of this environment, to go first on the path."""
    folder.mkdir()
    (folder / "raynas").write_text(f'#!/bin/sh\nexec {sys.executable} -m raynas "$@"\n')
    (folder / "raynas").chmod(0o755)
    return f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"


def test_three_processes_stand_for_three_machines(tmp_path):
    """They reach a result, are gone afterwards, and nobody without the token gets in."""
    *start, end = blocks("Three processes that stand for three machines", "bash")
    env = {
        **os.environ,
        "PATH": programs(tmp_path / "bin"),
        "PYTHONPATH": str(ROOT),
        "RAY_raylet_start_wait_time_s": "300",
    }
    intruder = (
        "RAY_AUTH_TOKEN=guessed raynas search genome_cnn --data fashion_mnist_mini --trials 1 --address 127.0.0.1:6390"
    )
    script = "\n".join([*start, f"! {intruder} > intruder.log 2>&1 || echo got in", end])
    work = tmp_path / "work"
    work.mkdir()
    argv = ["bash", "-e", "-c", f"trap 'kill $(cat nodes.pid) 2> /dev/null || true' EXIT\n{script}"]
    with subprocess.Popen(
        argv, cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        said, _ = process.communicate()  # each wait in it ends by itself
    assert process.returncode == 0, said
    assert "got in" not in said
    assert "6 done" in said
    assert re.search(r"^trial \d+  fitness 0\.\d+  done", said, re.M)
    assert oct((work / ".ray-token").stat().st_mode & 0o777) == "0o600"
    pids = [Path("/proc") / pid for pid in (work / "nodes.pid").read_text().split()]
    assert len(pids) == 3
    deadline = time.monotonic() + 90
    while any(pid.exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not any(pid.exists() for pid in pids)


@pytest.fixture
def lab(tmp_path):
    """Four machines; the first has the repository and the environment of whoever types."""
    why = machines.missing()
    if why:
        pytest.skip(why)
    with machines.machines(tmp_path, 4) as made:
        repository = made[0].home / "repository"
        for name in ("cluster", "raynas", "search_spaces", "tests"):
            shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, repository / name)
        yield made


ENTER = 'export PATH="$HOME/raynas-venv/bin:$PATH" RAY_USAGE_STATS_ENABLED=0; cd ~/repository; '


def test_ray_up_on_machines_of_ones_own(lab):
    """local.yaml with the marked lines filled in, and the README's commands, from `ray up` to `ray down`."""
    client, head, *workers = lab
    text = (ROOT / "cluster" / "local.yaml").read_text()
    yours = {
        "192.0.2.10": head.ip,
        "192.0.2.11": workers[0].ip,
        "192.0.2.12": workers[1].ip,
        "ssh_user: you": "ssh_user: root",
    }
    for given, own in yours.items():
        assert text.count(given) == 1
        text = text.replace(given, own)
    (client.home / "repository" / "my-machines.yaml").write_text(text)
    search, job = (re.findall(r"^\$ (.*)", block, re.M) for block in blocks("Your own machines", "console"))
    assert [line.split()[0] for line in search[:3]] == ["pip", "ray", "cp"]
    for line in [search[1], *search[3:]]:
        command = re.sub(r"^ray up", "ray up --yes", line)
        command = command.replace("--name first --address auto'", f"--name first --address auto {SMALL}'")
        said = client.run(ENTER + command, timeout=900)
        if "raynas doctor" in line:
            assert "3 nodes, all well" in said, said  # the line before it has waited for them
    trials = pandas.read_csv(client.home / "repository" / "first.csv")
    assert (trials["state"] == "done").sum() == 20
    assert set(trials.loc[trials["state"] == "done", "node"]) <= {"node2", "node3", "node4"}
    raynas = client.home / "raynas-venv" / "bin" / "raynas"
    raynas.write_text('#!/bin/sh\nPYTHONPATH=~/repository exec python -m raynas "$@"\n')
    raynas.chmod(0o755)
    script = "\n".join(job).replace("--epochs 2", f"--epochs 2 {SMALL}").replace("ray down", "ray down --yes")
    said = client.run(f"{ENTER} set -e\n{script}", timeout=900)
    assert re.search(r"^second-\w{8}: done$", said, re.M), said
    assert "20 done" in said.rpartition("second-")[2], said
    assert "results: /mnt/raynas/runs/second/store.db" in said, "read in place"
    for machine in (head, *workers):
        assert oct((machine.home / ".ray" / "auth_token").stat().st_mode & 0o777) == "0o600"
    assert "raylet" not in head.run("ps ax")
    for machine in workers:  # `ray down` stops the head; a worker's Ray ends when it has missed it for a minute
        machine.run("for i in $(seq 180); do ps ax | grep -q '[r]aylet' || exit 0; sleep 1; done; exit 1")


@pytest.mark.parametrize("script", ["symmetric.sh", "head_workers.sh"])
def test_sbatch_scripts_search_on_two_nodes(lab, script):
    """Slurm's part is played by two small programs: the job's script runs on its first node, srun reaches all by ssh."""
    first, second = lab[:2]
    for machine in (first, second):
        entry = machine.home / "raynas-venv" / "bin" / "raynas"
        entry.write_text('#!/bin/sh\nPYTHONPATH=/mnt/raynas exec python -m raynas "$@"\n')
        entry.chmod(0o755)
    shutil.copytree(ROOT / "raynas", first.home / "share-raynas", ignore=shutil.ignore_patterns("__pycache__"))
    first.run("cp -r ~/share-raynas /mnt/raynas/raynas; cp -r ~/repository/search_spaces /mnt/raynas/search_spaces")
    for machine in (first, second):
        machine.run("echo 'export PYTHONPATH=/mnt/raynas' >> ~/.bashrc")
    tools = first.home / "slurm"
    tools.mkdir()
    shutil.copy(ROOT / "tests" / "srun", tools / "srun")
    (tools / "scontrol").write_text('#!/bin/sh\necho "$3" | tr , "\\n"\n')
    (tools / "scontrol").chmod(0o755)
    slurm = "SLURM_JOB_NODELIST=node1,node2 SLURM_JOB_NUM_NODES=2 SLURM_CPUS_PER_TASK=1 SLURM_JOB_ID=77 SLURM_GPUS_ON_NODE=1 SLURM_MEM_PER_NODE=3000"
    path = 'PATH="$HOME/slurm:$HOME/raynas-venv/bin:$PATH" RAYNAS_HOME=/mnt/raynas/runs'
    arguments = f"genome_cnn --data fashion_mnist_mini --trials 4 --epochs 1 --gpu 1 --name first {SMALL}"
    log = first.home / "job.log"  # not a pipe: steps that outlive the script would hold it open; Slurm ends them
    job = (
        f"cd /mnt/raynas; export {slurm} {path}; bash ~/repository/cluster/slurm/{script} {arguments} > ~/job.log 2>&1"
    )
    first.run(f"{job} || (cat ~/job.log; exit 1)", timeout=900)
    assert "4 done" in log.read_text()
    nodes = first.run(f"cd /mnt/raynas; export {path}; raynas results first --format csv")
    used = set(re.findall(r"\bnode\d\b", nodes))
    assert used
    assert used <= {"node1", "node2"}  # both were there: the scripts wait for them
