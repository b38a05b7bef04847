"""How rulesets grow with pods and policies: ``python -m tests.scale.policy_scale``. Needs root, for nft.

Ten nodes; a namespace for every 25 pods; pods in groups of five with the same labels. A policy isolates one group in
both directions and has a rule each for pods of its namespace, for another namespace with a port's name, for a CIDR with
an exception, and a range of ports. Every row is the node with most rules; "change" is one policy more, which is what a
running agent computes and loads.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, TypeVar

from agents.podnet.policy.changes import transactions
from agents.podnet.policy.objects import World, read_namespace, read_pod
from agents.podnet.policy.reading import read_policy
from agents.podnet.policy.report import in_force
from agents.podnet.policy.ruleset import Here, make_ruleset

PODS, POLICIES = (100, 250, 500, 1000), (20, 50, 100, 200)
NODES, PODS_OF_A_NAMESPACE, PODS_OF_A_GROUP = 10, 25, 5
NAMESPACE = f"policy-scale-{os.getpid()}"
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    pods: int
    policies: int
    compute: float
    rules: int
    elements: int
    check: float
    load: float
    change: float

    def numbers(self) -> tuple[float, ...]:
        return self.compute, self.rules, self.elements, self.check, self.load, self.change


def make_pod(number: int) -> dict[str, Any]:
    """A Pod object with what a real one has of labels; spread over the nodes."""
    node = number % NODES
    group = number // PODS_OF_A_GROUP
    labels = {"app": f"app{group}", "tier": ("web", "db", "cache")[group % 3], "pod-template-hash": f"{group:08x}"}
    return {
        "metadata": {"namespace": f"n{number // PODS_OF_A_NAMESPACE}", "name": f"pod{number}", "labels": labels},
        "spec": {
            "nodeName": f"node{node}",
            "containers": [{"name": "main", "ports": [{"name": "web", "containerPort": 8000 + group % 5}]}],
        },
        "status": {"phase": "Running", "podIP": f"10.244.{node}.{number // NODES + 2}"},
    }


def make_policy(number: int, pods: int) -> dict[str, Any]:
    """A NetworkPolicy for one group of pods, see the module's text."""
    group = number * 7 % (pods // PODS_OF_A_GROUP)
    namespace = group * PODS_OF_A_GROUP // PODS_OF_A_NAMESPACE
    other = {
        "namespaceSelector": {"matchLabels": {"name": f"n{(namespace + 1) % max(1, pods // PODS_OF_A_NAMESPACE)}"}}
    }
    cidr = {"ipBlock": {"cidr": "10.0.0.0/8", "except": [f"10.244.{number % NODES}.0/24"]}}

    def rules(peers: str) -> list[dict[str, Any]]:
        return [
            {
                peers: [
                    {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "db"]}]}}
                ]
            },
            {peers: [other], "ports": [{"port": "web"}, {"protocol": "UDP", "port": 53}]},
            {peers: [cidr], "ports": [{"port": 9000 + number, "endPort": 9100 + number}]},
        ]

    return {
        "metadata": {"namespace": f"n{namespace}", "name": f"policy{number}", "resourceVersion": "1"},
        "spec": {
            "podSelector": {"matchLabels": {"app": f"app{group}"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": rules("from"),
            "egress": rules("to"),
        },
    }


def make_world(pods: int, policies: int) -> World:
    namespaces = {f"n{number}" for number in range(pods // PODS_OF_A_NAMESPACE + 1)}
    found = [read_policy(make_policy(number, pods)) for number in range(policies)]
    return World(
        {f"{pod.namespace}/{pod.name}": pod for pod in (read_pod(make_pod(number)) for number in range(pods))},
        {name: read_namespace({"metadata": {"name": name, "labels": {"name": name}}}) for name in namespaces},
        {policy.full_name: policy for policy in found},
    )


def timed(do: Callable[[], T]) -> tuple[float, T]:
    """Seconds of the fastest of three, which says more of the program than of what else the machine does."""
    best, result = float("inf"), None
    for _ in range(3):
        started = time.perf_counter()
        result = do()
        best = min(best, time.perf_counter() - started)
    assert result is not None
    return best, result


def nft(*words: str, text: str) -> bool:
    command = ["ip", "netns", "exec", NAMESPACE, "nft", *words, "-f", "-"]
    subprocess.run(command, input=text, text=True, check=True)
    return True


def measure(pods: int, policies: int) -> Row:
    world, smaller = make_world(pods, policies), make_world(pods, policies - 1)
    heres = [Here(f"node{number}", IPv4Network(f"10.244.{number}.0/24")) for number in range(NODES)]
    here = max(heres, key=lambda here: make_ruleset(world, here).table.rules)
    compute, ruleset = timed(lambda: make_ruleset(world, here))
    table, before = ruleset.table, make_ruleset(smaller, here).table
    check, _ = timed(lambda: nft("--check", text=table.text()))
    load, _ = timed(lambda: nft(text=table.text()))
    nft(text=before.text())
    started = time.perf_counter()
    for text in transactions(before, make_ruleset(world, here).table):
        nft(text=text)
    in_force(world, table.rules, 0)
    return Row(pods, policies, compute, table.rules, table.elements, check, load, time.perf_counter() - started)


def rows() -> Iterator[Row]:
    for pods in PODS:
        yield measure(pods, POLICIES[0])
    for policies in POLICIES[1:]:
        yield measure(PODS[-1], policies)
    for pods, policies in zip(PODS, POLICIES, strict=True):
        yield measure(pods, policies)


def main() -> int:
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        print("pods  policies  compute s   rules  elements  check s   load s  change s   x: ratios to the row before")
        last: Row | None = None
        for row in rows():
            before = (last or row).numbers()
            ratios = " ".join(f"{new / old:.1f}" for new, old in zip(row.numbers(), before, strict=True))
            sizes = f"{row.pods:4}  {row.policies:8}  {row.compute:9.3f}  {row.rules:6}  {row.elements:8}"
            print(f"{sizes}  {row.check:7.3f}  {row.load:7.3f}  {row.change:8.3f}   x {ratios}", flush=True)
            last = row
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)
    print(f"memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
