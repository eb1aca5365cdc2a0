"""An experiment as lines of text: what a small job on the cluster prints, where no disk is shared, and what comes of it here.

Ray Jobs can send a directory there and text back, nothing else. So the store (as of one moment, while it runs too) and the kept
weights go as one zip, base64, with its SHA-256; what is larger than `LIMIT_MB` is for a shared disk or a database.
"""

import argparse
import base64
import hashlib
import io
import re
import sqlite3
import sys
import tempfile
import zipfile
from pathlib import Path

from raynas.results.database import StoreError, connect_to_read
from raynas.run.folders import STORE, check_name, home
from raynas.tables import InputError

LIMIT_MB = 64
LINE = 30_000  # bytes a line; below what log followers cut
BEGIN, END = "raynas-parcel-begin", "raynas-parcel-end"


def wrap(folder: Path, limit_mb: float = LIMIT_MB) -> list[str]:
    """The experiment in `folder` as lines: a header with size and SHA-256, base64, an end."""
    if not (folder / STORE).is_file():
        raise InputError(f"there is no experiment in '{folder}' of this machine")
    content = _zip(folder)
    if len(content) > limit_mb * 1e6:
        raise InputError(
            f"'{folder.name}' is {len(content) / 1e6:.1f} MB, and at most {limit_mb:g} MB are fetched through a job's log: put --home "
            "on a disk that this machine shares, or copy the folder"
        )
    digest = hashlib.sha256(content).hexdigest()
    lines = [base64.b64encode(content[at : at + LINE]).decode() for at in range(0, len(content), LINE)]
    return [f"{BEGIN} {len(content)} {digest}", *lines, END]


def _zip(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        with tempfile.TemporaryDirectory() as scratch:
            archive.write(_as_of_now(folder / STORE, Path(scratch) / STORE), STORE)
        for path in sorted((folder / "checkpoints").rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()


def _as_of_now(store: Path, copy: Path) -> Path:
    """A copy of a store that may be written to meanwhile."""
    source, target = connect_to_read(store), sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    return copy


def unwrap(text: str, folder: Path) -> None:
    """Write the experiment that is in a job's log to `folder`, which must not be there; all of it or nothing."""
    content = _content(text)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(made)  # never outside of it: zipfile takes '..' and roots out of names
        made.rename(folder)


def _content(text: str) -> bytes:
    lines = text.splitlines()
    starts = [at for at, line in enumerate(lines) if re.fullmatch(rf"{BEGIN} \d+ [0-9a-f]{{64}}", line)]
    ends = [at for at, line in enumerate(lines) if line == END]
    if not starts or not ends or ends[-1] < starts[-1]:
        raise StoreError("the log of the job that sends the experiment is incomplete; fetch it again")
    _, size, digest = lines[starts[-1]].split()
    try:
        content = base64.b64decode("".join(lines[starts[-1] + 1 : ends[-1]]), validate=True)
    except ValueError:
        content = b""
    if len(content) != int(size) or hashlib.sha256(content).hexdigest() != digest:
        raise StoreError("what came of the experiment is not what was sent (its SHA-256 differs); fetch it again")
    return content


def main() -> None:
    """`python -m raynas.service.parcel NAME --home HOME`, on the cluster."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--home")
    given = parser.parse_args()
    try:
        check_name(given.name)
        lines = wrap(home(given.home) / given.name)
    except (InputError, OSError, sqlite3.Error) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
