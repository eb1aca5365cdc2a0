"""A network's training on several workers that fails; workers import it from here."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist

from raynas.train.network import NetworkTraining


@dataclass(frozen=True)
class Fallible(NetworkTraining):
    """A network's training on several workers that fails once in each way: worker 1 is killed in its second epoch, and
    worker 0 raises in its third. `marks` has what happened, and every epoch that was trained, a line of its worker each."""

    marks: str = ""

    def start(self, config, checkpoint, seed, device):
        network, progress = super().start(config, checkpoint, seed, device)
        rank, marks = dist.get_rank(), Path(self.marks)

        def once(name):
            first = not (marks / name).exists()
            (marks / name).touch()
            return first

        def look(module, inputs):
            if module.training:
                if rank == 1 and progress.epoch == 1 and once("killed"):
                    os.kill(os.getpid(), signal.SIGKILL)
                if rank == 0 and progress.epoch == 2 and once("raised"):
                    raise KeyError("once")
            elif once(f"evaluated {rank} {os.getpid()} {progress.epoch}"):
                with (marks / f"trained {rank}").open("a") as file:
                    file.write(f"{progress.epoch + 1}\n")

        network.register_forward_pre_hook(look)
        return network, progress
