"""Which pods a selector, a peer or a port's name stands for. Pure."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property
from ipaddress import IPv4Address

from agents.podnet.policy import spans
from agents.podnet.policy.objects import Block, Direction, Pod, PodPeer, Policy, PortMatch, World
from agents.podnet.policy.selectors import EVERYTHING, Labels, Selector
from agents.podnet.policy.spans import ALL_ADDRESSES, Spans

Group = tuple[str, Labels]
"""A namespace and the labels that some of its pods have in common: a selector matches all or none of these."""
Target = tuple[int, int]
"""Address and port of a pod."""


class Expansion:
    """The pods of a world, found by what policies say of them; everything is matched once.

    Only pods with an address of their own count. Pods on the host's network are the node, not pods, for policies.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._matched: dict[tuple[str | None, Selector, Selector], list[Pod]] = {}
        self._spans: dict[PodPeer | Block, Spans] = {}
        claimed: dict[IPv4Address, list[Pod]] = defaultdict(list)
        for pod in world.pods.values():
            if pod.address is not None and not pod.host_network:
                claimed[pod.address].append(pod)
        self.duplicates = {address: pods for address, pods in claimed.items() if len(pods) > 1}
        """Addresses that several pods claim: nobody can say whose packets these are, so they are nobody's."""
        self.pods = [pods[0] for pods in claimed.values() if len(pods) == 1]

    def selected(self, policy: Policy) -> list[Pod]:
        return self._match(policy.namespace, EVERYTHING, policy.selector)

    def sources(self, peers: Iterable[PodPeer | Block] | None) -> Spans:
        if peers is None:
            return ALL_ADDRESSES
        return spans.merge(span for peer in peers for span in self._peer(peer))

    def targets(self, port: PortMatch, pods: Iterable[Pod] | None, peers: Spans) -> list[Target]:
        """Where a port's name leads to, at the given pods (None: at all of them) whose address is among the peers."""
        if pods is not None:
            return sorted(
                {
                    (int(pod.address), each.number)
                    for pod in pods
                    if pod.address is not None and spans.contains(peers, int(pod.address))
                    for each in pod.ports
                    if (each.protocol, each.name) == (port.protocol, port.name)
                }
            )
        everywhere = self._named.get((port.protocol, port.name or ""), [])
        return [
            target
            for first, last in peers
            for target in everywhere[bisect_left(everywhere, (first, 0)) : bisect_left(everywhere, (last + 1, 0))]
        ]

    @cached_property
    def _named(self) -> dict[tuple[str, str], list[Target]]:
        """Where names of ports lead to, sorted: with thousands of pods, peers are few of them."""
        found: dict[tuple[str, str], set[Target]] = defaultdict(set)
        for pod in self.pods:
            if pod.address is not None:
                for port in pod.ports:
                    found[port.protocol, port.name].add((int(pod.address), port.number))
        return {key: sorted(targets) for key, targets in found.items()}

    @cached_property
    def _groups(self) -> dict[str, dict[Group, list[Pod]]]:
        groups: dict[str, dict[Group, list[Pod]]] = defaultdict(lambda: defaultdict(list))
        for pod in self.pods:
            groups[pod.namespace][pod.namespace, pod.labels].append(pod)
        return groups

    def _peer(self, peer: PodPeer | Block) -> Spans:
        if isinstance(peer, Block):
            return peer.spans
        if peer not in self._spans:
            pods = self._match(peer.namespace, peer.namespaces, peer.pods)
            addresses = (int(pod.address) for pod in pods if pod.address is not None)
            self._spans[peer] = spans.merge((address, address) for address in addresses)
        return self._spans[peer]

    def _match(self, namespace: str | None, namespaces: Selector, pods: Selector) -> list[Pod]:
        key = (namespace, namespaces, pods)
        if key not in self._matched:
            self._matched[key] = [
                pod
                for name in ([namespace] if namespace is not None else self._namespaces(namespaces))
                for (_, labels), members in self._groups.get(name, {}).items()
                if pods.matches(labels)
                for pod in members
            ]
        return self._matched[key]

    def _namespaces(self, selector: Selector) -> list[str]:
        # A namespace whose object is not here yet matches nothing, not even {}: its labels are not known.
        return [name for name, namespace in self._world.namespaces.items() if selector.matches(namespace.labels)]


def isolating(policies: Iterable[Policy], direction: Direction) -> list[Policy]:
    """The policies that isolate in a direction, in an order that does not depend on the server's."""
    return sorted((policy for policy in policies if direction in policy.isolates), key=lambda policy: policy.full_name)


def by_policies(
    pods: Iterable[Pod], policies: Iterable[Policy], selected: Callable[[Policy], list[Pod]]
) -> dict[tuple[str, ...], list[Pod]]:
    """Those of the pods that are isolated, by the full names of the policies that select them."""
    here = {id(pod): pod for pod in pods}
    selecting: dict[int, list[str]] = defaultdict(list)
    for policy in policies:
        for pod in selected(policy):
            if id(pod) in here:
                selecting[id(pod)].append(policy.full_name)
    groups: dict[tuple[str, ...], list[Pod]] = defaultdict(list)
    for number, names in selecting.items():
        groups[tuple(names)].append(here[number])
    return groups
