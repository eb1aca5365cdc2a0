"""Who else hears what a search finds: MLflow, TensorBoard, Weights & Biases and Optuna, by name."""

from raynas.run.tracking.audience import Audience
from raynas.run.tracking.table import TRACKERS, check_trackers, open_trackers, without_passwords

__all__ = ["TRACKERS", "Audience", "check_trackers", "open_trackers", "without_passwords"]
