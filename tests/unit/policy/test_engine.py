"""The engine against the sentences of the API's documentation, by example."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from kubeproof.policy.engine import NodeEnd, OutsideEnd, PodEnd, end_of, judge
from kubeproof.policy.model import Judged, Pod, World
from tests.unit.policy.examples import OTHERS, PODS, allowed, ask, end, reached, reaching, world

EVERY: tuple[Judged, ...] = ("TCP", "UDP", "SCTP", "ICMP")
A = OTHERS - {"x/a"}


def test_without_policies_everything_is_allowed() -> None:
    for protocol in EVERY:
        assert reaching(world(), "x/a", protocol) == A
    assert allowed(world(), "1.2.3.4", "x/a")
    assert allowed(world(), "x/a", "1.2.3.4")


def test_default_deny_of_ingress_isolates_all_pods_of_its_namespace_and_no_others() -> None:
    known = world("x/deny: {podSelector: {}, policyTypes: [Ingress]}")
    for protocol in EVERY:
        assert reaching(known, "x/a", protocol) == set()
        assert reaching(known, "y/a", protocol) == OTHERS - {"y/a"}


def test_default_deny_of_egress() -> None:
    known = world("x/deny: {podSelector: {}, policyTypes: [Egress]}")
    assert reached(known, "x/a") == set()
    assert reaching(known, "x/a") == OTHERS - {"x/a", "x/b", "x/c"}


def test_default_deny_of_both() -> None:
    known = world("x/deny: {podSelector: {}, policyTypes: [Ingress, Egress]}")
    assert reached(known, "x/a") | reaching(known, "x/a") == set()


def test_allow_all_of_ingress_wins_over_deny() -> None:
    known = world("x/deny: {podSelector: {}}\nx/open: {podSelector: {}, ingress: [{}]}")
    for protocol in EVERY:
        assert reaching(known, "x/a", protocol) == A
    assert allowed(known, "1.2.3.4", "x/a")


def test_allow_all_of_egress() -> None:
    known = world("x/open: {podSelector: {}, policyTypes: [Egress], egress: [{}]}")
    assert reached(known, "x/a", "ICMP") == A
    assert allowed(known, "x/a", "1.2.3.4", "UDP")


@pytest.mark.parametrize("rules", ["ingress: []", "policyTypes: []", "policyTypes: [Ingress], egress: [{}]"])
def test_missing_and_empty_rule_lists_allow_nothing(rules: str) -> None:
    assert reaching(world(f"x/p: {{podSelector: {{}}, {rules}}}"), "x/a") == set()


def test_policy_types_missing_isolate_ingress_always_and_egress_where_it_has_rules() -> None:
    only_ingress = world("x/p: {podSelector: {}, egress: []}")
    assert reached(only_ingress, "x/a") == {name for name in OTHERS if not name.startswith("x/")}
    both = world("x/p: {podSelector: {}, egress: [{to: [{podSelector: {matchLabels: {pod: b}}}]}]}")
    assert reaching(both, "x/a") == set()
    assert reached(both, "x/a") == set()
    assert "x/p" in ask(both, "x/a", "x/b").egress.policies


def test_rules_of_a_direction_that_is_not_among_the_types_do_not_count() -> None:
    known = world("x/p: {podSelector: {}, policyTypes: [Egress], ingress: [], egress: [{}]}")
    assert reaching(known, "x/a") == A


@pytest.mark.parametrize("peers", ["", "from: [], ports: []", "from: []"])
def test_missing_and_empty_peers_and_ports_are_all(peers: str) -> None:
    known = world(f"x/p: {{podSelector: {{}}, ingress: [{{{peers}}}]}}")
    for protocol in EVERY:
        assert reaching(known, "x/a", protocol, 4711) == A
    assert allowed(known, "1.2.3.4", "x/a", "ICMP")


def test_pod_selector_alone_means_pods_of_the_policys_namespace() -> None:
    known = world("x/p: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]}")
    assert reaching(known, "x/a") == {"x/b"}
    assert reaching(world("x/p: {ingress: [{from: [{podSelector: {}}]}]}"), "x/a") == {"x/b", "x/c"}


def test_namespace_selector_alone_means_all_pods_of_those_namespaces() -> None:
    known = world("x/p: {ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}]}]}")
    assert reaching(known, "x/a") == {"y/a", "y/b", "y/c"}
    assert reaching(world("x/p: {ingress: [{from: [{namespaceSelector: {}}]}]}"), "x/a") == A


TWO_ITEMS = (
    "x/p: {ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}}, {podSelector: {matchLabels: {pod: b}}}]}]}"
)
ONE_ITEM = (
    "x/p: {ingress: [{from: [{namespaceSelector: {matchLabels: {ns: y}}, podSelector: {matchLabels: {pod: b}}}]}]}"
)


def test_two_items_are_either_and_one_item_with_two_selectors_is_both() -> None:
    assert reaching(world(TWO_ITEMS), "x/a") == {"y/a", "y/b", "y/c", "x/b"}
    assert reaching(world(ONE_ITEM), "x/a") == {"y/b"}


def test_selectors_select_pods_and_never_nodes_or_outside() -> None:
    known = world("x/p: {ingress: [{from: [{namespaceSelector: {}}, {podSelector: {}}]}]}")
    assert not allowed(known, "1.2.3.4", "x/a")
    assert not allowed(known, "n2", "x/a")


def test_a_namespace_has_the_label_of_its_name_only_where_its_object_has_it() -> None:
    known = world("x/p: {ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: y}}}]}]}")
    assert reaching(known, "x/a") == set()


def test_a_namespace_without_object_has_no_labels() -> None:
    stranger = Pod("w", "a", ip=IPv4Address("10.244.2.99"), node="n2")
    empty = world("x/p: {ingress: [{from: [{namespaceSelector: {}}]}]}", stranger)
    assert judge(empty, PodEnd(stranger), end("x/a"), "TCP", 80).allowed
    named = world("x/p: {ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: ns, operator: Exists}]}}]}]}")
    assert not judge(named, PodEnd(stranger), end("x/a"), "TCP", 80).allowed


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("{key: pod, operator: In, values: [a, b]}", {"x/b"}),
        ("{key: pod, operator: NotIn, values: [b]}", {"x/c"}),
        ("{key: role, operator: NotIn, values: [front]}", {"x/b", "x/c"}),
        ("{key: missing, operator: NotIn, values: [v]}", {"x/b", "x/c"}),
        ("{key: missing, operator: In, values: ['']}", set()),
        ("{key: pod, operator: Exists}", {"x/b", "x/c"}),
        ("{key: role, operator: Exists}", set()),
        ("{key: role, operator: DoesNotExist}", {"x/b", "x/c"}),
        ("{key: pod, operator: Exists}, {key: pod, operator: NotIn, values: [b]}", {"x/c"}),
    ],
)
def test_match_expressions(expression: str, selected: set[str]) -> None:
    known = world(f"x/p: {{ingress: [{{from: [{{podSelector: {{matchExpressions: [{expression}]}}}}]}}]}}")
    assert reaching(known, "x/a") == selected


def test_labels_and_expressions_must_all_hold() -> None:
    selector = "{matchLabels: {role: front}, matchExpressions: [{key: pod, operator: In, values: [a, b]}]}"
    known = world(f"x/p: {{podSelector: {selector}}}")
    assert reaching(known, "x/a") == set()
    assert reaching(known, "x/b") == OTHERS - {"x/b"}


def test_ip_block_matches_the_address_seen_of_pods_nodes_and_outside() -> None:
    known = world("x/p: {ingress: [{from: [{ipBlock: {cidr: 10.244.2.0/24}}]}]}")
    assert reaching(known, "x/a") == {"x/b", "y/b", "z/b"}
    assert allowed(known, "n2", "x/a")
    assert not allowed(known, "n3", "x/a")
    assert not allowed(known, "1.2.3.4", "x/a")
    assert allowed(world("x/p: {ingress: [{from: [{ipBlock: {cidr: 1.2.3.4/32}}]}]}"), "1.2.3.4", "x/a")


def test_except_is_taken_out_of_its_own_block_only() -> None:
    block = "{ipBlock: {cidr: 10.244.0.0/16, except: [10.244.2.0/24, 10.244.3.0/24]}}"
    assert reaching(world(f"x/p: {{ingress: [{{from: [{block}]}}]}}"), "x/a") == {"y/a", "z/a"}
    both = f"[{block}, {{ipBlock: {{cidr: 10.244.2.0/24}}}}]"
    assert reaching(world(f"x/p: {{ingress: [{{from: {both}}}]}}"), "x/a") == {"y/a", "z/a", "x/b", "y/b", "z/b"}


def test_an_ipv6_block_matches_nothing() -> None:
    known = world("x/p: {ingress: [{from: [{ipBlock: {cidr: '::/0', except: ['2001:db8::/32']}}]}]}")
    assert reaching(known, "x/a") == set()


def test_the_node_networks_block_does_not_let_in_what_comes_from_flannels_address() -> None:
    known = world("x/p: {ingress: [{from: [{ipBlock: {cidr: 192.168.200.0/24}}]}]}")
    assert not allowed(known, "n2", "x/a")
    assert judge(known, NodeEnd("n2", IPv4Address("192.168.200.12")), end("x/a"), "TCP", 80).allowed


@pytest.mark.parametrize(
    ("ports", "open_ports"),
    [
        ("{port: 80}", {("TCP", 80)}),
        ("{}", {("TCP", 80), ("TCP", 81), ("TCP", 53)}),
        ("{protocol: UDP}", {("UDP", 80), ("UDP", 81), ("UDP", 53)}),
        ("{protocol: SCTP, port: 81}", {("SCTP", 81)}),
        ("{port: 80}, {protocol: UDP, port: 81}", {("TCP", 80), ("UDP", 81)}),
        ("{port: web}", {("TCP", 80)}),
        ("{port: web, protocol: UDP}", set()),
        ("{port: dns}", set()),
        ("{port: dns, protocol: UDP}", {("UDP", 53)}),
        ("{port: nothing}", set()),
        ("{port: 80, endPort: 81}", {("TCP", 80), ("TCP", 81)}),
        ("{port: 53, endPort: 80}", {("TCP", 53), ("TCP", 80)}),
        ("{port: 81, endPort: 81, protocol: UDP}", {("UDP", 81)}),
    ],
)
def test_ports(ports: str, open_ports: set[tuple[str, int]]) -> None:
    known = world(f"x/p: {{ingress: [{{ports: [{ports}]}}]}}")
    tried = [(protocol, port) for protocol in EVERY for port in (53, 80, 81)]
    assert {asked for asked in tried if allowed(known, "y/b", "x/a", *asked)} == open_ports


def test_a_name_is_resolved_at_each_destination() -> None:
    known = world("x/p: {ingress: [{ports: [{port: web}]}]}")
    assert (allowed(known, "y/a", "x/b", port=80), allowed(known, "y/a", "x/b", port=81)) == (True, False)
    assert (allowed(known, "y/a", "x/c", port=80), allowed(known, "y/a", "x/c", port=81)) == (False, True)


def test_a_name_in_egress_is_the_destinations_too_and_none_of_what_is_no_pod() -> None:
    known = world("x/p: {policyTypes: [Egress], egress: [{ports: [{port: web}]}]}")
    assert reached(known, "x/a", port=80) == {name for name in A if not name.endswith("c")}
    assert reached(known, "x/a", port=81) == {"x/c", "y/c", "z/c"}
    assert not allowed(known, "x/a", "1.2.3.4")
    assert not allowed(known, "x/a", "n2")


def test_peers_and_ports_of_one_rule_are_both_needed_and_rules_add_up() -> None:
    one = "{from: [{podSelector: {matchLabels: {pod: b}}}], ports: [{port: 80}]}"
    other = "{from: [{podSelector: {matchLabels: {pod: c}}}], ports: [{port: 81}]}"
    known = world(f"x/p: {{ingress: [{one}, {other}]}}")
    assert (reaching(known, "x/a", port=80), reaching(known, "x/a", port=81)) == ({"x/b"}, {"x/c"})


def test_policies_add_up() -> None:
    text = "x/p: {ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]}\n"
    more = "x/q: {ingress: [{from: [{namespaceSelector: {matchLabels: {ns: z}}}], ports: [{port: 81}]}]}"
    assert reaching(world(text + more), "x/a", port=80) == {"x/b"}
    assert reaching(world(text + more), "x/a", port=81) == {"x/b", "z/a", "z/b", "z/c"}


def test_egress_of_the_source_and_ingress_of_the_destination_must_both_allow() -> None:
    opened = "x/in: {ingress: [{from: [{namespaceSelector: {}}]}]}\n"
    closed = "y/out: {policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {ns: z}}}]}]}"
    known = world(opened + closed)
    assert reaching(known, "x/a") == A - {"y/a", "y/b", "y/c"}
    decision = ask(known, "y/a", "x/a")
    assert (decision.allowed, decision.egress.allowed, decision.ingress.allowed) == (False, False, True)


def test_egress_to_outside_and_to_nodes_is_by_block_or_by_a_rule_without_peers() -> None:
    block = world("x/p: {policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]}")
    assert allowed(block, "x/a", "1.2.3.4")
    assert not allowed(block, "x/a", "n2")
    assert reached(block, "x/a") == set()
    selectors = world("x/p: {policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}")
    assert not allowed(selectors, "x/a", "1.2.3.4")
    anywhere = world("x/p: {policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}")
    assert allowed(anywhere, "x/a", "1.2.3.4")


DENY = "".join(f"{name}/deny: {{policyTypes: [Ingress, Egress]}}\n" for name in "xyz")


def test_what_no_policy_can_forbid() -> None:
    known = world(DENY)
    for protocol in EVERY:
        assert allowed(known, "x/a", "x/a", protocol)
        assert allowed(known, "n1", "x/a", protocol)
        assert allowed(known, "x/a", "n1", protocol)
        assert not allowed(known, "n2", "x/a", protocol)
        assert not allowed(known, "x/a", "n2", protocol)
    at_its_address = NodeEnd("n1", IPv4Address("192.168.200.11"))
    assert judge(known, end("x/a"), at_its_address, "TCP", 10250).allowed


def test_between_nodes_and_outside_no_policy_has_a_say() -> None:
    for source, destination in (("n1", "n2"), ("1.2.3.4", "n1"), ("n1", "1.2.3.4")):
        assert allowed(world(DENY), source, destination)


def host(node: str = "n2") -> Pod:
    return Pod("x", "host", {"pod": "b"}, IPv4Address("192.168.200.12"), node, host_network=True)


def test_a_pod_with_host_network_is_its_node() -> None:
    known = world("x/p: {ingress: [{from: [{podSelector: {}}, {namespaceSelector: {}}]}]}", host())
    assert not judge(known, PodEnd(host()), end("x/a"), "TCP", 80).allowed
    assert judge(known, PodEnd(host()), end("x/b"), "TCP", 80).allowed
    assert judge(known, end("y/a"), PodEnd(host()), "TCP", 80).allowed
    block = world("x/p: {ingress: [{from: [{ipBlock: {cidr: 10.244.2.0/32}}]}]}", host())
    assert judge(block, end_of(host(), IPv4Address("10.244.2.0")), end("x/a"), "TCP", 80).allowed
    assert not judge(block, end_of(host()), end("x/a"), "TCP", 80).allowed


def test_a_pod_with_host_network_is_selected_by_no_policy() -> None:
    known = world("x/p: {podSelector: {}}", host())
    assert known.isolating(host(), "Ingress") == ()
    assert [policy.full_name for policy in known.isolating(PODS[0], "Ingress")] == ["x/p"]
    assert known.isolating(PODS[0], "Egress") == ()


def test_a_named_port_of_a_pod_with_host_network_is_none() -> None:
    known = world("x/p: {policyTypes: [Egress], egress: [{ports: [{port: web}]}]}")
    listening = replace(host(), ports=PODS[0].ports)
    assert not judge(known, end("x/a"), PodEnd(listening), "TCP", 80).allowed


@pytest.mark.parametrize("gone", [replace(PODS[0], active=False), replace(PODS[0], ip=None)])
def test_a_pod_without_address_or_life_cannot_be_asked_about(gone: Pod) -> None:
    with pytest.raises(ValueError, match=r"x/a: has (no address|ended)"):
        judge(world(), PodEnd(gone), end("x/b"), "TCP", 80)


def test_a_pod_that_differs_from_the_worlds_is_judged_by_its_own_labels() -> None:
    known = world("x/p: {podSelector: {matchLabels: {pod: a}}}")
    assert reaching(known, "x/a") == set()
    relabelled = replace(PODS[0], labels={})
    assert judge(known, end("y/a"), PodEnd(relabelled), "TCP", 80).allowed


def test_the_walk_through() -> None:
    step = "x/access-httpd: {podSelector: {matchLabels: {pod: a}}, ingress: [{from: [%s], ports: [{port: 80}]}]}"
    labelled = "{podSelector: {matchLabels: {pod: b}}}"
    first = world(step % labelled)
    assert reaching(first, "x/a") == {"x/b"}
    assert not allowed(first, "x/b", "x/a", "ICMP")
    assert [allowed(first, node, "x/a") for node in ("n1", "n2", "n3")] == [True, False, False]
    again = world(step % f"{labelled}, {{ipBlock: {{cidr: 10.244.2.0/32}}}}, {{ipBlock: {{cidr: 10.244.3.0/32}}}}")
    assert [allowed(again, node, "x/a") for node in ("n1", "n2", "n3")] == [True, True, True]


def test_the_rule_that_allowed_is_named() -> None:
    peers = "[{podSelector: {}}, {namespaceSelector: {}}]"
    text = f"x/p: {{ingress: [{{ports: [{{port: 1}}]}}, {{from: {peers}, ports: [{{port: web}}]}}]}}\nx/other: {{}}"
    decision = ask(world(text), "y/b", "x/a")
    assert decision.egress.reason == "egress of y/b: no policy isolates it"
    rule = decision.ingress.rule
    assert rule is not None
    assert (rule.policy, rule.direction, rule.index) == ("x/p", "Ingress", 1)
    assert rule.text == "from[1] namespaceSelector {}, ports[0] TCP web"
    assert decision.ingress.policies == ("x/other", "x/p")
    assert str(decision).splitlines() == [
        "allowed: egress of y/b: no policy isolates it",
        "allowed: ingress of x/a: isolated by x/other, x/p; "
        "allowed by x/p ingress[1] (from[1] namespaceSelector {}, ports[0] TCP web)",
    ]


def test_why_no_rule_allowed_is_said_for_each() -> None:
    text = """
    x/p:
      ingress:
      - from: [{podSelector: {matchLabels: {pod: c}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.244.0.0/16]}}]
      - ports: [{port: web}, {port: 8000, endPort: 9000}, {protocol: UDP}]
      - from: [{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b]}]}, namespaceSelector: {}}]
        ports: [{port: other}]
    x/deny: {}
    """
    decision = ask(world(text), "y/b", "x/a", "TCP", 81)
    assert str(decision) == (
        "denied: ingress of x/a: isolated by x/deny, x/p; no rule allows TCP 81 from y/b; x/deny has no ingress rule; "
        "x/p ingress[0]: y/b is not podSelector pod=c in namespace x or ipBlock 10.0.0.0/8 except 10.244.0.0/16; "
        "x/p ingress[1]: TCP 81 is not TCP web (80 at x/a) or TCP 8000-9000 or UDP (all ports); "
        "x/p ingress[2]: TCP 81 is not TCP other (no such port at x/a)"
    )
    assert (decision.ingress.rule, decision.ingress.policies) == (None, ("x/deny", "x/p"))


def test_both_directions_that_deny_are_told() -> None:
    lines = str(ask(world(DENY), "x/a", "y/b", "ICMP")).splitlines()
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == [" egress of x/a", " ingress of y/b"]
    assert "no rule allows ICMP to y/b; x/deny has no egress rule" in lines[0]


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        ("x/a", "x/a", "a pod always reaches itself"),
        ("n1", "x/a", "a node always reaches the pods that run on it"),
        ("x/a", "n1", "a pod always reaches the node that it runs on"),
    ],
)
def test_what_is_never_policed_says_so(source: str, destination: str, reason: str) -> None:
    assert reason in str(ask(world(DENY), source, destination))


def test_an_empty_world() -> None:
    assert judge(World(), OutsideEnd(IPv4Address("1.2.3.4")), PodEnd(PODS[0]), "TCP", 1).allowed
