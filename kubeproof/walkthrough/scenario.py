"""The steps of the walk-through: which policy is in force, who tries what, and what it proves. Pure.

They are those of the Canal walk-through (access-httpd), with the addresses that a policy really sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from kubeproof.walkthrough.attempt import Attempt, FromHere, InPod, OnNode, Outcome, fetch, ping

PLAIN, LABELLED = "policy-client", "policy-client-access"
CLIENTS: dict[str, dict[str, str]] = {PLAIN: {}, LABELLED: {"access": "true"}}
"""The client pods and the labels by which the policy tells them apart."""
ONE = "policy-one"
"""A Service with one known endpoint."""
PART_OF = {"app.kubernetes.io/part-of": "kubeproof-walkthrough"}
REQUESTS = 3
"""To a Service with several endpoints, so that more than one of them is asked as a rule."""
SERVICE_URL = "http://httpd-svc:8080/"


@dataclass(frozen=True)
class Stage:
    """The demo as it stands: one pod of httpd, one of kuard on the same host if there is one, the hosts, NodePorts.

    ``subnets`` are the hosts' by name, whose first address others see them as (Settings.seen_as), ``addresses`` their
    node addresses; ``home`` is httpd's host.
    """

    httpd: IPv4Address
    kuard: IPv4Address
    home: str
    kuard_home: str
    addresses: dict[str, IPv4Address]
    subnets: dict[str, IPv4Network]
    node_network: IPv4Network
    node_port: int
    page_port: int
    own_source: tuple[str, IPv4Address] | None = None
    """What kuard's pod sees its own host as, where that is not cni0's address: whose, and which."""

    @property
    def others(self) -> list[str]:
        return [name for name in self.addresses if name != self.home]

    def vtep(self, node: str) -> IPv4Address:
        """What pods of other hosts see a host as: the address of its tunnel, where there is one."""
        return self.subnets[node].network_address

    def seen_by_kuard(self, node: str) -> tuple[str, IPv4Address]:
        """Whose address kuard's pod sees when a host talks to it, and which."""
        if node != self.kuard_home:
            return "its tunnel's", self.vtep(node)
        return self.own_source or ("cni0's", self.subnets[node][1])


@dataclass(frozen=True)
class Step:
    """``blocks`` are the ipBlocks of access-httpd beside its podSelector; None means no policy at all."""

    number: int
    title: str
    why: str
    blocks: tuple[IPv4Network, ...] | None
    attempts: tuple[Attempt, ...]


def steps(stage: Stage) -> tuple[Step, ...]:
    tunnel = tuple(IPv4Network(stage.vtep(name)) for name in stage.addresses)
    return (
        Step(0, "Before any policy", "A pod that no policy selects is open to everybody.", None, tuple(_open(stage))),
        Step(
            1,
            "access-httpd: only pods with the label access=true, TCP 80",
            "The policy selects httpd's pods, which isolates them: what no rule allows is dropped. A Service is judged "
            "by the pod behind it, and a rule that names TCP 80 allows no ping.",
            (),
            tuple(_labels(stage)),
        ),
        Step(
            2,
            "Nodes and clients outside of the cluster are cut off by it",
            "They carry no labels, so a podSelector never means them. A pod's own host is the exception: kubelet's "
            "health checks come from there.",
            (),
            tuple(_cut_off(stage)),
        ),
        Step(
            3,
            f"An ipBlock of the node network {stage.node_network} is not enough",
            "A policy is enforced on the pod's host, by the source address that arrives there. Only what comes to the "
            "NodePort of that very host still has the client's own address. What comes from another host, or through "
            "its NodePort, has crossed the tunnel with the address of that host's flannel.1.",
            (stage.node_network,),
            tuple(_half_open(stage)),
        ),
        Step(
            4,
            "ipBlocks of the node network and of every host's flannel.1",
            "These are all the addresses that nodes and outside clients can have when they arrive. (What comes through "
            "another host's NodePort cannot be told from that host any more: its own address stands for all of them.)",
            (stage.node_network, *tunnel),
            tuple(_admitted(stage)),
        ),
    )


def _pod(client: str, stage: Stage, page: Outcome, echo: Outcome) -> Iterator[Attempt]:
    label = "with" if client == LABELLED else "without"
    who = f"a pod {label} the label"
    yield Attempt(f"{who}, by Service name", InPod(client, fetch(SERVICE_URL)), page)
    yield Attempt(f"{who}, by pod address", InPod(client, fetch(f"http://{stage.httpd}/")), page)
    yield Attempt(f"{who}, ping", InPod(client, ping(stage.httpd)), echo)


def _node(name: str, stage: Stage, outcome: Outcome) -> Attempt:
    which = "the pod's own host" if name == stage.home else "another host"
    return Attempt(f"{which}, {name}", OnNode(name, fetch(f"http://{stage.httpd}/")), outcome)


def _node_ports(stage: Stage, outcome: Outcome) -> Iterator[Attempt]:
    for name, address in stage.addresses.items():
        way = FromHere(f"http://{address}:{stage.node_port}/", REQUESTS)
        yield Attempt(f"from outside, by NodePort of {name}", way, outcome)


def _one(stage: Stage, node: str, outcome: Outcome) -> Attempt:
    """The NodePort with httpd's one known pod behind it."""
    where = "the pod's own host" if node == stage.home else "another host"
    way = FromHere(f"http://{stage.addresses[node]}:{stage.page_port}/")
    return Attempt(f"from outside to this very pod, by NodePort of {where}, {node}", way, outcome)


def _open(stage: Stage) -> Iterator[Attempt]:
    yield from _pod(PLAIN, stage, Outcome.OPEN, Outcome.OPEN)
    yield from (_node(name, stage, Outcome.OPEN) for name in stage.addresses)
    yield from _node_ports(stage, Outcome.OPEN)


def _labels(stage: Stage) -> Iterator[Attempt]:
    yield from _pod(PLAIN, stage, Outcome.BLOCKED, Outcome.BLOCKED)
    yield from _pod(LABELLED, stage, Outcome.OPEN, Outcome.BLOCKED)


def _cut_off(stage: Stage) -> Iterator[Attempt]:
    yield _node(stage.home, stage, Outcome.OPEN)
    yield from (_node(name, stage, Outcome.BLOCKED) for name in stage.others)
    yield from _node_ports(stage, Outcome.BLOCKED)


def _half_open(stage: Stage) -> Iterator[Attempt]:
    for name in stage.addresses:
        # kuard is under no policy and tells which address it sees.
        whose, seen = stage.seen_by_kuard(name)
        way = OnNode(name, fetch(f"http://{stage.kuard}:8080/whoami"))
        yield Attempt(f"kuard asked by {name} sees {whose} address {seen}", way, Outcome.OPEN, f'"{seen}"')
    yield from (_node(name, stage, Outcome.BLOCKED) for name in stage.others)
    yield from (_one(stage, name, Outcome.OPEN if name == stage.home else Outcome.BLOCKED) for name in stage.addresses)


def _admitted(stage: Stage) -> Iterator[Attempt]:
    yield from (_node(name, stage, Outcome.OPEN) for name in stage.addresses)
    yield from (_one(stage, name, Outcome.OPEN) for name in stage.addresses)
    yield from _node_ports(stage, Outcome.OPEN)
    yield Attempt(
        "a pod without the label is still shut out", InPod(PLAIN, fetch(f"http://{stage.httpd}/")), Outcome.BLOCKED
    )
