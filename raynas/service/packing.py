"""What travels with a job: the working directory, without what .gitignore names, experiments, environments and datasets."""

import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raynas.tables import InputError

LIMIT_MB = 50
IGNORE_FILES = (".gitignore", ".rayignore")
NEVER = (
    ".git/", ".hg/", ".venv/", "venv/", "env/", "node_modules/", "runs/", "__pycache__/", "*.pyc", ".*_cache/", ".hypothesis/",
    "*.egg-info/", ".env", "driver.lock",
)  # fmt: skip
DATASETS = (".npz", ".npy", ".parquet", ".h5", ".hdf5", ".zip", ".tar", ".gz", ".pt", ".pth", ".safetensors")
DATASET_BYTES = 1_000_000  # smaller ones may be part of a program
AS_OF = (1980, 1, 1, 0, 0, 0)  # one content, one package: Ray keeps what it has


@dataclass(frozen=True)
class Package:
    """The files of `folder` that travel, with their sizes in bytes, and the `datasets` that stay here."""

    folder: Path
    files: tuple[tuple[str, int], ...]
    datasets: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)

    def __str__(self) -> str:
        left = f"; {len(self.datasets)} datasets ({megabytes(_sum(self.datasets))}) stay here" if self.datasets else ""
        return f"{len(self.files)} files, {megabytes(self.size)}, from '{self.folder}'{left}"


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _sum(files: tuple[tuple[str, int], ...]) -> int:
    return sum(size for _, size in files)


def look(folder: str | Path, limit_mb: float = LIMIT_MB) -> Package:
    """What of a folder would travel; raises InputError above the limit, with the largest files."""
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise InputError(f"the working directory '{root}' is no folder")
    files: list[tuple[str, int]] = []
    datasets: list[tuple[str, int]] = []
    for path in _travelling(root):
        size = path.stat().st_size
        is_data = path.suffix.lower() in DATASETS and size > DATASET_BYTES
        (datasets if is_data else files).append((path.relative_to(root).as_posix(), size))
    package = Package(root, tuple(sorted(files)), tuple(sorted(datasets)))
    if package.size > limit_mb * 1e6:
        largest = sorted(package.files, key=lambda file: -file[1])[:5]
        named = ", ".join(f"{name} ({megabytes(size)})" for name, size in largest)
        raise InputError(
            f"the working directory is {package}; at most {limit_mb:g} MB travel. The largest: {named}. Name what is not needed in "
            ".gitignore or .rayignore, or submit from a smaller directory: --working-dir"
        )
    return package


def _travelling(root: Path) -> Iterator[Path]:
    """The plain files below `root` that nothing ignores."""
    from pathspec import GitIgnoreSpec

    rules = [(root, GitIgnoreSpec.from_lines(NEVER))]
    for place, folders, names in os.walk(root):
        here = Path(place)
        rules += [
            (here, GitIgnoreSpec.from_lines((here / name).read_text(errors="replace").splitlines()))
            for name in IGNORE_FILES
            if name in names and (here / name).is_file()
        ]
        seen = [(base, spec) for base, spec in rules if here.is_relative_to(base)]

        def ignored(path: Path, end: str = "", seen: list[tuple[Path, GitIgnoreSpec]] = seen) -> bool:
            return any(spec.match_file(path.relative_to(base).as_posix() + end) for base, spec in seen)

        folders[:] = sorted(name for name in folders if not ignored(here / name, "/"))
        for name in names:
            path = here / name
            inside = path.resolve().is_relative_to(root)  # a link to elsewhere would carry off what is there
            if inside and path.is_file() and not ignored(path):
                yield path


def pack(package: Package, extra: Mapping[str, str], target: Path) -> int:
    """Write the package and the `extra` texts as one zip; returns its size in bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, _ in package.files:
            if name not in extra:
                _add(archive, name, (package.folder / name).read_bytes(), (package.folder / name).stat().st_mode)
        for name, text in extra.items():
            _add(archive, name, text.encode(), 0o644)
    return target.stat().st_size


def _add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    info = zipfile.ZipInfo(name, AS_OF)
    info.external_attr = (mode & 0o777) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content)
