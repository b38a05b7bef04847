"""Rules that real clusters have and the lab does not, written after their sources, none of them captured: of kube-proxy
1.20 (pkg/proxy/iptables/proxier.go) for Services of other kinds, and of the CNI plugin portmap for hostPort.
"""

import json

import pytest

from kubeproof.trace.collecting import Collected
from kubeproof.trace.model import Direction, End, Place, Prediction
from tests.unit.trace.lab import HTTPD, KUARD, MASTER, NODE1, changed, healthy, predicted, sent_from

NAME, CHAIN = "default/httpd-svc:http", "B5DDMZ32OU72YLCD"
NODE_PORT, HOST_PORT, BALANCER = 33000, 8088, "203.0.113.9"
OWN_ENDPOINT = "KUBE-SEP-T5AGPRN5WXOSFCCF"
"""Of HTTPD, on NODE1."""
OUTSIDE = "192.168.200.1"
TCP = f'-p tcp -m comment --comment "{NAME}" -m tcp --dport'


def nat(state: Collected, node: str, *rules: str, without: str = "nothing") -> Collected:
    """With rules before all others of the table nat, and without the lines that contain a text."""
    chains = {rule.split()[0] for rule in rules if rule.startswith(("KUBE-FW", "KUBE-XLB", "CNI-"))}
    new = [*(f":{chain} - [0:0]" for chain in sorted(chains)), *(f"-A {rule}" for rule in rules)]

    def change(text: str) -> str:
        head, table, tail = text.partition("*nat\n")
        declared, mark, others = tail.partition("-A ")
        kept = [line for line in f"{mark}{others}".splitlines() if without not in line]
        return head + table + declared + "\n".join([*new, *kept]) + "\n"

    return changed(state, node, "iptables", change)


def ends(prediction: Prediction) -> set[str]:
    """Where it is led to."""
    there = [[hop for hop in walk.hops if hop.direction is Direction.FORWARD][-1] for walk in prediction.walks]
    return {str(hop.packet.destination) for hop in there}


def keeps_its_source(prediction: Prediction) -> bool:
    there = [hop for walk in prediction.walks for hop in walk.hops if hop.direction is Direction.FORWARD]
    return not any(hop.what.startswith("SNAT") for hop in there)


ALL = {"10.244.1.47", "10.244.3.8", "10.244.3.10"}


def local_policy(node: str, balancing: str) -> Collected:
    """externalTrafficPolicy Local."""
    xlb = f"KUBE-XLB-{CHAIN}"
    return nat(
        healthy(),
        node,
        f"KUBE-NODEPORTS -s 127.0.0.0/8 {TCP} {NODE_PORT} -j KUBE-MARK-MASQ",
        f"KUBE-NODEPORTS {TCP} {NODE_PORT} -j {xlb}",
        f"{xlb} -s 10.244.0.0/16 -j KUBE-SVC-{CHAIN}",
        f"{xlb} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ",
        f"{xlb} -m addrtype --src-type LOCAL -j KUBE-SVC-{CHAIN}",
        f'{xlb} -m comment --comment "{NAME}" -j {balancing}',
        without=f"--dport {NODE_PORT}",
    )


def test_external_traffic_policy_local_keeps_to_the_nodes_own_endpoints_and_the_clients_address() -> None:
    state = local_policy(NODE1, OWN_ENDPOINT)
    prediction = predicted(state, "outside", f"{NODE1}:{NODE_PORT}")
    assert prediction.succeeds
    assert ends(prediction) == {"10.244.1.47"}
    assert keeps_its_source(prediction)
    for source in (KUARD, NODE1):  # pods and the node itself are led to all of them
        assert ends(predicted(state, source, f"{NODE1}:{NODE_PORT}")) == ALL


def test_a_node_without_endpoints_of_its_own_drops_what_comes_from_outside() -> None:
    (walk,) = predicted(local_policy(MASTER, "KUBE-MARK-DROP"), "outside", f"{MASTER}:{NODE_PORT}").walks
    assert (walk.there.end, walk.hops[-1].place, walk.hops[-1].node) == (End.DROPPED, Place.INPUT, MASTER)
    assert "KUBE-FIREWALL" in walk.there.decided_by


@pytest.mark.parametrize(("allowed", "arrives"), [("192.168.200.0/24", True), ("198.51.100.0/24", False)])
def test_load_balancer_source_ranges(allowed: str, arrives: bool) -> None:
    """The balancer's address is a local one, as Google's agent makes it: kubelet's rules drop there what is marked."""
    firewall, at_balancer = f"KUBE-FW-{CHAIN}", f'-m comment --comment "{NAME} loadbalancer IP"'
    routes = (
        {"dst": f"{BALANCER}", "gateway": "192.168.200.12", "dev": "br0"},
        {"dst": "192.168.200.0/24", "dev": "br0"},
    )
    state = nat(
        sent_from(OUTSIDE, *routes),
        NODE1,
        f"KUBE-SERVICES -d {BALANCER}/32 -p tcp {at_balancer} -m tcp --dport 8080 -j {firewall}",
        f"{firewall} {at_balancer} -j KUBE-MARK-MASQ",
        f"{firewall} -s {allowed} {at_balancer} -j KUBE-SVC-{CHAIN}",
        f"{firewall} {at_balancer} -j KUBE-MARK-DROP",
    )
    local = {"type": "local", "dst": BALANCER, "dev": "host0", "table": "local"}
    state = changed(state, NODE1, "routes", lambda text: json.dumps([*json.loads(text), local]))
    prediction = predicted(state, "outside", BALANCER, "8080")
    assert prediction.succeeds is arrives
    assert ends(prediction) == (ALL if arrives else {BALANCER})
    if not arrives:
        walk = prediction.walks[0]
        assert (walk.there.end, walk.hops[-1].place, walk.hops[-1].mark) == (End.DROPPED, Place.INPUT, 0xC000)
        assert "KUBE-FIREWALL" in walk.there.decided_by


def test_session_affinity_sets_and_asks_for_what_a_client_had() -> None:
    recent, mask = "-m recent", "--mask 255.255.255.255 --rsource"
    state = nat(
        healthy(),
        NODE1,
        f"KUBE-SVC-{CHAIN} {recent} --rcheck --seconds 10800 --reap --name {OWN_ENDPOINT} {mask} -j {OWN_ENDPOINT}",
        f"{OWN_ENDPOINT} -p tcp {recent} --set --name {OWN_ENDPOINT} {mask} -m tcp -j DNAT "
        "--to-destination 10.244.1.47:80",
        without=f"-A {OWN_ENDPOINT} -p tcp",
    )
    prediction = predicted(state, KUARD, "httpd-svc")
    assert prediction.succeeds
    assert ends(prediction) == ALL
    assert any("stays with the endpoint" in note for walk in prediction.walks for note in walk.notes)


def host_port() -> Collected:
    own, to = "CNI-DN-0123456789abcdef01234", f"-p tcp -m tcp --dport {HOST_PORT}"
    local = "-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"
    return nat(
        healthy(),
        NODE1,
        f"PREROUTING {local}",
        f"OUTPUT {local}",
        'POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ',
        f"CNI-HOSTPORT-DNAT -p tcp -m multiport --dports {HOST_PORT} -j {own}",
        f"{own} -s 10.244.1.0/24 {to} -j CNI-HOSTPORT-SETMARK",
        f"{own} -s 127.0.0.1/32 {to} -j CNI-HOSTPORT-SETMARK",
        f"{own} {to} -j DNAT --to-destination 10.244.1.47:80",
        "CNI-HOSTPORT-SETMARK -j MARK --set-xmark 0x2000/0x2000",
        "CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
    )


@pytest.mark.parametrize(
    ("source", "keeps"), [("outside", True), (KUARD, False), (HTTPD, False), (NODE1, True), (MASTER, True)]
)
def test_a_host_port_leads_to_its_pod_and_masquerades_for_pods_of_the_same_node(source: str, keeps: bool) -> None:
    prediction = predicted(host_port(), source, f"{NODE1}:{HOST_PORT}")
    assert prediction.succeeds
    assert ends(prediction) == {"10.244.1.47"}
    assert keeps_its_source(prediction) is keeps
    assert "CNI plugin" in {hop.owner for hop in prediction.walks[0].hops}
