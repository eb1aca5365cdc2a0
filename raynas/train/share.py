"""What a trial may use of its machine. Imports torch only where it is used: a trial that needs none starts faster."""

import sys
from dataclasses import dataclass
from typing import Any

from raynas.rng import seed_at
from raynas.tables import InputError

LEAST = 64 * 2**20  # bytes that no training does without
CONTEXT = 600 * 2**20  # bytes that CUDA takes of every process, before its first tensor


def memory_fraction(gpu: float, free: int, total: int) -> float:
    """The fraction of a GPU's `total` bytes that the tensors of a process with a share of `gpu` may take: its share of what is
    `free` for trials, less the context that CUDA takes of it. So what all of them take together is there."""
    return min(1.0, max(0.0, gpu * free - CONTEXT) / total)


@dataclass(frozen=True)
class Share:
    """CPU threads, and a fraction of one GPU or several whole ones. `free_bytes` of a GPU are for trials, where it was measured
    that other programs hold the rest."""

    cpu: float = 1.0
    gpu: float = 0.0
    free_bytes: int | None = None

    def device(self) -> Any:
        """The trial's torch device, its limits set: a trial that has 0.25 of a GPU cannot take its neighbours' memory."""
        import torch

        torch.set_num_threads(max(1, int(self.cpu)))
        if self.gpu <= 0 or not torch.cuda.is_available():
            return torch.device("cpu")
        device = torch.device("cuda", 0)  # Ray shows the process its own GPUs only
        if self.gpu < 1:
            total = torch.cuda.get_device_properties(device).total_memory
            free = min(self.free_bytes or total, total)
            fraction = memory_fraction(self.gpu, free, total)
            if fraction * total < LEAST:
                raise InputError(
                    f"a share of {self.gpu:g} of a GPU with {free / 2**30:.1f} GiB leaves a trial nothing: CUDA itself takes "
                    f"{CONTEXT / 2**20:.0f} MiB of every process; ask for a larger one"
                )
            torch.cuda.set_per_process_memory_fraction(fraction, device)
        return device

    def prepare(self, seed: int, uses_torch: bool = False) -> None:
        """Limits and seed for a training that is not ours, where it uses torch (or will: it has a GPU, or says so)."""
        if self.gpu > 0 or uses_torch or "torch" in sys.modules:
            import torch

            self.device()
            torch.manual_seed(seed_at(seed, 0))
