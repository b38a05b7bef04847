from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from kubeproof.node.removal import (
    Owners,
    idle_nft_tables,
    ipvsadm_words,
    is_idle,
    own_nft_tables,
    own_virtual_servers,
    pod_cidrs,
    removal,
)
from kubeproof.state.ipvs import parse_virtual_servers

PODS = IPv4Network("10.244.0.0/16")
CLUSTER = Owners((PODS,), docker=False)
DOCKER = Owners((), docker=True, runtime=True, policies={"filter FORWARD": "ACCEPT"})

FILTER = r"""
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [7:420]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:MINE - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment "KUBE-FIREWALL -j KUBE-FORWARD is it\'s \"name\"" -j ACCEPT
-A INPUT -j KUBE-FIREWALL
-A INPUT -s 10.244.0.0/16 -j MINE
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i br-0123456789ab ! -o br-0123456789ab -j ACCEPT
-A FORWARD -i br-lan -j ACCEPT
-A FORWARD -s 10.244.0.0/16 -j ACCEPT
-A FORWARD -d 10.244.0.0/16 -j ACCEPT
-A FORWARD -s 10.0.0.0/8 -j ACCEPT
-A DOCKER-USER -j RETURN
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
-A MINE -g KUBE-FORWARD
-A MINE -d 10.244.0.0/16 -j ACCEPT
COMMIT
"""
NAT = """
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING ! -s 10.244.0.0/16 -d 10.244.1.0/24 -j RETURN
-A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE
COMMIT
"""


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_cluster_rules_go_and_all_others_stay() -> None:
    assert lines(removal(FILTER, CLUSTER)) == [
        "*filter",
        ":KUBE-FIREWALL - [0:0]",
        ":KUBE-FORWARD - [0:0]",
        "-D INPUT -j KUBE-FIREWALL",
        '-D FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
        "-D FORWARD -s 10.244.0.0/16 -j ACCEPT",
        "-D FORWARD -d 10.244.0.0/16 -j ACCEPT",
        "-D MINE -g KUBE-FORWARD",
        "-X KUBE-FIREWALL",
        "-X KUBE-FORWARD",
        "COMMIT",
    ]


def test_docker_rules_go_with_docker_and_the_policy_that_it_set() -> None:
    without_cluster = "\n".join(line for line in FILTER.splitlines() if "KUBE" not in line)
    assert lines(removal(without_cluster, DOCKER)) == [
        "*filter",
        ":FORWARD ACCEPT [0:0]",
        ":DOCKER - [0:0]",
        ":DOCKER-USER - [0:0]",
        "-D FORWARD -j DOCKER-USER",
        "-D FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-D FORWARD -i br-0123456789ab ! -o br-0123456789ab -j ACCEPT",
        "-X DOCKER",
        "-X DOCKER-USER",
        "COMMIT",
    ]


def test_policy_that_was_there_before_docker_stays() -> None:
    owners = Owners((), docker=True, policies={"filter FORWARD": "DROP"})
    assert ":FORWARD" not in removal(FILTER, owners)


def test_policy_is_set_back_where_docker_stays() -> None:
    owners = Owners((), docker=False, policies={"filter FORWARD": "ACCEPT", "filter INPUT": "DROP"})
    text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n-A FORWARD -j DOCKER\nCOMMIT\n"
    assert lines(removal(text, owners)) == ["*filter", ":FORWARD ACCEPT [0:0]", "COMMIT"]


def test_nat_and_subnets_of_the_pod_network() -> None:
    assert lines(removal(NAT, CLUSTER)) == [
        "*nat",
        ":CNI-HOSTPORT-DNAT - [0:0]",
        "-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-D POSTROUTING ! -s 10.244.0.0/16 -d 10.244.1.0/24 -j RETURN",
        "-X CNI-HOSTPORT-DNAT",
        "COMMIT",
    ]


CALICO = """
*raw
:PREROUTING ACCEPT [0:0]
:cali-PREROUTING - [0:0]
-A PREROUTING -m comment --comment "cali:6gwbT8clXdHdC1b1" -j cali-PREROUTING
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
:cali-FORWARD - [0:0]
:cali-fw-cali0123456789a - [0:0]
-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m comment --comment "Policy explicitly accepted packet." -m mark --mark 0x10000/0x10000 -j ACCEPT
-A FORWARD -m comment --comment "cali:mp77cMpurHhyjLrM" -j MARK --set-xmark 0x10000/0x10000
-A FORWARD -m comment --comment "calibration of mine" -j ACCEPT
-A cali-FORWARD -i cali+ -j cali-fw-cali0123456789a
COMMIT
"""  # noqa: E501  # as iptables-save prints them


def test_chains_and_rules_of_calico_and_flannel() -> None:
    assert lines(removal(CALICO, CLUSTER)) == [
        "*raw",
        ":cali-PREROUTING - [0:0]",
        '-D PREROUTING -m comment --comment "cali:6gwbT8clXdHdC1b1" -j cali-PREROUTING',
        "-X cali-PREROUTING",
        "COMMIT",
        "*filter",
        ":FLANNEL-FWD - [0:0]",
        ":cali-FORWARD - [0:0]",
        ":cali-fw-cali0123456789a - [0:0]",
        '-D FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD',
        '-D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
        '-D FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m comment --comment '
        '"Policy explicitly accepted packet." -m mark --mark 0x10000/0x10000 -j ACCEPT',
        '-D FORWARD -m comment --comment "cali:mp77cMpurHhyjLrM" -j MARK --set-xmark 0x10000/0x10000',
        "-X FLANNEL-FWD",
        "-X cali-FORWARD",
        "-X cali-fw-cali0123456789a",
        "COMMIT",
    ]


def test_nothing_to_remove() -> None:
    assert removal("", CLUSTER) == ""
    assert removal("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n", CLUSTER) == ""
    assert removal("# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n", CLUSTER) == ""


def test_rule_that_cannot_be_read_stays() -> None:
    assert removal('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment "a -j KUBE-X\nCOMMIT\n', CLUSTER) == ""


@given(st.lists(st.sampled_from([line for line in FILTER.splitlines() if line.startswith("-A ")]), unique=True))
def test_only_owned_rules_are_ever_named(rules: list[str]) -> None:
    header = [line for line in FILTER.splitlines() if line.startswith(("*", ":"))]
    plan = removal("\n".join([*header, *rules, "COMMIT"]), CLUSTER)
    deleted = {line for line in plan.splitlines() if line.startswith("-D ")}
    assert deleted <= {line.replace("-A ", "-D ", 1) for line in rules}
    assert not any("MINE" in line and "KUBE" not in line for line in deleted)
    assert not any("--dport 22" in line or "DOCKER" in line or "10.0.0.0/8" in line for line in deleted)


def test_pod_cidrs_of_settings_and_of_the_host() -> None:
    earlier = "FLANNEL_NETWORK=10.9.0.0/16\nFLANNEL_SUBNET=10.9.1.1/24\n"
    assert pod_cidrs(PODS, earlier) == (IPv4Network("10.9.0.0/16"), PODS)
    assert pod_cidrs(PODS, "") == (PODS,)
    assert pod_cidrs(PODS, "FLANNEL_NETWORK=broken\n") == (PODS,)


IDLE = """# Warning: table ip nat is managed by iptables-nft, do not touch!
table ip nat {
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
	}
}"""
DROPPING = IDLE.replace("accept", "drop")
WITH_RULE = IDLE.replace("policy accept;", "policy accept;\n\t\ttcp dport 22 counter accept")


def test_idle_tables() -> None:
    assert is_idle(IDLE)
    assert not is_idle(DROPPING)
    assert not is_idle(WITH_RULE)


def test_tables_that_go() -> None:
    tables = {"ip nat": IDLE, "ip filter": WITH_RULE, "ip6 filter": IDLE, "inet mine": IDLE, "inet podnet": WITH_RULE}
    assert idle_nft_tables(tables, before=["ip6 filter"]) == ["ip nat"]
    assert own_nft_tables({**tables, "ip kube-proxy": "", "ip6 kube-proxy": "", "inet kube-other": ""}) == [
        *("inet podnet", "ip kube-proxy", "ip6 kube-proxy")
    ]


def test_virtual_servers_that_go() -> None:
    found = parse_virtual_servers(
        "IP Virtual Server version 1.2.1 (size=4096)\n"
        "TCP  0A600001:01BB rr \nUDP  C000020B:7918 rr \nTCP  C6336401:0050 wlc \n"
    )
    own = own_virtual_servers(found, IPv4Network("10.96.0.0/12"), range(30000, 33001))
    assert list(map(ipvsadm_words, own)) == ["--tcp-service 10.96.0.1:443", "--udp-service 192.0.2.11:31000"]


def test_a_comment_over_several_lines_and_odd_lines_hide_no_rule() -> None:
    odd = '-A INPUT -m comment --comment "a\n*nat\n:x\n" -j DROP\n:torn\nodd\n'
    saved = f"*filter\n:KUBE-A - [0:0]\n{odd}-A INPUT -j KUBE-A\nCOMMIT\n"
    text = removal(saved, Owners((), docker=False))
    assert text == "*filter\n:KUBE-A - [0:0]\n-D INPUT -j KUBE-A\n-X KUBE-A\nCOMMIT\n"
    assert removal(":FORWARD DROP\n-A FORWARD -j KUBE-A\n", Owners((), docker=False)) == ""


@given(st.text(max_size=120))
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(removal(f"*filter\n{text}", Owners((), docker=True)), str)


def test_all_networks_of_flannel_are_its_own() -> None:
    found = pod_cidrs(IPv4Network("10.244.0.0/16"), 'FLANNEL_NETWORK="10.98.0.0/16,172.16.0.0/16"\r\n')
    assert list(map(str, found)) == ["10.98.0.0/16", "10.244.0.0/16", "172.16.0.0/16"]
