"""Walks through the healthy lab with kube-proxy in its mode nftables on one node: computed, not run.

The table is the one of tests/unit/proof/proxies.py, with the lab's addresses and ports.
"""

import json

import pytest

from kubeproof.trace.collecting import Collected
from kubeproof.trace.model import Direction, Place, Walk
from tests.unit.proof import proxies
from tests.unit.trace.lab import HTTPD, KUARD, NODE1, SERVICE, changed, healthy, predicted, without_lines

IN_THE_LAB = {
    **{"10.97.0.50": SERVICE, "10.98.0.0": "10.244.0.0", "10.99.0.12": "192.168.200.12", "31000": "33000"},
    **{"10.98.1.2": "10.244.1.47", "10.98.1.3": "10.244.1.47", "10.98.2.2": "10.244.3.10"},
    **{"8080": "80", '"tcp", 80]': '"tcp", 8080]', '"right": 80}': '"right": 8080}'},
}


def nftables() -> Collected:
    text = proxies.TABLE.read_text()
    for old, new in IN_THE_LAB.items():
        assert old in text, old
        text = text.replace(old, new)
    table = json.loads(text)["nftables"]
    state = changed(healthy(), NODE1, "iptables", without_lines("KUBE-"))
    return changed(
        state, NODE1, "nft", lambda found: json.dumps({"nftables": [*json.loads(found)["nftables"], *table]})
    )


def leaving(walk: Walk) -> str:
    """What the node does to the packet as it leaves for the endpoint."""
    of_node = (hop for hop in walk.hops if (hop.node, hop.pod, hop.outer) == (NODE1, "", None))
    return next(hop.what for hop in of_node if (hop.place, hop.direction) == (Place.POSTROUTING, Direction.FORWARD))


@pytest.mark.parametrize(
    ("source", "destination", "masqueraded"),
    [(KUARD, "httpd-svc", False), (NODE1, "httpd-svc", True), ("outside", f"{NODE1}:33000", True)],
)
def test_each_endpoint_is_reached_alike(source: str, destination: str, masqueraded: bool) -> None:
    prediction = predicted(nftables(), source, destination)
    assert prediction.succeeds
    assert [round(walk.probability, 3) for walk in prediction.walks] == [0.333] * 3
    assert all(("SNAT to " in leaving(walk)) is masqueraded for walk in prediction.walks)


def test_a_pod_that_reaches_itself_is_masqueraded() -> None:
    prediction = predicted(nftables(), HTTPD, "httpd-svc")
    assert prediction.succeeds
    itself = [walk for walk in prediction.walks if any("10.244.1.47:80" in hop.what for hop in walk.hops)]
    assert itself
    assert all("SNAT to " in leaving(walk) for walk in itself)
