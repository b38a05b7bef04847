"""What networks without VXLAN send from node to node is refused: named, with what lets it pass, and nothing else is."""

from dataclasses import replace

import pytest

from kubeproof.doctor.evidence import Evidence
from kubeproof.doctor.questions import parts_of
from kubeproof.networks.registry import NETWORKS
from kubeproof.state.foreign import parse_nft
from kubeproof.state.iptables import Chain, parse_iptables_save
from kubeproof.state.node import NodeState
from kubeproof.state.paths_between import CONNECTED, REFUSED, TIMED_OUT, PathProbe
from tests.unit.doctor import patient
from tests.unit.doctor.patient import Change, both, lost, on_host, state, way
from tests.unit.proof import good, networks
from tests.unit.proof import test_checks as changes

LOST = lost("pod-to-pod-other-node", "node-b")
NO_BGP = state("node-b", changes.less("routes", lambda route: route.destination in networks.blocks("node-c")))
"""No routes that BGP would have brought."""
NFT = (
    '{{"nftables": [{{"rule": {{"family": "inet", "table": "f", "chain": "in", "handle": 4, "expr": [{{"match": '
    '{{"op": "==", "left": {left}, "right": {right}}}}}, {{"drop": null}}]}}}}]}}'
)
NODES = "10.99.0.0/24"
PORT = '{"payload": {"protocol": "tcp", "field": "dport"}}'
PROTOCOL = '{"meta": {"key": "l4proto"}}'


def evidence(cni: str, backend: str) -> Evidence:
    item = patient.evidence(**networks.settings(cni, backend))
    states = {
        name: replace(networks.state(name, cni, backend), path_probes=item.snapshot.states[name].path_probes)
        for name in good.NAMES
    }
    objects = replace(networks.api(cni), policies={})
    return replace(item, snapshot=replace(item.snapshot, states=states, objects=objects))


def refusing(*lines: str, policy: str = "", first: bool = False) -> Change:
    """Rules and a policy in INPUT and OUTPUT of node-b: behind those that are there, or before them."""
    text = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n" + "".join(f"{line}\n" for line in lines) + "COMMIT\n"

    def change(found: NodeState) -> NodeState:
        filters = found.iptables.tables["filter"]
        chains = dict(filters.chains)
        for name, more in parse_iptables_save(text).tables["filter"].chains.items():
            old = chains.get(name, Chain(name, "ACCEPT"))
            rules = (*more.rules, *old.rules) if first else (*old.rules, *more.rules)
            chains[name] = replace(old, rules=rules, policy=policy if policy and name == "INPUT" else old.policy)
        tables = {**found.iptables.tables, "filter": replace(filters, chains=chains)}
        return replace(found, iptables=replace(found.iptables, tables=tables))

    return state("node-b", change)


def told(cni: str, backend: str, *made: Change) -> tuple[list[str], str, str]:
    """Names of what is told; what was seen of it, and its remedies."""
    found = patient.found(both(*made)(evidence(cni, backend)))
    cases = [case for diagnosis in found for case in diagnosis.cases]
    lines = "\n".join(line for case in cases for line in case.evidence)
    remedies = "\n".join(
        f"{remedy.where} {remedy.node}: {remedy.command}" for case in cases for remedy in case.remedies
    )
    return [diagnosis.name for diagnosis in found], lines, remedies


RULES: list[tuple[str, str, str, str, str]] = [
    (
        "calico",
        "none",
        "-A INPUT -p tcp -m tcp --dport 179 -j DROP",
        "BGP (TCP 179): ",
        "iptables -D INPUT -p tcp -m tcp",
    ),
    ("calico", "ipip", "-A INPUT -p tcp -m tcp --dport 100:200 -j REJECT", "BGP (TCP 179): ", "iptables -D INPUT"),
    ("calico", "ipip", "-A OUTPUT -p tcp -m tcp --dport 179 -j DROP", "BGP (TCP 179): ", "iptables -D OUTPUT"),
    (
        "calico",
        "ipip",
        "-A INPUT -p ipencap -j DROP",
        "IP in IP (protocol 4): ",
        "iptables -D INPUT -p ipencap -j DROP",
    ),
    ("calico", "ipip", "-A INPUT -p ipv4 -j DROP", "IP in IP (protocol 4): ", "iptables -D INPUT -p ipv4 -j DROP"),
    ("calico", "ipip", "-A INPUT -p 4 -j DROP", "IP in IP (protocol 4): ", "iptables -D INPUT -p 4 -j DROP"),
    (
        "flannel",
        "udp",
        "-A INPUT -p udp -m udp --dport 8285 -j DROP",
        "flannel's packets (UDP 8285): ",
        "--dport 8285 -j DROP",
    ),
]


@pytest.mark.parametrize(("cni", "backend", "rule", "seen", "remedy"), RULES)
def test_a_rule_that_refuses_it_goes(cni: str, backend: str, rule: str, seen: str, remedy: str) -> None:
    names, lines, remedies = told(
        cni, backend, refusing(rule, first="--dport" not in rule), NO_BGP if "tcp" in rule else LOST
    )
    assert names == ["carrier-refused"]
    assert f"{seen}refused by {rule}" in lines
    assert remedies.startswith("node node-b: ")
    assert remedy in remedies


def test_what_drops_more_than_that_stays_behind_a_rule_that_accepts() -> None:
    names, lines, remedies = told("calico", "none", refusing("-A INPUT -i eth9 -p tcp -j DROP"), NO_BGP)
    assert names == ["carrier-refused"]
    assert "BGP (TCP 179): refused by -A INPUT -i eth9 -p tcp -j DROP" in lines
    assert remedies == f"node node-b: iptables -I INPUT -s {NODES} -p tcp --dport 179 -j ACCEPT"


def test_a_policy_that_drops() -> None:
    names, lines, remedies = told("flannel", "udp", refusing(policy="DROP"), LOST)
    assert names == ["carrier-refused"]
    assert "UDP 8285): no rule of INPUT accepts it, and its policy is DROP" in lines
    assert remedies.endswith(f"iptables -I INPUT -s {NODES} -p udp --dport 8285 -j ACCEPT")


def test_felix_accepts_ip_in_ip_of_the_nodes_whatever_comes_after_it() -> None:
    behind = refusing("-A INPUT -p ipencap -j DROP")
    assert "carrier-refused" not in told("calico", "ipip", behind, LOST)[0]


def test_a_rule_that_accepts_comes_first() -> None:
    lines = [f"-A INPUT -p tcp -m tcp --dport 179 -j {target}" for target in ("ACCEPT", "DROP")]
    assert "carrier-refused" not in told("calico", "ipip", refusing(*lines), NO_BGP)[0]


@pytest.mark.parametrize(
    ("backend", "left", "right", "is_told"),
    [
        ("none", PORT, "179", True),
        ("none", PORT, "180", False),
        ("ipip", PROTOCOL, '"ipencap"', True),
        ("ipip", PROTOCOL, "4", True),
        ("none", PROTOCOL, "4", False),
        ("ipip", PROTOCOL, '"gre"', False),
    ],
)
def test_a_rule_of_nftables(backend: str, left: str, right: str, is_told: bool) -> None:
    rules = on_host("node-b", nft_rules=parse_nft(NFT.format(left=left, right=right)))
    names, _, remedies = told("calico", backend, rules, NO_BGP if left == PORT else LOST)
    assert ("carrier-refused" in names) == is_told
    assert ("nft delete rule inet f in handle 4" in remedies) or not is_told


def silent(own: str) -> Change:
    """Connections from node-c to the port of node-b, and no routes that BGP would have brought."""
    return both(way("node-c", "node-b", PathProbe(True, CONNECTED, "02:99:00:00:00:01", own=own)), NO_BGP)


def test_what_is_lost_between_nodes_is_told_by_a_connection_that_was_tried() -> None:
    names, lines, remedies = told("calico", "none", silent(TIMED_OUT))
    assert names == ["carrier-refused"]
    assert "BGP (TCP 179): plain packets of node-c are answered, connections are not" in lines
    assert remedies == f"firewall node-b: allow TCP 179 from {NODES} to {NODES}"


def test_firewalld_is_told_to_trust_the_other_nodes() -> None:
    _, lines, remedies = told("calico", "none", silent(TIMED_OUT), on_host("node-b", firewalld=("running",)))
    assert "and firewalld runs" in lines
    assert f"--zone=trusted --add-source={good.address('node-a')} --add-source={good.address('node-c')}" in remedies


@pytest.mark.parametrize("own", [CONNECTED, REFUSED, ""])
def test_an_agent_that_does_not_listen_is_no_filter(own: str) -> None:
    assert "carrier-refused" not in told("calico", "none", silent(own))[0]


def test_where_all_holds_no_rule_is_looked_at() -> None:
    assert told("calico", "none", refusing("-A INPUT -p tcp -m tcp --dport 179 -j DROP"))[0] == []


def test_one_of_two_nodes_that_may_connect_is_enough_for_bgp() -> None:
    """Packets are lost for another reason, and its routes are there."""
    names, *_ = told("calico", "none", refusing("-A INPUT -p tcp -m tcp --dport 179 -j DROP"), LOST)
    assert "carrier-refused" not in names


def test_rules_that_could_not_be_read_accuse_nobody() -> None:
    unread = on_host("node-b", unreadable={"iptables": "exit code 1", "subnet_env": "No such file"})
    item = both(silent(TIMED_OUT), unread)(evidence("calico", "none"))
    assert "node-b: its rules could not be read" in patient.undecided(item)
    assert "carrier-refused" not in [diagnosis.name for diagnosis in patient.found(item)]


def test_a_network_with_vxlan_has_none_of_these() -> None:
    assert (
        "carrier-refused"
        not in told("calico", "vxlan", refusing("-A INPUT -p tcp -m tcp --dport 179 -j DROP"), LOST)[0]
    )
    assert not any(
        backend.carriers for item in NETWORKS.values() for backend in item.backends if backend.name == "vxlan"
    )


def test_the_port_of_bgp_is_tried_where_there_is_bgp() -> None:
    for backend, own_port in (("none", "179"), ("ipip", "179"), ("vxlan", "''")):
        loaded = good.loaded(**networks.settings("calico", backend))
        (text,) = (part.text for part in parts_of(loaded, "node-b", nonce="abcd1234") if part.field == "path_probes")
        assert f"OWN_PORT={own_port}\n" in text


def test_a_rule_says_what_it_was_before_ports_were_decided() -> None:
    """The remedy deletes the rule as the host has it."""
    found = told(
        "calico", "none", refusing("-A INPUT -p tcp -m tcp --dport 179 -m comment --comment x -j DROP"), NO_BGP
    )
    assert "--dport 179 -m comment --comment x -j DROP" in found[2]
