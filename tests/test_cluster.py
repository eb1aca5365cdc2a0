"""What cluster/ holds is what its readers accept: Ray's schema, KubeRay's fields, bash, Docker, and raynas itself."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "cluster"
README = (CLUSTER / "README.md").read_text()
LAUNCHER = ("aws", "gcp", "local")
MANIFESTS = {"cluster": "RayCluster", "job": "RayJob", "service": "RayService"}
SCRIPTS = sorted(CLUSTER.glob("slurm/*.sh"))


def read(name):
    return yaml.safe_load((CLUSTER / name).read_text())


def pinned():
    """The one place that says which Ray: pyproject.toml's extra `cluster`."""
    (version,) = re.findall(r'"ray\[default,serve\]==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    return version


def tool(name):
    """A linter that came with the dev extra, beside this Python or on the path."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: pip install '.[dev]'")
    return found


# --- ray up ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ray_schema():
    import ray.autoscaler

    return json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


@pytest.mark.parametrize("name", LAUNCHER)
def test_ray_accepts_its_cluster_files(name, ray_schema):
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = read(f"{name}.yaml")
    jsonschema.validate(config, ray_schema)
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


@pytest.mark.parametrize("change", [{"max_wrokers": 3}, {"provider": {}}, {"max_workers": -1}])
def test_the_schema_would_refuse_a_mistake(change, ray_schema):
    import jsonschema

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read("aws.yaml") | change, ray_schema)


@pytest.mark.parametrize("name", LAUNCHER)
def test_every_node_gets_the_token_and_the_pinned_ray(name):
    config = read(f"{name}.yaml")
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    setup = "\n".join(config["setup_commands"])
    for needed in ("chmod 600 ~/.ray/auth_token", "RAY_AUTH_MODE=token", "~/raynas'[cluster]'", "RAYNAS_HOME="):
        assert needed in setup, needed
    assert "--dashboard-host" not in str(config)  # it stays on loopback, behind ssh
    head, workers = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert "--head" in head
    assert "--autoscaling-config" in head
    assert '--address="$RAY_HEAD_IP:6379"' in workers


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_in_a_cloud_the_head_is_on_demand_and_the_gpu_workers_are_spot(name):
    types = read(f"{name}.yaml")["available_node_types"]
    spot = {"aws": {"InstanceMarketOptions": {"MarketType": "spot"}}, "gcp": {"provisioningModel": "SPOT"}}[name]
    head, worker = types["head"]["node_config"], types["gpu_worker"]["node_config"]
    assert spot.items() <= (worker if name == "aws" else worker["scheduling"]).items()
    assert "InstanceMarketOptions" not in head
    assert "scheduling" not in head
    assert types["head"]["resources"] == {"CPU": 0}  # no trials beside the driver
    assert types["gpu_worker"]["min_workers"] >= 1  # the first search finds a GPU
    assert types["gpu_worker"]["max_workers"] > types["gpu_worker"]["min_workers"]  # and more may come
    assert read(f"{name}.yaml")["provider"]["cache_stopped_nodes"] is False


METADATA = {
    "latest/api/token": "secret",
    "latest/meta-data/mac": "0a:b1",
    "latest/meta-data/network/interfaces/macs/0a:b1/vpc-ipv4-cidr-blocks": "172.31.0.0/16\n10.9.0.0/16",
    "computeMetadata/v1/instance/network-interfaces/0/ip": "10.128.0.5",
    "computeMetadata/v1/instance/network-interfaces/0/subnetmask": "255.255.240.0",
}
EXPORTED = {
    "aws": ["172.31.0.0/16", "10.9.0.0/16"],
    "gcp": ["10.128.0.5/255.255.240.0"],  # exports(5): an address of the network will do
}


def exported(name, folder, answers):
    """What the head's command writes into NFS's table where the cloud's metadata has these answers; None where it fails."""
    for address, answer in answers.items():
        (folder / address).parent.mkdir(parents=True, exist_ok=True)
        (folder / address).write_text(answer)
    table, fakes = folder / "table", {"sudo": 'case $1 in tee) cat > "$TABLE";; esac', "curl": CURL}
    for program, script in fakes.items():
        (folder / program).write_text(f"#!/bin/sh\n{script}\n")
        (folder / program).chmod(0o755)
    (command,) = [line for line in read(f"{name}.yaml")["head_setup_commands"] if "exports" in line]
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "TABLE": str(table), "ANSWERS": str(folder)}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True)
    return table.read_text().splitlines() if done.returncode == 0 else None


CURL = """for last in "$@"; do :; done
case $last in */meta-data/*) case "$*" in *"token: secret"*) ;; *) exit 22;; esac;; esac
exec cat "$ANSWERS/${last#http://*/}" """


@pytest.mark.parametrize("name", EXPORTED)
def test_experiments_are_exported_to_the_heads_network_alone(name, tmp_path):
    found = exported(name, tmp_path, METADATA)
    assert found == [f"/srv/raynas {network}(rw,async,no_subtree_check)" for network in EXPORTED[name]]
    assert "10.0.0.0/8" not in (CLUSTER / f"{name}.yaml").read_text()


@pytest.mark.parametrize("lacking", METADATA)
def test_experiments_are_exported_to_nobody_where_the_network_is_unknown(lacking, tmp_path):
    """A host that is left out of the table would be everybody."""
    name = "gcp" if lacking.startswith("compute") else "aws"
    for number, answers in enumerate(({**METADATA, lacking: ""}, {**METADATA, lacking: None})):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert exported(name, folder, {key: value for key, value in answers.items() if value is not None}) is None
        assert not (folder / "table").exists() or not (folder / "table").read_text()


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_apt_is_waited_for_but_not_for_ever(name, tmp_path):
    config = read(f"{name}.yaml")
    commands = [*config["setup_commands"], *config["head_setup_commands"]]
    installs = [command for command in commands if "apt-get" in command and "install" in command]
    assert len(installs) == 2
    assert all("-o DPkg::Lock::Timeout=600 install" in command for command in installs)
    (update,) = [command for command in commands if "apt-get update" in command]
    assert commands.index("timeout 600 cloud-init status --wait > /dev/null || true") < commands.index(update)
    (tmp_path / "sudo").write_text('#!/bin/sh\necho try >> "$TRIES"; test $(wc -l < "$TRIES") -gt 1')
    (tmp_path / "sudo").chmod(0o755)
    (tmp_path / "sleep").symlink_to("/bin/true")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TRIES": str(tmp_path / "tries")}
    assert subprocess.run(["bash", "-c", update], env=environment).returncode == 0
    assert (tmp_path / "tries").read_text() == "try\ntry\n"  # the lock was another's at first


def test_a_driver_that_does_not_install_is_said(tmp_path):
    (wait,) = [command for command in read("gcp.yaml")["worker_start_ray_commands"] if "nvidia-smi" in command]
    smi = tmp_path / "nvidia-smi"
    for code in (0, 9):
        smi.write_text(f"#!/bin/sh\nexit {code}\n")
        smi.chmod(0o755)
        given = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        short = wait.replace("timeout 900", "timeout 0.2" if code else "timeout 60")
        done = subprocess.run(["bash", "-c", short], env=given, text=True, capture_output=True)
        assert done.returncode == bool(code)
        assert ("the NVIDIA driver has not installed itself" in done.stderr) == bool(code)


def shown(title):
    """The commands that a section of the README shows, one line each."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.S | re.M)
    text = "\n".join(re.findall(r"```console\n(.*?)```", section, re.S)).replace("\\\n", " ")
    return [" ".join(line.split()) for line in re.findall(r"^\$ (.*)", text, re.M)]


@pytest.mark.parametrize(("title", "name"), [("AWS", "aws"), ("GCP", "gcp")])
def test_a_search_in_a_cloud_waits_for_its_gpus_and_is_fetched_before_the_end(title, name):
    (search,) = [line for line in shown(title) if "raynas search" in line]
    at_once = int(re.search(r"resources\.concurrency=(\d+)", search)[1])
    gpus = at_once * float(re.search(r"--gpu (\S+)", search)[1])
    assert "resources.autoscaled=true" in search  # at first there is none
    assert 1 < gpus <= read(f"{name}.yaml")["available_node_types"]["gpu_worker"]["max_workers"]
    (down,) = [line for line in shown(title) if "ray down" in line]
    fetched = (
        f"mkdir -p runs && ray rsync-down my-{name}.yaml /srv/raynas/runs/first/ runs/first/ && ray down my-{name}.yaml"
    )
    assert down == fetched
    assert "RAYNAS_HOME=/srv/raynas/runs" in str(read(f"{name}.yaml")["setup_commands"])


def test_a_job_on_kubernetes_uses_several_gpus():
    job = read("kuberay/job.yaml")["spec"]
    for search in (job["entrypoint"], *(line for line in shown("Kubernetes") if "raynas search" in line)):
        gpus = int(re.search(r"resources\.concurrency=(\d+)", search)[1]) * float(re.search(r"--gpu (\S+)", search)[1])
        assert "resources.autoscaled=true" in search
        assert 1 < gpus <= job["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"]


@pytest.mark.parametrize("name", LAUNCHER)
def test_the_commands_of_cluster_files_are_shell(name):
    config = read(f"{name}.yaml")
    commands = [command for key, value in config.items() if key.endswith("_commands") for command in value]
    assert len(commands) >= 7
    for command in commands:
        done = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"


# --- KubeRay --------------------------------------------------------------------------------------------------------
# The fields that the manifests may use, with their types, and which are required (`!`): from the v1 types of KubeRay 1.7
# (ray-operator/apis/ray/v1 in ray-project/kuberay) and of core/v1 for what is in a pod. A list of one is a list of that.

QUANTITIES = {"cpu": str, "memory": str, "nvidia.com/gpu": str}
CONTAINER = {
    "name!": str,
    "image": str,
    "securityContext": {"allowPrivilegeEscalation": bool},
    "ports": [{"name": str, "containerPort!": int}],
    "resources": {"requests": QUANTITIES, "limits": QUANTITIES},
    "env": [{"name!": str, "value": str, "valueFrom": {"secretKeyRef": {"name": str, "key!": str}}}],
    "volumeMounts": [{"name!": str, "mountPath!": str}],
}
POD = {
    "spec!": {
        "restartPolicy": {"Always", "OnFailure", "Never"},
        "securityContext": {"runAsNonRoot": bool, "runAsUser": int, "fsGroup": int},
        "tolerations": [{"key": str, "operator": {"Exists", "Equal"}, "effect": {"NoSchedule", "NoExecute"}}],
        "containers!": [CONTAINER],
        "volumes": [{"name!": str, "persistentVolumeClaim": {"claimName!": str}}],
    }
}
RAY_CLUSTER = {
    "rayVersion": str,
    "authOptions": {"mode": {"disabled", "token"}},
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {"version": {"v1", "v2"}, "idleTimeoutSeconds": int},
    "headGroupSpec!": {"rayStartParams": dict, "template!": POD},
    "workerGroupSpecs": [
        {
            "groupName!": str,
            "replicas": int,
            "minReplicas!": int,
            "maxReplicas!": int,
            "rayStartParams": dict,
            "template!": POD,
        }
    ],
}
SPECS = {
    "RayCluster": RAY_CLUSTER,
    "RayJob": {
        "entrypoint": str,
        "submissionMode": {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"},
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "backoffLimit": int,
        "rayClusterSpec": RAY_CLUSTER,
    },
    "RayService": {"serveConfigV2": str, "rayClusterConfig!": RAY_CLUSTER},
}


def wrong(value, shape, where="spec"):
    """What of a manifest its fields do not allow, one line each."""
    if isinstance(shape, type):
        return [] if type(value) is shape else [f"{where}: {value!r} is no {shape.__name__}"]
    if isinstance(shape, set):
        return [] if value in shape else [f"{where}: {value!r} is none of {sorted(shape)}"]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [line for at, item in enumerate(value) for line in wrong(item, shape[0], f"{where}[{at}]")]
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no mapping"]
    known = {name.rstrip("!"): inner for name, inner in shape.items()}
    lines = [f"{where}.{name}: unknown" for name in value if name not in known]
    lines += [f"{where}.{name[:-1]}: missing" for name in shape if name.endswith("!") and name[:-1] not in value]
    return lines + [
        line for name, item in value.items() if name in known for line in wrong(item, known[name], f"{where}.{name}")
    ]


def ray_cluster(spec):
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_use_kuberays_fields(name):
    manifest = read(f"kuberay/{name}.yaml")
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", MANIFESTS[name])
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,40}", manifest["metadata"]["name"])
    assert wrong(manifest["spec"], SPECS[manifest["kind"]]) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda spec: spec.pop("headGroupSpec"), "spec.headGroupSpec: missing"),
        (lambda spec: spec.update(rayversion="2"), "spec.rayversion: unknown"),
        (lambda spec: spec["authOptions"].update(mode="on"), "spec.authOptions.mode: 'on' is none of"),
        (lambda spec: spec["workerGroupSpecs"][0].update(replicas="1"), "spec.workerGroupSpecs[0].replicas: '1' is no int"),
        (lambda spec: spec.update(enableInTreeAutoscaling="yes"), "'yes' is no bool"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_seen(change, line):
    spec = read("kuberay/cluster.yaml")["spec"]
    change(spec)
    assert any(line in found for found in wrong(spec, RAY_CLUSTER))


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_have_the_token_the_store_and_the_gpu(name):
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr as derive

    spec = ray_cluster(read(f"kuberay/{name}.yaml")["spec"])
    claim = read("kuberay/store.yaml")
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,), (volume,) = pod["containers"], pod["volumes"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/store"}]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    types = derive({"metadata": {"name": name, "namespace": "default"}, "spec": spec})["available_node_types"]
    assert types["headgroup"]["resources"]["CPU"] == 0  # what Ray's own autoscaler makes of it
    assert types["gpu"]["resources"]["GPU"] == 1
    assert 1 <= types["gpu"]["min_workers"] < types["gpu"]["max_workers"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_all_manifests_have_the_same_pods():
    """But for what the service needs, one cluster is written three times: Kubernetes has no include."""
    plain = [ray_cluster(read(f"kuberay/{name}.yaml")["spec"]) for name in MANIFESTS]
    for spec in plain:
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            (container,) = group["template"]["spec"]["containers"]
            container.pop("env", None)
            container["ports"] = [port for port in container.get("ports", []) if port["name"] != "serve"]
    assert plain[0] == plain[1] == plain[2]


# --- Slurm and Docker -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_sbatch_scripts_are_clean(path):
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    found = subprocess.run([tool("shellcheck"), str(path)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    text = path.read_text()
    lines = text.splitlines()
    directives = [at for at, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert directives
    assert not any(line and not line.startswith("#") for line in lines[: directives[-1]])
    assert "RAY_AUTH_MODE=token" in text
    assert "set -euo pipefail" in text
    assert path.stat().st_mode & 0o100


def test_only_whole_nodes_may_be_stopped():
    """`ray symmetric-run` ends with `ray stop`, which would end a neighbour job's Ray too."""
    for path in SCRIPTS:
        assert ("symmetric-run" in path.read_text()) == ("#SBATCH --exclusive" in path.read_text()), path.name


PROGRAMS = {
    "scontrol": "echo node1; echo node2",
    "hostname": "case $1 in --ip-address) echo 127.0.1.1;; *) echo ${ADDRESSES-fe80::1 10.1.2.3 172.17.0.1};; esac",
    "srun": "while case $1 in --*) true;; *) false;; esac; do shift; done\n"
    'echo "cpus=$SRUN_CPUS_PER_TASK $*" >> "$SAID"; [ "$1" = python3 ] || exec "$@"',  # who waits for nodes is there at once
    "ray": "true",
    "raynas": "true",
}


def sbatch(path, folder, **variables):
    """What the job's script hands to srun, one line a step, on nodes that call themselves 127.0.1.1."""
    programs = folder / "programs"
    programs.mkdir()
    for name, script in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    job = {
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "3",
        "SLURM_JOB_ID": "7",
    }
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "SAID": str(folder / "said"), **job, **variables}
    done = subprocess.run(
        ["bash", str(path), "space", "--name", "first"], env=environment, text=True, capture_output=True
    )
    return done, (folder / "said").read_text().splitlines()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_steps_get_their_cpus_and_an_address_that_others_reach(path, tmp_path):
    done, said = sbatch(path, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(said) >= 2
    assert all(
        line.startswith("cpus=3 ") for line in said
    )  # srun takes no --cpus-per-task from sbatch since Slurm 22.05
    port = "6379" if path.name == "symmetric.sh" else "20007"
    assert "raynas search space --name first --address 10.1.2.3:" + port in said[-1]
    (tmp_path / "lonely").mkdir()
    done, said = sbatch(path, tmp_path / "lonely", ADDRESSES="fe80::1")
    assert (done.returncode, len(said)) == (1, 1)
    assert "node1 has no IPv4 address but loopback" in done.stderr


@pytest.mark.parametrize(
    ("variables", "mebibytes"),
    [
        ({"SLURM_MEM_PER_NODE": "4000"}, 4000),
        ({"SLURM_MEM_PER_CPU": "1000"}, 3000),
        ({"SLURM_MEM_PER_NODE": "0"}, None),  # --mem=0: all of the machine's
        ({}, None),
    ],
)
def test_on_shared_nodes_ray_takes_the_memory_of_the_job(variables, mebibytes, tmp_path):
    _, said = sbatch(CLUSTER / "slurm" / "head_workers.sh", tmp_path, **variables)
    starts = [line for line in said if " ray start " in line]
    assert len(starts) == 2
    for line in starts:
        found = dict(re.findall(r"--((?:object-store-)?memory)=(\d+)", line))
        if mebibytes is None:
            assert not found
        else:
            total = mebibytes * 2**20
            assert {name: int(size) for name, size in found.items()} == {
                "object-store-memory": total * 3 // 10,
                "memory": total * 7 // 10,
            }


def test_the_dockerfile_is_clean():
    path = CLUSTER / "Dockerfile"
    found = subprocess.run([tool("hadolint"), str(path)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    text = path.read_text()
    (base,), users = re.findall(r"^FROM (\S+)", text, re.M), re.findall(r"^USER (\S+)", text, re.M)
    assert base == "rayproject/ray:${RAY_VERSION}-py312"
    assert users == ["1000"]  # the `ray` of the base image, and no root afterwards
    copied = [word for words in re.findall(r"^COPY --chown=\S+ (.+)", text, re.M) for word in words.split()[:-1]]
    ignored = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, name


# --- one Ray, and a README that is true -----------------------------------------------------------------------------


def test_one_ray_everywhere():
    from packaging.specifiers import SpecifierSet

    version = pinned()
    (allowed,) = re.findall(r'"ray\[train,tune\]([^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert version in SpecifierSet(allowed)
    assert f"ARG RAY_VERSION={version}\n" in (CLUSTER / "Dockerfile").read_text()
    for name in MANIFESTS:
        assert ray_cluster(read(f"kuberay/{name}.yaml")["spec"])["rayVersion"] == version
    assert f"Ray {version.rpartition('.')[0]}" in README
    for path in CLUSTER.rglob("*.yaml"):
        assert not re.search(r"ray\S*[=:]=?\s*\d+\.\d+\.\d+-?py", path.read_text()), path


def test_one_raynas_everywhere():
    (version,) = re.findall(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    for path in [*CLUSTER.rglob("*.yaml"), CLUSTER / "Dockerfile", CLUSTER / "README.md"]:
        for found in re.findall(r"raynas:(\d\S*?)[\s\"]", path.read_text()):
            assert found == version, path


def test_files_named_in_the_readme_exist():
    named = set(re.findall(r"(?<![\w/])cluster/[\w./-]+", README))
    named |= {f"cluster/{name}" for name in re.findall(r"\b(?:aws|gcp|local)\.yaml\b", README)}
    named |= {f"cluster/slurm/{name}" for name in re.findall(r"\b\w+\.sh\b", README)}
    assert len(named) >= 9
    for name in named:
        assert (ROOT / name.rstrip(".")).exists(), name
    for anchor in re.findall(r"\]\(#([^)]+)\)", README):
        assert anchor in [re.sub(r"\W+", "-", title.lower()) for title in re.findall(r"^## (.+)$", README, re.M)]


def commands(program):
    """Every call of a program in the README, the manifests and the scripts: its arguments as words."""
    job = read("kuberay/job.yaml")["spec"]["entrypoint"]
    texts = [*re.findall(r"```\w+\n(.*?)```", README, re.S), *re.findall(r"`([^`\n]+)`", README), job]
    texts += [path.read_text() for path in SCRIPTS]
    texts += [
        command
        for name in LAUNCHER
        for key, value in read(f"{name}.yaml").items()
        if "_ray_" in key
        for command in value
    ]
    for text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            for found in re.findall(rf"(?:^|[\s'&(;])(?<!helm install )({program} [a-z][^';|>&]*)", line.split("#")[0]):
                yield shlex.split(found.replace('"', ""))[1:]


def test_raynas_commands_exist():
    from raynas.cli.main import app

    known = typer.main.get_command(app).commands
    seen = list(commands("raynas"))
    assert {words[0] for words in seen} >= {"search", "results", "best", "status", "resume"}
    for words in seen:
        assert words[0] in known, words
        options = {option for parameter in known[words[0]].params for option in parameter.opts}
        for word in words[1:]:
            assert not word.startswith("--") or word.split("=")[0] in options, f"raynas {words[0]} has no {word}"


def test_ray_commands_exist():
    from ray.scripts.scripts import cli

    seen = list(commands("ray"))
    assert {words[0] for words in seen} >= {
        "up",
        "down",
        "exec",
        "rsync-down",
        "start",
        "status",
        "get-auth-token",
        "symmetric-run",
    }
    start = {option for parameter in cli.commands["start"].params for option in parameter.opts}
    for words in seen:
        assert words[0] in cli.commands, words
        options = {option for parameter in cli.commands[words[0]].params for option in parameter.opts}
        options |= start if words[0] == "symmetric-run" else set()
        for word in words[1:]:
            assert not word.startswith("--") or word == "--" or word.split("=")[0] in options, f"ray {words[0]}: {word}"
