"""What is good: trials and the objectives that judge them."""

from raynas.objectives.objective import OBJECTIVES, Diverged, Objective
from raynas.objectives.trial import ENDED, Failure, State, Trial

__all__ = ["ENDED", "OBJECTIVES", "Diverged", "Failure", "Objective", "State", "Trial"]
