"""What a changed setting does to a cluster that runs. Pure."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Effect:
    """``applied``: the next deploy brings it about. ``refused``: a finding stops the deploy before it changes anything.
    ``nothing``: nothing that runs has it, or has to have it anew.
    """

    kind: Literal["applied", "refused", "nothing"]
    why: str
    """What brings it about, the finding's name, or why nothing needs it."""


def applied(why: str) -> Effect:
    return Effect("applied", why)


def refused(finding: str = "changed-setting") -> Effect:
    return Effect("refused", finding)


def nothing(why: str) -> Effect:
    return Effect("nothing", why)


IN_PODS = applied("it is part of the agents' pods, which are replaced")
NOT_USED = nothing("the network has none, and another value than the default is refused with the settings")
OF_OTHERS = nothing("it is another network's alone")
