"""One factor for the deadlines of what hosts do: a slow machine takes one setting (``patience``), not twenty.

It holds for the whole process, and is set where a cluster's settings are read. What limits something else keeps its
seconds: how soon a dead host is noticed, how long a download from elsewhere may take.
"""

import math
import re

LOWEST, HIGHEST = 0.5, 20.0
ENVIRONMENT = "KUBEPROOF_PATIENCE"
"""Tells the factor to config.py, which pyinfra reads before the inventory."""

_factor = 1.0


def use(factor: float) -> None:
    global _factor  # one for the process: deadlines are everywhere
    _factor = factor


def factor() -> float:
    """What is set; 1 is nothing special."""
    return _factor


def patient(seconds: float) -> float:
    """A deadline for a usual host as it is for these: of whole seconds a whole number of them, at least one."""
    return max(1, math.ceil(seconds * _factor)) if seconds >= 1 else seconds * _factor


def patiently(command: str) -> str:
    """A command with kubectl's own deadlines in it made longer likewise."""
    return re.sub(r"(--request-timeout=)(\d+)s", lambda found: f"{found[1]}{patient(int(found[2]))}s", command)
