"""Parsing the API's objects."""

import json
from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest

from kubeproof.network.errors import ParseError
from kubeproof.proof.api import ApiObjects, Backend, missing_kinds, parse_objects


def items() -> list[dict[str, Any]]:
    return [
        {
            "kind": "Node",
            "metadata": {"name": "node-b", "annotations": {"a/b": "c"}},
            "spec": {"podCIDR": "10.98.1.0/24"},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": "node-b"},
                    {"type": "InternalIP", "address": "10.99.0.12"},
                ],
                "conditions": [{"type": "Ready", "status": "False", "message": "starting"}],
            },
        },
        {"kind": "NetworkPolicy", "metadata": {"namespace": "default", "name": "deny", "resourceVersion": "17"}},
        {
            "kind": "Pod",
            "metadata": {"namespace": "default", "name": "web-1", "uid": "u1", "labels": {"app": "web"}},
            "spec": {"nodeName": "node-b"},
            "status": {"phase": "Running", "podIP": "10.98.1.2", "conditions": [{"type": "Ready", "status": "True"}]},
        },
        {
            "kind": "Pod",
            "metadata": {
                "namespace": "default",
                "name": "web-2",
                "uid": "u2",
                "deletionTimestamp": "2024-01-01T00:00:00Z",
            },
            "spec": {"hostNetwork": True},
            "status": {"phase": "Running"},
        },
        {
            "kind": "Service",
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {
                "clusterIP": "10.97.0.50",
                "externalTrafficPolicy": "Local",
                "sessionAffinity": "ClientIP",
                "ports": [
                    {"port": 80, "protocol": "TCP", "nodePort": 31000},
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                ],
            },
        },
        {
            "kind": "Service",
            "metadata": {"namespace": "default", "name": "headless"},
            "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
        },
        {
            "kind": "Endpoints",
            "metadata": {"namespace": "default", "name": "web"},
            "subsets": [
                {
                    "addresses": [{"ip": "10.98.1.2"}],
                    "notReadyAddresses": [{"ip": "10.98.1.9"}],
                    "ports": [{"port": 8080}, {"name": "dns", "port": 5353}],
                },
                {"addresses": [{"ip": "10.98.2.2"}], "ports": [{"port": 8081}]},
            ],
        },
        {"kind": "Endpoints", "metadata": {"namespace": "default", "name": "idle"}},
    ]


def parse(objects: list[dict[str, Any]]) -> ApiObjects:
    return parse_objects(json.dumps({"kind": "List", "items": objects}))


def test_nodes() -> None:
    (node,) = parse(items()).nodes
    assert (node.pod_cidr, node.internal_ip) == (IPv4Network("10.98.1.0/24"), IPv4Address("10.99.0.12"))
    assert (node.ready, node.ready_message, node.annotations) == ("False", "starting", {"a/b": "c"})


def test_pods() -> None:
    objects = parse(items())
    running, leaving = objects.pods
    assert (running.full_name, running.ip, running.is_running, running.ready) == (
        "default/web-1",
        IPv4Address("10.98.1.2"),
        True,
        True,
    )
    assert (leaving.is_running, leaving.host_network, leaving.ip, leaving.ready) == (False, True, None, False)
    assert objects.pods_with_own_address("node-b") == (running,)
    assert objects.labelled("default", "app", "web") == (running,)
    assert objects.labelled("kube-system", "app", "web") == ()


def test_policies_by_version() -> None:
    assert parse(items()).policies == {"default/deny": "17"}


def test_services_and_their_ready_endpoints() -> None:
    objects = parse(items())
    web = objects.service("default/web")
    assert web is not None
    assert (web.cluster_ip, web.local_traffic_only, web.session_affinity) == (IPv4Address("10.97.0.50"), True, True)
    http, dns = web.ports
    assert (http.node_port, http.protocol, dns.node_port, dns.protocol) == (31000, "tcp", None, "udp")
    assert (web.port_name(http), web.port_name(dns)) == ("default/web", "default/web:dns")
    expected = {Backend(IPv4Address("10.98.1.2"), 8080), Backend(IPv4Address("10.98.2.2"), 8081)}
    assert objects.backends(web, http) == expected
    assert objects.backends(web, dns) == {Backend(IPv4Address("10.98.1.2"), 5353)}
    headless = objects.service("default/headless")
    assert headless is not None
    assert headless.cluster_ip is None


def test_what_a_running_cluster_cannot_lack() -> None:
    assert missing_kinds(ApiObjects()) == "the API has no node"
    assert missing_kinds(parse(items())) == "the API has no Service default/kubernetes"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("error", "kubectl get: line 1"),
        ("[]", "top: expected an object"),
        ('{"items": [{}]}', r"top.items\[0\].kind: is missing"),
        ('{"items": [{"kind": "Node"}]}', r"top.items\[0\].metadata.name: is missing"),
        (
            '{"items": [{"kind": "Node", "metadata": {"name": "a"}, "spec": {"podCIDR": "x"}}]}',
            "podCIDR: is not an IPv4",
        ),
    ],
)
def test_malformed_output_is_named(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_objects(text)


def test_only_pods_that_a_policy_selects_are_isolated() -> None:
    """A policy that cannot be read leaves it open: then every pod of its namespace may be."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "default", "name": "web", "resourceVersion": "1"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }

    def isolated(**spec: Any) -> dict[str, tuple[str, ...]]:
        pods = [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"namespace": "default", "name": name, "uid": name, "labels": {"app": name}},
                "spec": {"nodeName": "node-b"},
                "status": {"phase": "Running", "podIP": f"10.98.1.{number}", "conditions": []},
            }
            for number, name in enumerate(("web", "other"), start=2)
        ]
        items = [*pods, {**policy, "spec": {**cast(dict[str, Any], policy["spec"]), **spec}}]
        found = parse_objects(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        return {pod.name: found.isolating(pod) for pod in found.pods}

    assert isolated() == {"web": ("default/web",), "other": ()}
    assert isolated(podSelector={}) == {"web": ("default/web",), "other": ("default/web",)}
    assert isolated(podSelector="odd") == {"web": ("default/web",), "other": ("default/web",)}
