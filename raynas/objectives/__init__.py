"""What is good: trials and the objectives that judge them."""

from raynas.objectives.limits import COSTS, MEASURED, Limit, Refused, broken, parse_limit
from raynas.objectives.objective import OBJECTIVES, Diverged, Objective
from raynas.objectives.trial import ENDED, Failure, State, Trial

__all__ = [
    "COSTS",
    "ENDED",
    "MEASURED",
    "OBJECTIVES",
    "Diverged",
    "Failure",
    "Limit",
    "Objective",
    "Refused",
    "State",
    "Trial",
    "broken",
    "parse_limit",
]
