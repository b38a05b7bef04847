"""Traces tell the truth: pairs of all kinds are seen as predicted, in one run."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.trace import collecting
from kubeproof.trace.endpoints import Asked
from kubeproof.trace.model import End
from kubeproof.trace.world import World, make
from tests.lab.tracing import confirm, disagreement

pytestmark = pytest.mark.usefixtures("running_lab")
UNDECIDED_SHARE = 0.02
SERVICES = (("kuard", ""), ("httpd-svc", "8080"), ("kubernetes", "443"))
CLOSED_PORT = "7"
KUARD_PORT, HTTPD_PORT, DNS_PORT = "8080", "80", "53"


def _pairs(world: World) -> Iterator[Asked]:
    """From every pod, every node and outside to every pod (an open port and a closed one), Service and NodePort."""
    pods = sorted(pod for node in world.nodes.values() for pod in node.pods if pod.startswith(("default/", "kube-")))
    for source in (*pods, *world.nodes, "outside"):
        for pod in pods:
            if source not in (pod, "outside"):
                yield Asked(source, pod, _open_port(pod))
                yield Asked(source, pod, CLOSED_PORT)
        if source != "outside":
            yield from (Asked(source, *service) for service in SERVICES)
        yield from (Asked(source, f"{node}:33000") for node in world.nodes)


def _open_port(pod: str) -> str:
    name = pod.rpartition("/")[2]
    return KUARD_PORT if name.startswith("kuard") else HTTPD_PORT if name.startswith("httpd") else DNS_PORT


def test_pairs_are_seen_as_predicted(inventory: LoadedInventory) -> None:
    world, started = make(collecting.collect(inventory)), time.monotonic()
    found = list(confirm(world, _pairs(world), inventory.ssh))
    kinds = Counter(one.walk.outcome.end for _, one in found)
    told = ", ".join(f"{count} {end.value}" for end, count in kinds.items())
    print(f"{len(found)} pairs in {time.monotonic() - started:.0f} s: {told}")
    assert len(found) >= 200
    assert kinds[End.UNDECIDED] <= UNDECIDED_SHARE * len(found)
    assert kinds[End.ARRIVED], "none arrived"
    assert kinds[End.REFUSED], "none was refused"
    assert [wrong for each in found if (wrong := disagreement(*each))] == []
