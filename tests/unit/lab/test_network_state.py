"""The comparison of a node's network before and after a fault: what it leaves out, and what it must not."""

from ipaddress import IPv4Network

from tests.lab.network_state import masked, without_idle_chains

POD_CIDR = IPv4Network("10.244.0.0/16")
LISTED_ONLY = """\
table ip security {
chain INPUT {
type filter hook input priority 150; policy accept;
}
}
"""
USED = """\
table ip filter {
chain KUBE-KUBELET-CANARY {
}
chain INPUT {
type filter hook input priority filter; policy accept;
ct state new jump KUBE-SERVICES
}
chain FORWARD {
type filter hook forward priority filter; policy drop;
}
}
"""


def test_what_listing_a_table_has_made_is_left_out() -> None:
    assert without_idle_chains((LISTED_ONLY + USED).splitlines()) == USED.splitlines()


def test_an_idle_chain_of_a_table_in_use_is_left_out() -> None:
    idle = "chain OUTPUT {\ntype filter hook output priority filter; policy accept;\n}\n"
    grown = USED.replace("chain FORWARD", f"{idle}chain FORWARD")
    assert without_idle_chains(grown.splitlines()) == USED.splitlines()


def test_addresses_of_pods_are_masked_and_those_of_nodes_are_not() -> None:
    line = "10.244.1.7 dev vethdeadbeef via 10.244.1.0 and 10.244.1.1 of 10.244.1.0/24 and 10.96.0.10"
    assert masked(line, POD_CIDR, 24) == "POD dev veth* via 10.244.1.0 and 10.244.1.1 of 10.244.1.0/24 and 10.96.0.10"
