"""Parsing the API's objects."""

import contextlib
import json
from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.rules.api import ApiObjects, Backend, command, missing_kinds, parse_objects
from kubeproof.state.errors import ParseError
from kubeproof.state.policies import parse_nft_tables, parse_policies

FIELDS = (
    *(
        "metadata",
        "spec",
        "status",
        "name",
        "namespace",
        "uid",
        "ports",
        "port",
        "podIP",
        "podIPs",
        "addresses",
        "type",
    ),
    *("conditions", "labels", "subsets", "podCIDR", "podCIDRs", "clusterIP", "clusterIPs", "ip", "resourceVersion"),
)


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
                "nodeInfo": {"kubeletVersion": "v1.20.2"},
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
    assert node.info == {"kubeletVersion": "v1.20.2"}


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


def test_blocks_that_nodes_hold() -> None:
    def block(node: str, cidr: str, state: str = "confirmed", deleted: str = "false") -> dict[str, Any]:
        spec = {"node": node, "cidr": cidr, "state": state, "deleted": deleted}
        return {"kind": "BlockAffinity", "metadata": {"name": cidr}, "spec": spec}

    found = parse_objects(
        json.dumps(
            {
                "items": [
                    block("a", "10.9.0.64/26"),
                    block("a", "10.9.0.0/26"),
                    block("b", "10.9.1.0/26", state="pending"),
                    block("b", "10.9.2.0/26", deleted="true"),
                    block("b", "fd00::/122"),
                    block("b", "no network"),
                ]
            }
        )
    )
    assert found.blocks == {"a": (IPv4Network("10.9.0.0/26"), IPv4Network("10.9.0.64/26"))}
    assert len(found.odd) == 1
    # The API may not know the kind yet, and then would answer nothing at all.
    assert "networkpolicies,namespaces,x.y -A" in command("x.y")
    assert command("x.y").endswith(f"|| {command()}")


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
    [("error", "kubectl get: line 1"), ("[]", "top: expected an object"), ('{"items": {}}', "top: expected a list")],
)
def test_malformed_output_is_named(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_objects(text)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"metadata": {}}, "[1].kind: is missing"),
        ({"kind": "Node"}, "Node : kubectl get: [1].metadata.name: is missing"),
        ({"kind": "Node", "metadata": {"name": "a"}, "spec": {"podCIDR": "x"}}, "podCIDR: is not an IPv4"),
        ({"kind": "Pod", "metadata": {"name": 1}}, "Pod without a name"),
        ({"kind": "Service", "metadata": {"namespace": "a", "name": "b"}, "spec": {"ports": [{}]}}, "Service a/b"),
        ({"kind": "Endpoints", "metadata": {"namespace": "a", "name": "b"}, "subsets": 4}, "Endpoints a/b"),
    ],
)
def test_an_odd_object_is_named_and_hides_no_other(odd: object, message: str) -> None:
    node = {"kind": "Node", "metadata": {"name": "node-a"}}
    objects = parse_objects(json.dumps({"items": [node, odd, {**node, "metadata": {"name": "node-b"}}]}))
    assert [item.name for item in objects.nodes] == ["node-a", "node-b"]
    assert len(objects.odd) == 1
    assert message in objects.odd[0]
    assert message in (missing_kinds(objects) or "")


def test_of_two_families_ipv4_is_taken_wherever_it_stands() -> None:
    addresses = [{"type": "InternalIP", "address": ip} for ip in ("2001:db8::11", "10.99.0.11")]
    node = {
        "kind": "Node",
        "metadata": {"name": "n"},
        "spec": {"podCIDR": "fd00:10::/64", "podCIDRs": ["fd00:10::/64", "10.98.0.0/24"]},
        "status": {"addresses": addresses},
    }
    pod = {
        "kind": "Pod",
        "metadata": {"namespace": "a", "name": "p", "uid": "u"},
        "status": {"podIP": "fd00:10::9", "podIPs": [{"ip": "fd00:10::9"}, {"ip": "10.98.0.9"}]},
    }
    both = {"clusterIP": "fd00::1", "clusterIPs": ["fd00::1", "10.97.0.1"], "ports": []}
    services = [
        {"kind": "Service", "metadata": {"namespace": "a", "name": name}, "spec": spec}
        for name, spec in (("both", both), ("six", {"clusterIP": "fd00::2"}), ("none", {"clusterIP": "None"}))
    ]
    six = {"addresses": [{"ip": "fd00:10::9"}, {"ip": "10.98.0.9"}], "ports": [{"port": 80}]}
    endpoints = {"kind": "Endpoints", "metadata": {"namespace": "a", "name": "both"}, "subsets": [six]}
    found = parse_objects(json.dumps({"items": [node, pod, *services, endpoints]}))
    assert found.odd == ()
    assert (str(found.nodes[0].pod_cidr), str(found.nodes[0].internal_ip)) == ("10.98.0.0/24", "10.99.0.11")
    assert str(found.pods[0].ip) == "10.98.0.9"
    assert [str(item.cluster_ip) for item in found.services] == ["10.97.0.1", "None", "None"]
    assert {key[1]: list(map(str, backends)) for key, backends in found.endpoints.items()} == {"both": ["10.98.0.9:80"]}


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON, st.sampled_from(["Node", "Pod", "Service", "Endpoints", "NetworkPolicy"]))
def test_any_object_is_read_or_odd_and_hides_no_other(value: object, kind: str) -> None:
    named = {"kind": kind, "metadata": {"name": "a", "namespace": "b", "uid": "u"}}
    odd = [{**named, "spec": value, "status": value, "subsets": value}, value, {"kind": kind, "metadata": value}]
    objects = parse_objects(json.dumps({"items": [*odd, {"kind": "Node", "metadata": {"name": "node-z"}}]}))
    assert objects.nodes[-1].name == "node-z"


@given(st.text(max_size=100) | JSON.map(json.dumps))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ParseError):
        parse_objects(text)
    with contextlib.suppress(ParseError):
        parse_policies(text)
    assert isinstance(parse_nft_tables(text), tuple)
