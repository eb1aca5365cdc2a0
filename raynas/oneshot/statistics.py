"""Normalisation in a supernet."""

from torch import nn


def forget_statistics(network: nn.Module) -> None:
    """Normalise by the batch in training and evaluation alike: running means over children would be nobody's."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
            module.num_batches_tracked = None
