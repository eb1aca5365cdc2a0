"""What travels with a job: the working directory, without what .gitignore names, experiments, environments, datasets and
secrets."""

import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raynas.tables import InputError

LIMIT_MB = 50
IGNORE_FILES = (".gitignore", ".rayignore")
NEVER = (
    ".git/", ".hg/", "node_modules/", "runs/", "__pycache__/", "*.pyc", ".*_cache/", ".hypothesis/", "*.egg-info/", "driver.lock",
    "*-report.html", "*-pictures/",
)  # fmt: skip
SECRETS = (
    ".env", ".env.*", ".*_history", ".npmrc", ".condarc", ".databrickscfg", ".Renviron", "credentials*.json", "*.keytab", ".netrc", ".pgpass", ".pypirc", ".git-credentials", ".ray-token", "auth_token", "*.pem", "*.key", "*.p12", "*.pfx",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh/", ".gnupg/", ".ray/", ".aws/", ".azure/", ".kube/", ".docker/", ".config/", ".cache/",
    ".huggingface/", ".kaggle/",
)  # fmt: skip
ENVIRONMENT = ("pyvenv.cfg", "conda-meta")  # what a folder of any name holds that is an environment of Python
NAMED = 3  # secrets that are named where it is said how many there are
DATASETS = (".npz", ".npy", ".parquet", ".h5", ".hdf5", ".zip", ".tar", ".gz", ".pt", ".pth", ".safetensors")
DATASET_BYTES = 1_000_000  # smaller ones may be part of a program
AS_OF = (1980, 1, 1, 0, 0, 0)  # one content, one package: Ray keeps what it has


@dataclass(frozen=True)
class Package:
    """The files of `folder` that travel, with their sizes in bytes, and the `datasets` and `secrets` that stay here; a folder of
    secrets is one of them."""

    folder: Path
    files: tuple[tuple[str, int], ...]
    datasets: tuple[tuple[str, int], ...]
    secrets: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)

    def __str__(self) -> str:
        left = f"; {len(self.datasets)} datasets ({megabytes(_sum(self.datasets))}) stay here" if self.datasets else ""
        if self.secrets:
            named = ", ".join([*self.secrets[:NAMED], "…"] if len(self.secrets) > NAMED else self.secrets)
            left += f"; {len(self.secrets)} secrets stay here ({named})"
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
    if root == Path.home().resolve():
        raise InputError(
            f"'{root}' is your home directory, and all of it would travel; submit from a project's folder (--working-dir)"
        )
    files: list[tuple[str, int]] = []
    datasets: list[tuple[str, int]] = []
    secrets: list[str] = []
    for path, is_secret in _seen(root):
        name, size = path.relative_to(root).as_posix(), path.stat().st_size
        if is_secret:
            secrets.append(f"{name}/" if path.is_dir() else name)
        else:
            (datasets if _is_data(path, size) else files).append((name, size))
    package = Package(root, tuple(sorted(files)), tuple(sorted(datasets)), tuple(sorted(secrets)))
    if package.size > limit_mb * 1e6:
        largest = sorted(package.files, key=lambda file: -file[1])[:5]
        named = ", ".join(f"{name} ({megabytes(size)})" for name, size in largest)
        raise InputError(
            f"the working directory is {package}; at most {limit_mb:g} MB travel. The largest: {named}. Name what is not needed in "
            ".gitignore or .rayignore, or submit from a smaller directory: --working-dir"
        )
    return package


def _is_data(path: Path, size: int) -> bool:
    """Whether it is a dataset; what lies in a package of Python belongs to it."""
    return path.suffix.lower() in DATASETS and size > DATASET_BYTES and not (path.parent / "__init__.py").exists()


def _seen(root: Path) -> Iterator[tuple[Path, bool]]:
    """The plain files below `root` that nothing ignores, and its secrets, files and folders; which of the two each is."""
    from pathspec import GitIgnoreSpec

    secret, rules = GitIgnoreSpec.from_lines(SECRETS), [(root, GitIgnoreSpec.from_lines(NEVER))]
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "")).expanduser().resolve()
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

        hidden = [
            here / name for name in folders if secret.match_file(f"{(here / name).relative_to(root).as_posix()}/")
        ]
        yield from ((path, True) for path in hidden)
        folders[:] = sorted(
            name
            for name in folders
            if here / name not in hidden and not ignored(here / name, "/") and not _is_environment(here / name)
        )
        for name in names:
            path, real = here / name, (here / name).resolve()
            if not real.is_relative_to(root) or not path.is_file():  # a link to elsewhere would carry off what is there
                continue
            if real == token or any(secret.match_file(each.relative_to(root).as_posix()) for each in (path, real)):
                yield path, True
            elif not ignored(path):
                yield path, False


def _is_environment(folder: Path) -> bool:
    return any((folder / name).exists() for name in ENVIRONMENT)


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
