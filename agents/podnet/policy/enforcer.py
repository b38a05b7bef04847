"""Keeps this node's nftables table as the policies of the cluster demand."""

import logging
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path

from agents.podnet.files import read, write_if_changed
from agents.podnet.plan import PodnetError
from agents.podnet.policy import report
from agents.podnet.policy.changes import shows, transactions
from agents.podnet.policy.nft import Nft
from agents.podnet.policy.objects import World
from agents.podnet.policy.ruleset import Here, Ruleset, make_ruleset
from agents.podnet.policy.sample import make_sample
from agents.podnet.policy.table import Table
from agents.podnet.standing import Standing

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
"""What comes within this time after a change is computed with it: a Deployment's pods come as a burst of events."""
VERIFY_SECONDS = 10.0
"""How often the table is looked at without being told. Nearly always the kernel's generation has not moved since the
last look, which costs one netlink message; only when it has (kube-proxy moves it, too) the table itself is listed."""
RETRY_SECONDS = 1.0
"""Time until the next attempt when one has failed."""
ATTEMPTS = 3
"""Loads in a row after which the listing may not show what was loaded, before it is taken as it is."""


class Enforcer:
    """Computes, loads and guards the table, in a thread of its own.

    ``world`` and ``subnet`` give what is known (None before it is): until both are there, the rules that stand, of an
    earlier agent, are not touched. ``settled`` is called when the answer of :meth:`problem` has changed.
    """

    def __init__(
        self,
        node: str,
        world: Callable[[], World | None],
        subnet: Callable[[], IPv4Network | None],
        nft: Nft,
        file: Path,
        settled: Callable[[], None] = lambda: None,
    ) -> None:
        self._node = node
        self._world = world
        self._subnet = subnet
        self._nft = nft
        self._file = file
        self._settled = settled
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._standing = Standing(log)
        self._problem: str | None = "NetworkPolicy: waiting for the lists of pods, namespaces and policies"
        self._capable = False
        self._known: tuple[World, IPv4Network] | None = None
        self._ruleset: Ruleset | None = None
        self._loaded: Table | None = None
        self._listing: str | None = None
        self._generation = -1
        self._took = 0.0

    def problem(self) -> str | None:
        """Why the policies of the cluster are not in force on this node; None if they are. Whoever asks logs it."""
        return self._problem

    def wake(self) -> None:
        """An object or the table has changed. Callable from any thread."""
        self._wake.set()

    def start(self) -> None:
        threading.Thread(target=self.run, name="policies", daemon=True).start()

    def stop(self) -> None:
        """End :meth:`run`; the rules stay in force."""
        self._stopped.set()
        self._wake.set()

    def run(self) -> None:
        """Until stopped: on each change, and every VERIFY_SECONDS."""
        while not self._stopped.is_set():
            self._wake.clear()
            wait = VERIFY_SECONDS if self._round() else RETRY_SECONDS
            self._wake.wait(wait)
            self._stopped.wait(GATHER_SECONDS)

    def _round(self) -> bool:
        try:
            problem = self.enforce()
        except (PodnetError, OSError) as error:
            problem = f"NetworkPolicy: the rules that stand stay in force: {error}"
        except Exception as error:
            # Whatever it was: a thread that ends would leave the node with old rules, and nobody would know.
            log.exception("NetworkPolicy: trying again")
            problem = f"NetworkPolicy: the rules that stand stay in force: {type(error).__name__} {error}"
        if problem is None:
            self._standing.tell(self._remarks(), logging.WARNING)
        changed, self._problem = problem != self._problem, problem
        if changed:
            self._settled()
        return problem is None

    def enforce(self) -> str | None:
        """One round; returns what it waits for, None when all is in force. Raises PodnetError if nft fails."""
        if not self._capable:
            self._begin()
        world, subnet = self._world(), self._subnet()
        if world is None:
            return "NetworkPolicy: waiting for the lists of pods, namespaces and policies"
        if subnet is None:
            return f"NetworkPolicy: waiting for the podCIDR of node {self._node}"
        started = time.monotonic()
        if self._known != (world, subnet) or self._ruleset is None:
            self._ruleset = make_ruleset(world, Here(self._node, subnet))
            self._known = (world, subnet)
        if self._loaded is not None and not self._stands():
            self._loaded = None
        if self._ruleset.table != self._loaded:
            self._load(self._ruleset.table, started)
        write_if_changed(self._file, report.in_force(world, self._ruleset.table.rules, self._took))
        return None

    def _begin(self) -> None:
        """What is needed is there, and what an earlier agent said to be in force is so, or is not said any longer."""
        try:
            self._nft.check(make_sample())
        except PodnetError as problem:
            raise PodnetError(f"the kernel or nft of this node cannot: {problem}") from None
        if read(self._file) and self._nft.listing() is None:
            self._file.unlink(missing_ok=True)
        self._capable = True

    def _stands(self) -> bool:
        """Whether the table is as it was listed after it was loaded."""
        generation = self._nft.generation()
        if generation == self._generation:
            return True
        if self._nft.listing() != self._listing:
            log.warning("NetworkPolicy: somebody has changed or deleted podnet's nftables table: loading it again")
            return False
        self._generation = generation
        return True

    def _load(self, table: Table, started: float) -> None:
        """Load and list it. If somebody else's transaction came between, the listing has to show what was loaded."""
        for _ in range(ATTEMPTS):
            texts = transactions(self._loaded, table) if self._loaded is not None else [table.text()]
            # Unknown until the last one is through: after a failure the next attempt replaces everything.
            self._loaded = None
            before = self._nft.generation()
            for text in texts:
                self._nft.load(text)
            self._took = time.monotonic() - started
            self._listing = self._nft.listing()
            self._generation = self._nft.generation()
            if self._generation == before + len(texts) or shows(self._listing, table):
                break
        self._loaded = table
        log.info("NetworkPolicy: %d rules, %d elements, in force after %.3f s", table.rules, table.elements, self._took)

    def _remarks(self) -> list[str]:
        if self._known is None or self._ruleset is None:
            return []
        policies = self._known[0].policies.items()
        return [
            *self._ruleset.remarks,
            *(
                f"policy {name} is enforced strictly, what cannot be expressed allows nothing: {'; '.join(reasons)}"
                for name, policy in policies
                if (reasons := policy.inexpressible)
            ),
        ]
