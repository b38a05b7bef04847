"""Brings the node's network to what is planned, again and again."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from agents.podnet import files as on_node
from agents.podnet import iptables, rules
from agents.podnet.differences import CreateDevice, differences, stale_bridge
from agents.podnet.files import Files
from agents.podnet.host import Host
from agents.podnet.nodes import IP_ANNOTATION, MAC_ANNOTATION, Node
from agents.podnet.plan import Config, Plan, PodnetError, make_plan, own_address, own_node
from agents.podnet.standing import Standing

log = logging.getLogger(__name__)

ROUND_SECONDS = 10.0
"""What nobody announced is found and mended after this time at the latest."""
PAUSE_SECONDS = 0.5
"""Shortest time between two rounds, so that a burst of events (a pod's veth makes ten) costs one round."""
LOOK_SECONDS = 1.0
"""The kernel announces no change of a file: how often podnet looks whether one of its own is another or gone."""
RETRY_SECONDS = 2.0
"""Time until the next round when one has failed."""

Nodes = Callable[[], Mapping[str, Node] | None]
Publish = Callable[[str, dict[str, str]], None]
Policies = Callable[[], str | None]


class Agent:
    """podnet on one node.

    ``nodes`` gives the cluster's nodes (None before they are known), ``publish`` writes annotations to a node,
    ``policies`` says why NetworkPolicy is not in force here (None if it is).
    """

    def __init__(
        self, config: Config, nodes: Nodes, publish: Publish, policies: Policies, host: Host, files: Files
    ) -> None:
        self._config = config
        self._nodes = nodes
        self._publish = publish
        self._policies = policies
        self._host = host
        self._files = files
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._standing = Standing(log)

    def wake(self) -> None:
        """Something has changed: have a round soon. Callable from any thread."""
        self._wake.set()

    def stop(self) -> None:
        """End :meth:`run`; what was set up on the node stays, so that its pods stay connected."""
        self._stopped.set()
        self._wake.set()

    def run(self) -> None:
        """Rounds until stopped: on each change, and every ROUND_SECONDS."""
        self._files.ready.unlink(missing_ok=True)
        while not self._stopped.is_set():
            self._wake.clear()
            # Before the round: a round that writes is followed by one more, and nothing falls between the two.
            before = on_node.stamp(self._files)
            wait = ROUND_SECONDS if self._round() else RETRY_SECONDS
            self._stopped.wait(PAUSE_SECONDS)
            self._wait(wait - PAUSE_SECONDS, before)

    def _wait(self, seconds: float, before: on_node.Stamp) -> None:
        """Return when it is woken, when podnet's files are not as they were ``before``, or after ``seconds``."""
        deadline = time.monotonic() + seconds
        while on_node.stamp(self._files) == before and (remaining := deadline - time.monotonic()) > 0:
            if self._wake.wait(min(LOOK_SECONDS, remaining)):
                return

    def _round(self) -> bool:
        started = time.monotonic()
        if self._nodes() is None:
            return False  # the follower says what keeps it from knowing them
        try:
            changes = self.reconcile()
        except (PodnetError, OSError) as problem:
            self._standing.tell(str(problem).splitlines(), logging.ERROR)
            self._files.ready.unlink(missing_ok=True)
            return False
        if changes:
            log.info("%d changes in %.2f s", changes, time.monotonic() - started)
        if on_node.write_if_changed(self._files.ready, "ready\n"):
            log.info("ready: this node's network is as planned")
        return True

    def reconcile(self) -> int:
        """One round; returns how many things it changed. Raises PodnetError with a line for each thing it could not do.

        The CNI configuration comes last: with it kubelet calls the node Ready and starts pods, which must not be before
        policies are in force.
        """
        nodes = self._nodes()
        if nodes is None:
            raise PodnetError("the cluster's nodes are not known yet: waiting for the API server")
        own = own_node(self._config, nodes)
        plan = make_plan(self._config, nodes, self._host.underlay(own_address(own)))
        problems: list[str] = []
        changes = self._network(plan, own, problems) + self._rules(plan) + self._advertise(plan, own, problems)
        if not_enforced := self._policies():
            problems.append(not_enforced)
        if problems:
            raise PodnetError("\n".join(problems))
        changes += self._write(plan)
        self._warn(plan)
        return changes

    def _network(self, plan: Plan, own: Node, problems: list[str]) -> int:
        observed = self._host.observe()
        changes = 0
        actions = differences(plan, observed)
        try:
            actions += stale_bridge(plan, observed.bridge)
        except PodnetError as problem:
            problems.append(str(problem))
        for action in actions:
            log.info("%s", action)
            try:
                if isinstance(action, CreateDevice):
                    # With the MAC that the others know already, their entries for this node stay right.
                    self._host.create_device(action, own.vtep_mac)
                else:
                    self._host.apply(action)
                changes += 1
            except PodnetError as problem:
                problems.append(str(problem))
                if isinstance(action, CreateDevice):
                    break  # without the device all the rest fails, too, and would only hide the reason
        return changes

    def _rules(self, plan: Plan) -> int:
        earlier_forward, earlier_postrouting = rules.earlier_rules(on_node.read(self._files.subnet_env))
        forward = iptables.chain("filter", "FORWARD")
        postrouting = iptables.chain("nat", "POSTROUTING")
        stale = rules.stale_returns(postrouting, self._config.pod_cidr, plan.gateway.network)
        return self._restore("filter", rules.mend(forward, plan.forward_rules, earlier_forward)) + self._restore(
            "nat", rules.mend(postrouting, plan.postrouting_rules, (*earlier_postrouting, *stale))
        )

    def _restore(self, table: str, lines: list[str]) -> int:
        for line in lines:
            log.info("iptables -t %s %s", table, line)
        if lines:
            iptables.restore(rules.restore_text(table, lines))
        return len(lines)

    def _advertise(self, plan: Plan, own: Node, problems: list[str]) -> int:
        """Publish the device's MAC as it is: somebody may have changed it, and the others have to follow."""
        local = plan.vxlan.local
        try:
            mac = self._host.device_mac()
            if (own.vtep_mac, own.public_ip) == (mac, local):
                return 0
            self._publish(own.name, {MAC_ANNOTATION: mac, IP_ANNOTATION: str(local)})
        except PodnetError as problem:
            problems.append(str(problem))
            return 0
        log.info("published VTEP %s at %s", mac, local)
        return 1

    def _write(self, plan: Plan) -> int:
        changes = 0
        for path, text in ((self._files.subnet_env, plan.subnet_env), (self._files.conflist, plan.conflist)):
            if on_node.write_if_changed(path, text):
                log.info("wrote %s", path)
                changes += 1
        return changes

    def _warn(self, plan: Plan) -> None:
        directory = self._files.cni_directory
        others = [
            f"kubelet prefers {directory}/{name} to podnet's {self._files.conflist.name} (first by name): remove it"
            for name in on_node.files_before_ours(self._files)
        ]
        self._standing.tell([*plan.skipped, *others, *on_node.wrong_sysctls(self._files)], logging.WARNING)
