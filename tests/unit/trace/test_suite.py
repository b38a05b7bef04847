"""Every cell of the suite of policies: podnet's rules, as the kernel has them, predicted as the engine says."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from agents.podnet.policy.ruleset import Here, make_ruleset
from kubeproof.matrix.cases import PORTS, Case, load
from kubeproof.policy.engine import End as PolicyEnd
from kubeproof.policy.engine import NodeEnd, OutsideEnd, PodEnd, judge
from kubeproof.policy.model import PROTOCOLS, Pod, World
from kubeproof.trace.collecting import Facts
from kubeproof.trace.model import End, Packet, Place, Protocol
from kubeproof.trace.netfilter import Firewall
from kubeproof.trace.passing import ESTABLISHED, NEW, Chance, EndedError, Passing, Tracked
from kubeproof.trace.world import Space
from tests.unit.agents.policy.objects import Item
from tests.unit.agents.policy.test_against_engine import address, agents_world, node_of
from tests.unit.matrix.fixed_world import ADDRESSES, NODES, world

pytestmark = pytest.mark.netns

FACTS = Facts((), ADDRESSES.pod_cidr, ADDRESSES.service_cidr, "podnet")
LISTING = (
    'for file in "$1"/*.nft; do nft -f "$file" && nft -j list table inet podnet >"${file%.nft}.json" || exit 1; done'
)
CASES = load()


def items(case: Case, given: World) -> list[Item]:
    """The fixed world as the API has it."""

    def of_pod(pod: Pod) -> Item:
        declared = [{"name": each.name, "containerPort": each.number, "protocol": each.protocol} for each in pod.ports]
        return {
            "kind": "Pod",
            "metadata": {"namespace": pod.namespace, "name": pod.name, "labels": dict(pod.labels)},
            "spec": {"nodeName": pod.node, "containers": [{"name": "main", "ports": declared}]},
            "status": {"phase": "Running", "podIP": str(pod.ip)},
        }

    spaces = [
        {"kind": "Namespace", "metadata": {"name": each.name, "labels": dict(each.labels)}}
        for each in given.namespaces.values()
    ]
    return [*spaces, *map(of_pod, given.pods.values()), *case.policies_for(ADDRESSES.values())]


@pytest.fixture(scope="module")
def firewalls(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Firewall]:
    """By case and node, from what the kernel lists of podnet's rules; all in a network namespace of their own."""
    if not shutil.which("nft"):
        pytest.skip("there is no nft")
    folder = tmp_path_factory.mktemp("rulesets")
    for case in CASES:
        agents = agents_world(items(case, world(case)))
        for node, subnet in NODES.items():
            (folder / f"{case.name}@{node}.nft").write_text(make_ruleset(agents, Here(node, subnet)).table.text())
    subprocess.run(["unshare", "--net", "sh", "-c", LISTING, "sh", str(folder)], check=True)
    return {(case.name, node): firewall(folder / f"{case.name}@{node}.json") for case in CASES for node in NODES}


def firewall(file: Path) -> Firewall:
    return Firewall(Space("node", "", {"nft": file.read_text()}), FACTS)


def ends(given: World) -> Iterator[tuple[PolicyEnd, PolicyEnd]]:
    pods: list[PolicyEnd] = [PodEnd(pod) for pod in given.pods.values()]
    others: list[PolicyEnd] = [NodeEnd(node, subnet.network_address) for node, subnet in NODES.items()]
    for source in (*pods, *others, OutsideEnd(ADDRESSES.outside)):
        for target in pods:
            if not (isinstance(source, NodeEnd) and source.node == node_of(target)):
                yield source, target


def passes(
    walls: dict[tuple[str, str], Firewall], case: str, source: PolicyEnd, target: PolicyEnd, packet: Packet
) -> bool:
    """Whether both nodes forward the packet, and its answer."""
    start, end = node_of(source), node_of(target)
    hops = [(end, "cni0" if start == end else "flannel.1", "cni0")]
    if isinstance(source, PodEnd) and start != end:
        hops.append((start, "cni0", "flannel.1"))
    verdicts = {
        all(lets(walls[case, str(node)], sent, *devices, is_reply=sent != packet) for node, *devices in hops)
        # That replies are judged alike needs no more than one protocol to be seen.
        for sent in ((packet, packet.reply) if packet.protocol == "tcp" else (packet,))
    }
    assert len(verdicts) == 1, "a connection and its answers are judged differently"
    return verdicts.pop()


def lets(wall: Firewall, packet: Packet, in_device: str, out_device: str, *, is_reply: bool) -> bool:
    original = packet.reply if is_reply else packet
    passing = Passing(wall.space, Place.FORWARD, packet, Chance(), in_device, out_device)
    passing.tracked = Tracked(original, original.reply)
    passing.state, passing.is_reply = (ESTABLISHED, True) if is_reply else (NEW, False)
    try:
        wall.traverse(passing)
    except EndedError as ended:
        end = ended.outcome.end
    else:
        return True
    assert end is End.DROPPED
    return False


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_every_cell_is_predicted_as_the_engine_says(case: Case, firewalls: dict[tuple[str, str], Firewall]) -> None:
    given = world(case)
    for source, target in ends(given):
        for kind in PROTOCOLS:
            for port in PORTS:
                protocol = cast(Protocol, kind.lower())
                packet = Packet(protocol, address(source), address(target), 40000, port)
                expected = judge(given, source, target, kind, port)
                assert passes(firewalls, case.name, source, target, packet) == expected.allowed, str(expected)
