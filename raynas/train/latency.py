"""How long a network takes for a forward pass, measured on the device that trains it."""

import statistics
import time

import torch
from torch import nn

BATCH = 1  # images
WARM_UP, PASSES = 10, 50


def latency(
    network: nn.Module, input_shape: tuple[int, int, int], device: torch.device, batch: int = BATCH
) -> dict[str, float | int | str]:
    """`latency_ms`, the median over 50 forward passes of `batch` images after 10 to warm up, the device synchronised before
    each reading of the clock; `latency_iqr_ms`, the distance of their quartiles; `latency_batch` and `latency_device`.

    In float32 whatever the training's precision, channels_last, evaluation mode, with the trial's share of the device.
    What else the machine does shows in the spread.
    """
    network.eval()
    images = torch.zeros(batch, *input_shape, device=device).to(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode():
        for number in range(WARM_UP + PASSES):
            _synchronise(device)
            began = time.perf_counter()
            network(images)
            _synchronise(device)
            if number >= WARM_UP:
                seconds.append(time.perf_counter() - began)
    low, middle, high = statistics.quantiles(seconds, n=4)
    return {
        "latency_ms": 1000 * middle,
        "latency_iqr_ms": 1000 * (high - low),
        "latency_batch": batch,
        "latency_device": device_name(device),
    }


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_name(device: torch.device) -> str:
    """The hardware's name; a CPU with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}"
