"""One Ray session for all tests, and the data folder that some of them need."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # small networks are slower on many threads, far slower where cores are taken


@pytest.fixture(scope="session")
def ray_here():
    """A Ray of two CPUs on this machine, shared by all tests that place trials."""
    import ray

    from raynas.run.cluster import connected

    if not ray.is_initialized():
        with pytest.MonkeyPatch.context() as patch:
            folder = str(Path(__file__).parent)
            patch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))
            with connected(None, num_cpus=2, num_gpus=2):  # the GPUs are bookkeeping: Ray counts them
                yield
    else:
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the full datasets; tests that need it are skipped where it is not."""
    folder = Path(os.environ.get("RAYNAS_DATA", "../shared/data"))
    if not (folder / "fashion_mnist.npz").is_file():
        pytest.skip(f"no datasets in '{folder}': set RAYNAS_DATA")
    return folder
