"""The grid of policies says of each pair what the policy engine says of every port."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from kubeproof.pages import reach
from kubeproof.pages.tables import Table
from kubeproof.policy.model import ContainerPort, Pod
from kubeproof.rules.api import ApiObjects
from tests.unit.pages.samples import world
from tests.unit.proof import good

CLIENT = Pod("default", "client-1", {"app": "client"}, IPv4Address("10.98.1.2"), "node-b")
WEB = Pod(
    "default", "web-1", {"app": "web"}, IPv4Address("10.98.2.2"), "node-c", ports=(ContainerPort("http", "TCP", 80),)
)
ALSO_WEB = replace(WEB, name="web-2", labels={"app": "web", "pod-template-hash": "x"}, ip=IPv4Address("10.98.2.3"))


def grid(*specs: dict[str, Any], **changes: Any) -> Table:
    policies = tuple({"name": f"p{number}", "spec": spec} for number, spec in enumerate(specs))
    made = world(CLIENT, WEB, ALSO_WEB, policies=policies)
    return reach.grid(replace(good.api(), world=made), good.settings(**changes))


def cell(table: Table, source: str, target: str) -> str:
    (row,) = [row for row in table.rows if source in row[0].split("\n")]
    (column,) = [number for number, head in enumerate(table.head) if target in head.split("\n")]
    return row[column]


@pytest.mark.parametrize(
    ("ingress", "expected"),
    [
        ([], "✗ none"),
        ([{}], "✓ all"),
        ([{"ports": [{"port": 80}]}], "◐ TCP 80"),
        ([{"ports": [{"port": "http"}]}], "◐ TCP 80"),
        ([{"ports": [{"port": 8000, "endPort": 9000}, {"port": 8500}, {"port": 9001}]}], "◐ TCP 8000-9001"),
        ([{"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]}], "◐ TCP 53, UDP 53"),
        ([{"ports": [{"protocol": "SCTP"}]}], "◐ SCTP (all ports)"),
        ([{"ports": [{"port": 65535}, {"port": 1}]}], "◐ TCP 1, TCP 65535"),
        ([{"from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}], "✗ none"),
    ],
)
def test_a_cell_has_what_may_pass(ingress: list[dict[str, Any]], expected: str) -> None:
    table = grid({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": ingress, "policyTypes": ["Ingress"]})
    assert cell(table, "default/client-1", "default/web (2)") == expected
    assert cell(table, "default/web (2)", "default/client-1") == "✓ all"


def test_pods_that_policies_do_not_tell_apart_share_a_name_and_rows_that_are_alike_a_row() -> None:
    table = grid({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": []})
    assert table.head[1:] == ("default/client-1", "default/web (2)", "another node\noutside")
    assert [row[0] for row in table.rows] == ["default/client-1\ndefault/web (2)", "another node\noutside"]


def test_pods_that_a_policy_tells_apart_have_a_row_each() -> None:
    by_hash = {"podSelector": {"matchLabels": {"pod-template-hash": "x"}}, "ingress": []}
    by_address = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.98.2.3/32"}}]}]}
    for spec in (by_hash, by_address):
        assert "default/web-1" in "\n".join(row[0] for row in grid(spec).rows)


def test_pods_of_one_kind_are_judged_as_two_pods() -> None:
    table = grid({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": []})
    assert cell(table, "default/web (2)", "default/web (2)") == "✗ none"


def test_nodes_are_seen_by_their_tunnel() -> None:
    def block(cidr: str) -> dict[str, Any]:
        ingress = [{"from": [{"ipBlock": {"cidr": cidr}}]}]
        return {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": ingress}

    # The nodes' tunnels are 10.98.0.0, 10.98.1.0 and 10.98.2.0.
    assert cell(grid(block("10.98.0.0/22")), "another node", "default/web (2)") == "✓ all"
    assert (
        cell(grid(block("10.98.0.0/22"), cni="flannel", cni_backend="host-gw"), "another node", "default/web (2)")
        == "✗ none"
    )
    assert cell(grid(block("10.98.0.0/24")), "another node", "default/web (2)") == "◐ depends on the node"
    assert cell(grid(block("10.98.0.0/24")), "outside", "another node") == "–"


def test_egress_to_outside() -> None:
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 443}]}]}
    assert cell(grid(spec), "default/client-1", "outside") == "◐ TCP 443"


@pytest.mark.parametrize(
    ("objects", "note"),
    [
        ("no answer", "the API could not be read: no answer"),
        (replace(good.api(), world=None), "Policies are not understood."),
        (good.api(), "There is no NetworkPolicy: everybody reaches everybody."),
    ],
)
def test_without_policies_there_is_a_sentence(objects: ApiObjects | str, note: str) -> None:
    made = reach.grid(objects, good.settings())
    assert (made.rows, made.note) == ((), note)


def test_it_says_where_policies_have_no_effect() -> None:
    assert "this is what they say, and not what happens" in grid({"podSelector": {}}, network_policy=False).note
