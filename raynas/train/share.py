"""What a trial may use of its machine. Imports torch only where it is used: a trial that needs none starts faster."""

import sys
from dataclasses import dataclass
from typing import Any

from raynas.rng import seed_at


@dataclass(frozen=True)
class Share:
    """CPU threads, and a fraction of one GPU or several whole ones."""

    cpu: float = 1.0
    gpu: float = 0.0

    def device(self) -> Any:
        """The trial's torch device, its limits set: a trial that has 0.25 of a GPU cannot take its neighbours' memory."""
        import torch

        torch.set_num_threads(max(1, int(self.cpu)))
        if self.gpu <= 0 or not torch.cuda.is_available():
            return torch.device("cpu")
        device = torch.device("cuda", 0)  # Ray shows the process its own GPUs only
        if self.gpu < 1:
            torch.cuda.set_per_process_memory_fraction(self.gpu, device)
        return device

    def prepare(self, seed: int) -> None:
        """Limits and seed for a training that is not ours, where it uses torch."""
        if "torch" in sys.modules:
            import torch

            self.device()
            torch.manual_seed(seed_at(seed, 0))
