"""What stands in for the enforcer where NetworkPolicy is switched off."""

import logging
from pathlib import Path

from agents.podnet.files import write_if_changed
from agents.podnet.policy import report
from agents.podnet.policy.nft import Nft
from agents.podnet.policy.objects import World
from agents.podnet.standing import Standing

log = logging.getLogger(__name__)


class SwitchedOff:
    """Takes away what an enforcer has left on this node, and says that policies have no effect."""

    def __init__(self, nft: Nft, file: Path) -> None:
        self._nft = nft
        self._file = file
        self._standing = Standing(log)

    def problem(self) -> str | None:
        """None once no rules stand. Raises PodnetError if nft fails."""
        if self._nft.delete():
            log.info("deleted podnet's nftables table")
        write_if_changed(self._file, report.in_force(World({}, {}, {}), 0, 0.0, enforced=False))
        line = "NetworkPolicy is switched off (NETWORK_POLICY=off): policies are accepted and have no effect"
        self._standing.tell([line], logging.WARNING)
        return None

    def wake(self) -> None:
        """Nothing follows from a change."""

    def start(self) -> None:
        """Nothing runs: the agent's rounds ask for problems."""
