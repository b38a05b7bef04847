"""What is planned, expected and read back, on the lab's layout."""

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
import yaml

from kubeproof.matrix import condition, layout, plan
from kubeproof.matrix.deployment import ProbePods
from kubeproof.matrix.expected import MissingPodError, expected
from kubeproof.matrix.layout import IncompleteError, Layout, channel_pod
from kubeproof.matrix.plan import Attempt
from kubeproof.matrix.policies import dropped, names_of_dropped
from kubeproof.matrix.table import Combination, Key, Mark, TruthTable
from kubeproof.node import templates
from kubeproof.policy.model import World
from tests.unit.matrix.fake_cluster import GATEWAY, FakeApi, FakeClients, Json, api, loaded, policy


@pytest.fixture
def cluster() -> FakeApi:
    made = api()
    ProbePods(made, loaded().cluster).create()
    return made


def lay(cluster: FakeApi) -> Layout:
    read = layout.read(loaded().cluster, *(cluster.of(name) for name in ("pods", "services", "nodes")))
    return replace(read, outside=GATEWAY)


def world(cluster: FakeApi, *policies: Json) -> World:
    for item in policies:
        namespace = item["metadata"]["namespace"]
        cluster.request("POST", f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies", item)
    judged: World = FakeClients(loaded(), cluster, ())._world()
    return judged


def judged(cluster: FakeApi, *policies: Json) -> TruthTable:
    found = lay(cluster)
    return expected(world(cluster, *policies), found, plan.plan(found))


def blocked(table: TruthTable, *, via: str = "pod address", port: int = 80, protocol: str = "TCP") -> set[str]:
    return {
        f"{key.source} -> {key.target}"
        for key, cell in table.cells.items()
        if (key.combination.via, key.combination.port, key.combination.protocol) == (via, port, protocol)
        and cell.mark is Mark.BLOCKED
    }


def test_every_client_tries_every_pod_in_every_way(cluster: FakeApi) -> None:
    attempts = plan.plan(lay(cluster))
    ways = Counter(attempt.key.combination.via for attempt in attempts)
    assert ways == {
        "pod address": 12 * 9 * 6,
        "Service address": 12 * 9 * 6,
        "Service name": 12 * 9 * 6,
        "NodePort": 3 * 9 * 2,
    }
    assert len({attempt.key for attempt in attempts}) == len(attempts)
    assert set(plan.by_client(attempts)) == set(lay(cluster).clients)
    # What a client tries has to be told apart by its address alone, or one attempt would stand for two.
    assert len({(a.client, a.address, a.port, a.key.combination.protocol) for a in attempts}) == len(attempts)


def test_without_policies_everything_is_allowed(cluster: FakeApi) -> None:
    assert Counter(cell.mark for cell in judged(cluster).cells.values()) == {Mark.ALLOWED: 12 * 9 * 18 + 54}


def test_nodes_reach_their_own_pods_and_others_from_their_vtep(cluster: FakeApi) -> None:
    found = blocked(judged(cluster, policy("deny")))
    # x/a and x/c are on k8s-node1, x/b on k8s-node2.
    assert {line for line in found if line.startswith("k8s")} == {
        "k8s-master -> x/a",
        "k8s-master -> x/b",
        "k8s-master -> x/c",
        "k8s-node1 -> x/b",
        "k8s-node2 -> x/a",
        "k8s-node2 -> x/c",
    }


def test_a_node_port_shows_the_client_on_the_pods_node_and_the_other_nodes_vtep_elsewhere(cluster: FakeApi) -> None:
    rule = policy("outside", ingress=[{"from": [{"ipBlock": {"cidr": f"{GATEWAY}/32"}}]}])
    found = blocked(judged(cluster, rule), via="NodePort")
    assert "outside/k8s-node1 -> x/a" not in found
    assert "outside/k8s-node2 -> x/a" in found
    vtep = policy("outside", ingress=[{"from": [{"ipBlock": {"cidr": "10.244.2.0/32"}}]}])
    found = blocked(judged(cluster, vtep), via="NodePort")
    assert "outside/k8s-node1 -> x/a" in found
    assert "outside/k8s-node2 -> x/a" not in found


def test_a_name_needs_dns_as_well(cluster: FakeApi) -> None:
    only_b = policy("egress", policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}]}])
    table = judged(cluster, only_b)
    assert "x/a -> x/b" not in blocked(table)
    assert "x/a -> x/b" in blocked(table, via="Service name")
    reason = table.cells[Key(Combination("Service name", "TCP", 80), "x/a", "x/b")].reason
    assert reason.startswith("DNS: denied: egress of kubeproof-x/a")
    assert "y/a -> x/b" not in blocked(table, via="Service name")


def test_dns_pods_that_are_judged_differently_leave_names_open(cluster: FakeApi) -> None:
    second = {
        "metadata": {"name": "kube-dns-2", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": "k8s-node2", "containers": [{"name": "dns"}]},
    }
    cluster._create("pods", "kube-system", second)
    address = cluster.objects["pods", "kube-system", "kube-dns-1"]["status"]["podIP"]
    one = policy("egress", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": f"{address}/32"}}]}])
    table = judged(cluster, one)
    assert table.cells[Key(Combination("Service name", "TCP", 80), "x/a", "x/b")].mark is Mark.NOT_PROBED
    assert table.cells[Key(Combination("pod address", "TCP", 80), "x/a", "x/b")].mark is Mark.BLOCKED


def test_without_dns_pods_nothing_is_said_of_names(cluster: FakeApi) -> None:
    del cluster.objects["pods", "kube-system", "kube-dns-1"]
    table = judged(cluster)
    assert table.cells[Key(Combination("Service name", "UDP", 81), "z/a", "x/b")].mark is Mark.NOT_PROBED


def test_a_probe_pod_that_went_away_is_named(cluster: FakeApi) -> None:
    found = lay(cluster)
    del cluster.objects["pods", "kubeproof-y", "b"]
    with pytest.raises(MissingPodError, match="kubeproof-y/b is gone"):
        expected(world(cluster), found, plan.plan(found))


ATTEMPT = Attempt(Key(Combination("pod address", "TCP", 80), "x/a", "x/b"), "x/a", "10.244.2.3", 80, "kubeproof-x/b")


@pytest.mark.parametrize(
    ("result", "mark", "reason"),
    [
        ({"outcome": "open", "pod": "kubeproof-x/b", "client": "10.1.1.1"}, ".", "answered, seen as 10.1.1.1"),
        ({"outcome": "open", "pod": "", "detail": "an ABORT"}, ".", "answered (an ABORT)"),
        ({"outcome": "open", "pod": "kubeproof-x/c"}, "!", "kubeproof-x/c answered instead of kubeproof-x/b"),
        ({"outcome": "blocked", "detail": "no answer"}, "X", "no answer"),
        ({"outcome": "failed", "detail": "connection refused"}, "!", "connection refused"),
        ({"outcome": "strange"}, "!", ""),
    ],
)
def test_results_are_read(result: Json, mark: str, reason: str) -> None:
    (cell,) = plan.cells([ATTEMPT], {"results": [{"id": 0, **result}]}).values()
    assert (cell.mark.value, cell.reason) == (mark, reason)


def test_answers_without_results() -> None:
    (cell,) = plan.cells([ATTEMPT], {"problem": "channel ended"}).values()
    assert (cell.mark, cell.reason) == (Mark.FAILED, "channel ended")
    assert plan.cells([ATTEMPT], {}) == {}
    assert plan.cells([ATTEMPT], {"results": [{"id": 7, "outcome": "open"}]}) == {}


def test_the_layout_waits_for_pods_and_services(cluster: FakeApi) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}
    status = cluster.objects["pods", "kubeproof-x", "a"]["status"]
    status |= {"phase": "Pending", "containerStatuses": [{"ready": False, "state": waiting}]}
    with pytest.raises(IncompleteError, match="kubeproof-x/a on k8s-node1 is ImagePullBackOff: no such host"):
        lay(cluster)
    status |= {"phase": "Running", "containerStatuses": [{"ready": True}]}
    del cluster.objects["services", "kubeproof-z", "s-c"]
    with pytest.raises(IncompleteError, match="Services of kubeproof-z/c"):
        lay(cluster)


# The condition --------------------------------------------------------------------------------------------------------

WANTED = condition.Wanted({"kubeproof-x/a": "7"}, {"kubeproof-x/b": ("10.0.0.1", "aaa")}, {"kubeproof-x": "bbb"})
STATE = {
    "policies": {"kubeproof-x/a": "7", "default/other": "3"},
    "pods": {"kubeproof-x/b": {"ip": "10.0.0.1", "labels": "aaa"}},
    "namespaces": {"kubeproof-x": "bbb", "default": "ccc"},
}


def test_what_is_in_force_is_exactly_what_is_stored() -> None:
    assert list(condition.missing(WANTED, STATE)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policies": {}}, "policy kubeproof-x/a is not in force"),
        ({"policies": {"kubeproof-x/a": "6"}}, "policy kubeproof-x/a is in force as version 6, not 7"),
        ({"policies": {"kubeproof-x/a": "7", "kubeproof-z/b": "1"}}, "policy kubeproof-z/b is still in force"),
        ({"pods": {"kubeproof-x/b": {"ip": "10.0.0.1", "labels": "x"}}}, "pod kubeproof-x/b is not known"),
        ({"namespaces": {}}, "namespace kubeproof-x is not known"),
    ],
)
def test_what_is_missing_is_named(change: Json, words: str) -> None:
    (line,) = condition.missing(WANTED, {**STATE, **change})
    assert words in line


def test_labels_are_hashed_as_the_agent_does() -> None:
    from agents.podnet.policy.objects import labels_hash

    for labels in ({}, {"b": "1", "a": "2"}, {"ns": "ü"}):
        assert condition.labels_hash(labels) == labels_hash(tuple(sorted(labels.items())))


def test_policies_that_are_enforced_strictly_are_told() -> None:
    state = {"inexpressible": {"kubeproof-x/a": "endPort", "default/b": "x"}}
    assert condition.inexpressible(WANTED, state) == {"kubeproof-x/a": "endPort"}


# What the API server drops --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "stored", "paths"),
    [
        ({"a": 1, "b": [{"c": 2}]}, {"a": 1, "b": [{"c": 2, "more": 1}], "d": 3}, []),
        ({"ingress": [{"ports": [{"port": 80, "endPort": 81}]}]}, {"ingress": [{"ports": [{"port": 80}]}]},
         ["spec.ingress[0].ports[0].endPort"]),
        ({"ingress": [], "egress": None, "podSelector": {}}, {}, []),
        ({"ingress": [{}, {"from": [1]}]}, {"ingress": [{}]}, ["spec.ingress[1]"]),
        ({"ingress": [{"from": [{"x": 1}]}]}, {"ingress": [{}]}, ["spec.ingress[0].from"]),
    ],
)  # fmt: skip
def test_what_was_sent_and_is_not_stored(sent: Json, stored: Json, paths: list[str]) -> None:
    assert list(dropped(sent, stored, "spec")) == paths


def test_dropped_fields_are_named_once() -> None:
    assert names_of_dropped(["spec.a[0].endPort", "spec.a[1].endPort", "spec.b"]) == "endPort, b"


# The template ---------------------------------------------------------------------------------------------------------


def test_pods_of_each_namespace_are_on_each_worker() -> None:
    pods = ProbePods(api(), loaded().cluster).of_kind("Pod")
    placed = {(pod["metadata"]["namespace"], pod["spec"]["nodeName"]) for pod in pods}
    for namespace in layout.TARGET_NAMESPACES:
        assert {(namespace, "k8s-node1"), (namespace, "k8s-node2")} <= placed
    assert {node for where, node in placed if where == "kubeproof-probe"} == {"k8s-master", "k8s-node1", "k8s-node2"}


def test_only_servers_listen_and_nodes_only_send() -> None:
    for pod in ProbePods(api(), loaded().cluster).of_kind("Pod"):
        (container,) = pod["spec"]["containers"]
        on_node = pod["metadata"]["namespace"] == "kubeproof-probe"
        assert pod["spec"].get("hostNetwork", False) is on_node
        assert container["args"] == (["idle"] if on_node else ["server"])
        assert ("ports" in container) is not on_node
        names = [(port["protocol"], port["name"]) for port in container.get("ports", ())]
        assert len(set(names)) == len(names)
        assert all(len(name) <= 15 for _, name in names)
        client = channel_pod(pod["metadata"]["namespace"][-1] + "/" + pod["metadata"]["name"])
        assert on_node or client == (pod["metadata"]["namespace"], pod["metadata"]["name"])


def test_a_cluster_without_workers_has_its_pods_on_the_control_plane() -> None:
    cluster = loaded().cluster
    alone = replace(cluster, nodes=cluster.nodes[:1])
    text = templates.objects("policy-probe.yaml.j2", alone)
    nodes = {item["spec"].get("nodeName") for item in yaml.safe_load_all(text) if item and item["kind"] == "Pod"}
    assert nodes == {"k8s-master"}


def test_the_outside_client_is_left_out_where_it_is_a_node(cluster: FakeApi) -> None:
    inside = replace(lay(cluster), outside=None)
    assert "outside" not in inside.clients
    assert not [a for a in plan.plan(inside) if a.key.combination.via == "NodePort"]
    assert lay(cluster).seen_from("k8s-node1") == IPv4Address("10.244.1.0")
