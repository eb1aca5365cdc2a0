"""The address of a running Ray: what cannot be joined is said in seconds. Ray itself tries for minutes, then exits."""

import os
import socket
from typing import Any

from raynas.tables import InputError

PATIENCE_S = 5.0  # for the head to take a connection
FORMS = "an address is HOST:PORT of the head (as `ray start --head` prints it), or auto for the Ray that runs here"
TOKEN = "set RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN, in the file RAY_AUTH_TOKEN_PATH or in ~/.ray/auth_token"


def check_address(address: str) -> None:
    """Refuse an address that cannot be joined from here: badly written, nobody there, or no Ray node on this machine."""
    if "://" in address:
        raise InputError(
            f"'{address}' is where jobs or clients connect, and a search runs on a machine of the cluster; {FORMS}"
        )
    if address == "local":
        return
    host, port = _place(address)
    if not 0 < port < 65536:
        raise InputError(f"'{address}': a port is a number from 1 to 65535")
    try:
        with socket.create_connection((host, port), timeout=PATIENCE_S) as line:
            ours = os.environ.get("RAY_USE_TLS", "0") != "0" or _speaks_grpc(line)
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise InputError(f"cannot reach Ray at '{address}' ({host}, port {port}): {why}; {FORMS}") from error
    if not ours:
        raise InputError(f"what answers at '{address}' is not the head of a Ray (the dashboard's port?); {FORMS}")
    _check_node_here(f"{host}:{port}")


def _speaks_grpc(line: socket.socket) -> bool:
    """Whether the other side answers the opening of HTTP/2 (RFC 9113, 3.4) with its settings."""
    line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    return line.recv(9)[3:4] == b"\x04"


def _check_node_here(address: str) -> None:
    """Ray looks for a minute for a node of the cluster on this machine; asking its head takes an instant."""
    import ray
    from ray._private.services import find_node_ids
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    try:
        there = GcsClient(address=address).get_all_node_info(timeout=PATIENCE_S)
    except (ray.exceptions.RayError, RuntimeError) as error:
        raise InputError(f"cannot join Ray at '{address}': {why_not(error)}") from error
    if not find_node_ids() & {node.hex() for node in there}:
        raise InputError(
            f"no node of the Ray at '{address}' runs on this machine, and a search needs one beside it: "
            f"ray start --address={address}"
        )


def _place(address: str) -> tuple[str, int]:
    """Host and port of the head; `auto` is where $RAY_ADDRESS says, or the Ray last started on this machine."""
    if address == "auto":
        from ray._private.services import get_ray_address_from_environment

        try:
            address = get_ray_address_from_environment("auto", None)
        except ConnectionError as error:
            raise InputError(f"no Ray runs on this machine that 'auto' could be; {FORMS}") from error
        if "://" in address:
            raise InputError(f"'auto' is $RAY_ADDRESS, '{os.environ['RAY_ADDRESS']}': unset it; {FORMS}")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"cannot read the address '{address}': {FORMS}")
    return host.strip("[]"), int(port)


def why_not(error: BaseException) -> str:
    """What Ray says when it does not join, as one line: the versions, the token, or its first line."""
    causes = " ".join(f"{error} {error.__cause__ or ''}".split())
    if "Version mismatch" in causes:
        return f"{causes[causes.index('Version mismatch') :].strip()}; both sides need the same Ray and Python"
    if "uthenticat" in causes or "RAY_AUTH" in causes:
        return f"the token is missing or wrong; {TOKEN}"
    return str(error.__cause__ or error).partition("\n")[0] or type(error).__name__


def join(options: dict[str, Any]) -> None:
    """`ray.init`, with clear errors."""
    import ray

    address = options["address"]
    where = "start Ray on this machine" if address == "local" else f"join Ray at '{address}'"
    if address != "local":
        check_address(address)
    try:
        ray.init(**options)
    except Exception as error:  # of any kind: a node that does not start in time raises a bare one
        raise InputError(f"cannot {where}: {why_not(error)}") from error
    except SystemExit as error:  # of the client of the head, when it loses patience
        raise InputError(f"cannot {where}: the head does not answer") from error
