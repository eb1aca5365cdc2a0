"""Machines made of Linux namespaces: each has its own network, processes, home and /tmp, and an sshd. Needs root."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray

NEEDS = ("unshare", "nsenter", "ip", "sshd", "ssh-keygen", "rsync")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Machine:
    """One machine; `init` is its first process, whose end is the machine's."""

    ip: str
    home: Path
    init: int

    def argv(self, command: str) -> list[str]:
        """A login shell's command on this machine, as arguments for a subprocess on the real one."""
        enter = ["nsenter", f"--target={self.init}", "--mount", "--net", "--pid", "--uts"]
        return [*enter, "--", "bash", "--login", "-c", f"cd; source ~/.bashrc; {command}"]

    def run(self, command: str, timeout: float = 300) -> str:
        """What the command prints, both ways; an AssertionError with it when it fails."""
        env = {"HOME": str(Path.home()), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TERM": "dumb"}
        done = subprocess.run(
            self.argv(command), env=env, timeout=timeout, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout


def missing() -> str | None:
    """Why there can be no such machines here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [name for name in NEEDS if shutil.which(name, path="/usr/sbin:/sbin:" + os.environ["PATH"]) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    allowed = subprocess.run(["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "true"], capture_output=True)
    return None if allowed.returncode == 0 else "needs a kernel that allows namespaces"


@contextmanager
def machines(folder: Path, count: int) -> Iterator[list[Machine]]:
    """`count` machines 10.77.0.1, .2, … on one bridge, which trust each other's ssh; all share /mnt/raynas."""
    (folder / "share").mkdir()
    hosts = ["127.0.0.1 localhost", *(f"10.77.0.{number} node{number}" for number in range(1, count + 1))]
    (folder / "hosts").write_text("\n".join(hosts) + "\n")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    with ExitStack() as stack:
        made = []
        for number in range(1, count + 1):
            made.append(_machine(folder, number, stack))
            _wire(made[0], made[-1])
        _await_ssh(made)
        yield made


def _machine(folder: Path, number: int, stack: ExitStack) -> Machine:
    home = folder / f"home{number}"
    (home / ".ssh").mkdir(parents=True)
    home.chmod(0o700)
    shutil.copy(folder / "key", home / ".ssh" / "id_ed25519")
    shutil.copy(folder / "key.pub", home / ".ssh" / "authorized_keys")
    (home / ".bashrc").write_text("export PIP_NO_INDEX=1 PIP_NO_BUILD_ISOLATION=0 PIP_DISABLE_PIP_VERSION_CHECK=1\n")
    _environment(home / "raynas-venv")
    script = folder / f"machine{number}.sh"
    script.write_text(_boot(folder, home, number))
    argv = ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc"]
    log = stack.enter_context((folder / f"machine{number}.log").open("w"))
    process = subprocess.Popen([*argv, "bash", str(script)], stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.kill)  # the first process of a PID namespace takes all the others with it
    deadline = time.monotonic() + 30
    while not (home / "booted").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError((folder / f"machine{number}.log").read_text())
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return Machine(f"10.77.0.{number}", home, int(children[0]))


def _environment(folder: Path) -> None:
    """A virtual environment that also finds what is installed here: the machines have no way to a package index."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "installed.pth").write_text(f"{Path(ray.__file__).parents[1]}\n")
    python = Path.home() / folder.name / "bin" / "python"  # where the machine sees it
    for name, main in (("pip", "pip._internal.cli.main"), ("ray", "ray.scripts.scripts")):
        script = folder / "bin" / name
        script.write_text(f"#!{python}\nimport sys\n\nfrom {main} import main\n\nsys.exit(main())\n")
        script.chmod(0o755)


def _boot(folder: Path, home: Path, number: int) -> str:
    """The machine's first process: folders of its own over the real ones, then sshd."""
    user_home, python = Path.home(), Path(sys.base_prefix)
    inside = python.relative_to(user_home).parts[0] if python.is_relative_to(user_home) else None
    keep = f"mkdir -p {home}/{inside}; mount --bind {user_home}/{inside} {home}/{inside}" if inside else "true"
    return f"""set -eu
mount --make-rprivate /
hostname node{number}
ip link set lo up
{keep}
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /mnt && mkdir /run/sshd /mnt/raynas
mount --rbind {home} {user_home}
mount --bind {folder}/hosts /etc/hosts
mount --bind {folder}/share /mnt/raynas
mount -t tmpfs tmpfs /dev/shm
ssh-keygen -q -t ed25519 -N '' -f {home}/.ssh/host_key
touch {home}/booted
mkdir -p {home}/tmp && chmod 1777 {home}/tmp && mount --bind {home}/tmp /tmp
/usr/sbin/sshd -D -e -h {user_home}/.ssh/host_key -o ListenAddress=0.0.0.0 -o UsePAM=no -o PidFile=none \\
    -o PermitRootLogin=prohibit-password -o StrictModes=no
"""


def _wire(hub: Machine, machine: Machine) -> None:
    """Connect a machine to the bridge, which is in the first machine's network."""
    hub_net = ["nsenter", f"--target={hub.init}", "--net", "ip"]
    if hub is machine:
        subprocess.run([*hub_net, "link", "add", "hub", "type", "bridge"], check=True)
        subprocess.run([*hub_net, "address", "add", f"{hub.ip}/24", "dev", "hub"], check=True)
        subprocess.run([*hub_net, "link", "set", "hub", "up"], check=True)
        subprocess.run([*hub_net, "route", "add", "default", "dev", "hub"], check=True)
        return
    cable, own = f"cable{machine.init}"[:15], ["nsenter", f"--target={machine.init}", "--net", "ip"]
    link = [*hub_net, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(machine.init)]
    subprocess.run(link, check=True)
    subprocess.run([*hub_net, "link", "set", cable, "master", "hub", "up"], check=True)
    subprocess.run([*own, "address", "add", f"{machine.ip}/24", "dev", "eth0"], check=True)
    subprocess.run([*own, "link", "set", "eth0", "up"], check=True)
    subprocess.run([*own, "route", "add", "default", "via", hub.ip], check=True)


def _await_ssh(made: list[Machine]) -> None:
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    for machine in made:
        made[0].run(f"for i in $(seq 50); do ssh {options} {machine.ip} true && exit 0; sleep 0.2; done; exit 1")
