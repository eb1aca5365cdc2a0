"""The nodes of the connected Ray, each asked by a process on it; and what of their answers is wrong."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raynas.run.probe import Probe, gpus_that_train, versions

PATIENCE_S = 60.0  # for a node to start a process and answer
ROUNDS = 7  # of asking for the time: the quickest counts
SKEW_S = 1.0  # clocks further apart make moments in the store misleading
FREE_BYTES = 2**30
ROOM = 0.8  # of an object store that one dataset may fill
MPS = {
    True: "runs",
    False: "does not run: several trials on one GPU take turns",
    None: "unknown in a container: its control pipe is not here, and without it several trials on one GPU take turns",
}


@dataclass
class NodeFacts:
    """What one node answered; None or empty where it did not."""

    name: str
    resources: dict[str, float]
    look: dict[str, Any] = field(default_factory=dict)  # of Probe.look
    offset_s: tuple[float, float] | None = None  # its clock ahead of ours, and by how much that may be wrong
    unwritten: str | None = None  # why it could not write to the experiments' folder
    unread: list[str] = field(default_factory=list)  # nodes whose file it does not see
    gpus: list[str] = field(default_factory=list)  # of gpus_that_train
    gpu_error: str | None = None
    error: str | None = None  # it did not answer


@dataclass(frozen=True)
class Finding:
    """A line about a node."""

    what: str
    text: str
    well: bool = True


def ask_nodes(home: Path, patience_s: float = PATIENCE_S) -> list[NodeFacts]:
    """Ask every node of the connected Ray; leaves nothing behind."""
    import ray
    import ray.cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    import raynas.run.probe

    ray.cloudpickle.register_pickle_by_value(raynas.run.probe)  # raynas may be missing or another one over there
    try:
        token = secrets.token_hex(8)
        remote, probes, facts = ray.remote(Probe), {}, {}
        for node in ray.nodes():
            if node["Alive"]:
                key = node["NodeID"]
                pinned = NodeAffinitySchedulingStrategy(key, soft=False)
                options = {"num_cpus": 0, "scheduling_strategy": pinned}
                probes[key] = remote.options(**options).remote(str(home / f".doctor-{token}"), str(home))
                name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                facts[key] = NodeFacts(name, node["Resources"])
        _ask(probes, facts, token, patience_s)
        for probe in probes.values():
            ray.kill(probe)
        return list(facts.values())
    finally:
        ray.cloudpickle.unregister_pickle_by_value(raynas.run.probe)


def _ask(probes: dict[str, Any], facts: dict[str, NodeFacts], token: str, patience_s: float) -> None:
    """All nodes at once; a node that fails one question is asked no more."""
    import ray

    def each(what: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        return _answers(asked, facts, what, patience_s)

    def there() -> dict[str, Any]:
        return {key: probe for key, probe in probes.items() if facts[key].error is None}

    for key, look in each("look", {key: probe.look.remote() for key, probe in there().items()}).items():
        facts[key].look = look
    for key, probe in there().items():
        try:
            facts[key].offset_s = _offset(probe, patience_s)
        except ray.exceptions.RayError as error:
            facts[key].error = f"clock: {_last_line(error)}"
    tokens = {key: f"{token} {key}" for key in there()}
    for key, why in each(
        "write", {key: probe.write.remote(key, tokens[key]) for key, probe in there().items()}
    ).items():
        facts[key].unwritten = why
    written = {key: text for key, text in tokens.items() if facts[key].unwritten is None}
    for key, lacking in each("read", {key: probe.read.remote(written) for key, probe in there().items()}).items():
        facts[key].unread = [facts[other].name for other in lacking]
    for key, gpus in _gpus(there(), facts, patience_s).items():
        facts[key].gpus = gpus
    each("clean", {key: probe.clean.remote() for key, probe in there().items()})


def _answers(asked: Mapping[str, Any], facts: dict[str, NodeFacts], what: str, patience_s: float) -> dict[str, Any]:
    import ray

    answers = {}
    until = time.monotonic() + patience_s
    for key, reference in asked.items():
        try:
            answers[key] = ray.get(reference, timeout=max(0.0, until - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            facts[key].error = f"no answer in {patience_s:g} s ({what})"
        except ray.exceptions.RayError as error:
            facts[key].error = f"{what}: {_last_line(error)}"
    return answers


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _offset(probe: Any, patience_s: float) -> tuple[float, float]:
    """How far a node's clock is ahead, by the quickest round trip: the truth is within half of it (NTP's rule)."""
    import ray

    trips = []
    for _ in range(ROUNDS):
        sent = time.time()
        theirs = ray.get(probe.clock.remote(), timeout=patience_s)
        back = time.time()
        trips.append(((back - sent) / 2, theirs - (sent + back) / 2))
    half, offset = min(trips)
    return offset, half


def _gpus(probes: dict[str, Any], facts: dict[str, NodeFacts], patience_s: float) -> dict[str, list[str]]:
    """A process on each node is given all of its GPUs and trains a batch on each."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = {}
    for key in probes:
        if count := int(facts[key].resources.get("GPU", 0)):
            pinned = NodeAffinitySchedulingStrategy(key, soft=False)
            task = ray.remote(num_cpus=0, num_gpus=count, scheduling_strategy=pinned, max_retries=0)(gpus_that_train)
            asked[key] = task.remote()
    found = {}
    until = time.monotonic() + patience_s
    for key, reference in asked.items():
        try:
            found[key] = ray.get(reference, timeout=max(0.0, until - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            ray.cancel(reference, force=True)
            facts[key].gpu_error = f"in use: not all were free within {patience_s:g} s, so none was tried"
        except ray.exceptions.RayError as error:
            facts[key].gpu_error = f"does not train: {_last_line(error)}"
    return found


def findings(node: NodeFacts, data: tuple[str, int] | None, home: Path) -> list[Finding]:
    """What a node's answers mean. `data` is a dataset's name and bytes."""
    if node.error is not None:
        return [Finding("answer", node.error, False)]
    found = [_versions(node.look["versions"], versions())]
    found += _gpu_findings(node)
    if node.unwritten is not None:
        found.append(Finding("storage", node.unwritten, False))
    elif node.unread:
        found.append(Finding("storage", f"'{home}' is not the same folder as on {', '.join(node.unread)}", False))
    else:
        found.append(Finding("storage", f"'{home}' is written here and read everywhere"))
    assert node.offset_s is not None
    offset, half = node.offset_s
    found.append(Finding("clock", f"{offset:+.3f} s ± {half:.3f}", abs(offset) - half <= SKEW_S))
    found.append(_store(node.resources.get("object_store_memory", 0.0), data))
    free = node.look["free"]
    found.append(Finding("disk", f"{free / 2**30:.1f} GiB free", free >= FREE_BYTES))
    return found


def _versions(theirs: dict[str, str | None], ours: dict[str, str | None]) -> Finding:
    other = {name for name in ours if theirs.get(name) != ours[name]}
    texts = (
        f"{name} {theirs.get(name) or 'missing'}" + (f" (here {ours[name]})" if name in other else "") for name in ours
    )
    return Finding("versions", ", ".join(texts), not other)


def _gpu_findings(node: NodeFacts) -> list[Finding]:
    count = int(node.resources.get("GPU", 0))
    if not count:
        idle = (
            f"none for Ray, though the machine has {', '.join(node.look['nvidia'])}" if node.look["nvidia"] else "none"
        )
        return [Finding("gpu", idle)]
    if node.gpu_error is not None:
        return [Finding("gpu", f"{count} for Ray; {node.gpu_error}", node.gpu_error.startswith("in use"))]
    found = [Finding("gpu", line) for line in node.gpus]
    if len(node.gpus) != count:
        found.append(Finding("gpu", f"{count} for Ray, and torch sees {len(node.gpus)}", False))
    if node.look["nvidia"]:
        found.append(Finding("driver", "; ".join(node.look["nvidia"])))
        found.append(Finding("mps", MPS[node.look["mps"]]))
    return found


def _store(size: float, data: tuple[str, int] | None) -> Finding:
    text = f"{size / 2**20:,.0f} MiB"
    if data is None:
        return Finding("object store", text)
    name, needed = data
    fits = needed <= ROOM * size
    more = "" if fits else "; start Ray there with a larger --object-store-memory"
    return Finding("object store", f"{text}, {name} takes {needed / 2**20:,.1f} MiB{more}", fits)
