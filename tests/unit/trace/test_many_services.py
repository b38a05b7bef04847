"""Prediction in a cluster of many Services: rules are parsed where a packet comes by."""

import time
from collections.abc import Iterator
from typing import Any

from tests.unit.trace.lab import KUARD, NODE1, NODE2, changed, healthy, way, with_objects

SERVICES, ENDPOINTS = 1000, 5
MOST_SECONDS = 1.0
"""Of the processor, for one prediction from the text of the rules and the objects of the API."""
LAST = f"10.1.{(SERVICES - 1) // 250 + 2}.{(SERVICES - 1) % 250 + 1}"


def objects() -> Iterator[dict[str, Any]]:
    """Each Service and its endpoints, as the API has them."""
    addresses = [{"ip": "10.244.3.10"}] * ENDPOINTS
    for number in range(SERVICES):
        metadata = {"name": f"s{number}", "namespace": "default", "labels": {}}
        address = f"10.1.{number // 250 + 2}.{number % 250 + 1}"
        spec = {"clusterIP": address, "selector": {"a": "b"}, "ports": [{"name": "http", "port": 80}]}
        subsets = [{"addresses": addresses, "ports": [{"name": "http", "port": 80}]}]
        yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": {}}
        yield {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}


def rules() -> tuple[str, str]:
    """Chains and rules as kube-proxy writes them, in the order of addresses: the last one is the farthest."""
    chains, found = [], []
    for number in range(SERVICES):
        name, address = f"default/s{number}:http", f"10.1.{number // 250 + 2}.{number % 250 + 1}"
        comment = f'-m comment --comment "{name}'
        service = f"KUBE-SVC-{number:016d}"
        chains.append(f":{service} - [0:0]")
        to = f'-d {address}/32 -p tcp {comment} cluster IP" -m tcp --dport 80'
        found += [
            f"-A KUBE-SERVICES ! -s 10.244.0.0/16 {to} -j KUBE-MARK-MASQ",
            f"-A KUBE-SERVICES {to} -j {service}",
        ]
        for endpoint in range(ENDPOINTS):
            chain = f"KUBE-SEP-{number * ENDPOINTS + endpoint:016d}"
            chains.append(f":{chain} - [0:0]")
            left = ENDPOINTS - endpoint
            chance = f"-m statistic --mode random --probability {1 / left:.11f} " if left > 1 else ""
            found += [
                f'-A {service} {comment}" {chance}-j {chain}',
                f'-A {chain} -s 10.244.3.10/32 {comment}" -j KUBE-MARK-MASQ',
                f'-A {chain} -p tcp {comment}" -m tcp -j DNAT --to-destination 10.244.3.10:80',
            ]
    return "\n".join(chains), "\n".join(found)


def test_one_of_a_thousand_services_is_predicted_within_a_second() -> None:
    chains, found = rules()
    last = "-A KUBE-SERVICES -m comment"

    def grown(text: str) -> str:
        head, mark, tail = text.partition(":KUBE-SVC-")
        return (head + chains + "\n" + mark + tail).replace(last, f"{found}\n{last}")

    state = healthy()
    for node in (NODE1, NODE2):
        state = changed(state, node, "iptables", grown)
    state = with_objects(state, *objects())
    started = time.process_time()
    walk = way(state, KUARD, LAST)
    seconds = time.process_time() - started
    assert walk.succeeds
    assert round(walk.probability, 3) == round(1 / ENDPOINTS, 3)
    assert seconds < MOST_SECONDS
