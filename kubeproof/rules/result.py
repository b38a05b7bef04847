"""What a rule or a probe came to on one node, and what is to be done about it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from kubeproof.config.cluster import SshAccess

Where = Literal["node", "here", "console", "hypervisor", "firewall"]
"""Where a remedy is run: on the node by ssh, here in the repository's folder, on the node's own console where ssh does
not reach it, on what the node is a virtual machine of, or, in words, in whatever filters between the nodes."""


@dataclass(frozen=True)
class Remedy:
    """A command line that repairs something; ``node`` is what it is for."""

    node: str
    command: str
    where: Where = "node"

    def paste(self, ssh: Mapping[str, SshAccess]) -> str:
        """The line to paste on this machine, or on the console that it names; ``ssh`` is by node name."""
        return ssh[self.node].line(self.command) if self.where == "node" else self.command

    def to_json(self, ssh: Mapping[str, SshAccess]) -> dict[str, str]:
        return {"node": self.node, "where": self.where, "paste": self.paste(ssh)}


class Status(Enum):
    """The four ends that a check can have; the values are those of the JSON report."""

    HOLDS = "holds"
    FAILS = "fails"
    BROKEN = "broken"
    """The probe itself did not work: nothing is known, which is neither "blocked" nor "allowed"."""
    NOT_RUN = "not run"
    """There was nothing to run it with; ``found`` says why."""

    @property
    def is_failing(self) -> bool:
        """Whether the proof does not hold for it."""
        return self in (Status.FAILS, Status.BROKEN)


WORST_FIRST = (Status.FAILS, Status.BROKEN, Status.HOLDS, Status.NOT_RUN)


@dataclass(frozen=True)
class CheckResult:
    """One rule or probe on one node.

    ``expected`` and ``found`` are for people, one or more lines; ``look_further`` is a shell command. ``remedies`` are
    run in their order; there are none where nothing is known to repair it.
    """

    node: str
    name: str
    status: Status
    expected: str
    found: str
    look_further: str
    remedies: tuple[Remedy, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status is Status.HOLDS

    @property
    def is_failing(self) -> bool:
        """Whether the proof does not hold for it: it fails, or the probe itself did not work."""
        return self.status.is_failing
