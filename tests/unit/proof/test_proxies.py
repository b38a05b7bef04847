"""The checks of kube-proxy's modes ipvs and nftables hold on a good state, and fail on each mutation that matters."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kubeproof.networks import podnet
from kubeproof.proof.checks import by_name, checks_of, held_to
from kubeproof.rules.api import ApiObjects
from kubeproof.rules.rule import Rule
from kubeproof.state.errors import ParseError
from kubeproof.state.ipvs import parse_ipsets, parse_virtual_servers
from kubeproof.state.nftables import parse_proxy_table
from kubeproof.state.node import NodeState
from tests.unit.proof import good, proxies

OF_MODES = [(mode, check) for mode in ("ipvs", "nftables") for check in held_to(podnet.NETWORK.backends[0], mode)]
OWN = {check.id for _, check in OF_MODES if check.id.startswith(("ipvs-", "nft-"))}
Change = Callable[[NodeState], NodeState]


def servers(old: str, new: str) -> Change:
    return lambda state: replace(
        state, virtual_servers=parse_virtual_servers(_changed(proxies.virtual_servers(state.name), old, new))
    )


def sets(old: str, new: str) -> Change:
    whole = proxies.IPSETS + "".join(proxies.LOOP_BACK.format(ip) for _, ip in good.pod_names("node-b"))
    return lambda state: replace(state, ipsets=parse_ipsets(_changed(whole, old, new)))


def rules(old: str, new: str) -> Change:
    return lambda state: replace(state, iptables=proxies.rules(state.name, (old, new)))


def table(old: str, new: str) -> Change:
    return lambda state: replace(state, proxy_table=parse_proxy_table(_changed(proxies.table(state.name), old, new)))


def addresses(drop: str) -> Change:
    def change(state: NodeState) -> NodeState:
        kept = tuple(item for item in state.network.addresses if str(item.ip) != drop)
        assert len(kept) < len(state.network.addresses)
        return replace(state, network=replace(state.network, addresses=kept))

    return change


def _changed(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new)


@pytest.mark.parametrize("name", good.NAMES)
@pytest.mark.parametrize(("mode", "check"), OF_MODES, ids=lambda each: each if isinstance(each, str) else each.id)
def test_holds_on_a_good_state(mode: str, check: Rule, name: str) -> None:
    result = check.check(proxies.context(name, mode))
    assert result.ok, f"expected {result.expected}\nfound {result.found}"


def test_each_mode_is_held_to_its_own() -> None:
    by_mode = {
        mode: {check.id for check in checks_of(good.settings(kube_proxy_mode=mode))} for mode in ("ipvs", "nftables")
    }
    assert by_mode["ipvs"] ^ by_mode["nftables"] == OWN
    assert not (OWN | {"service-chains", "node-ports"}) & (by_mode["ipvs"] & by_mode["nftables"])
    assert not OWN & {check.id for check in checks_of(good.settings())}


ON_NODE_B = [
    ("ipvs-addresses", addresses("10.97.0.50"), "missing: 10.97.0.50"),
    ("ipvs-servers", servers("TCP  0A610032:0050 rr", "TCP  0A610032:0051 rr"), "missing: tcp 10.97.0.50:80 rr"),
    ("ipvs-servers", servers("TCP  0A610032:0050 rr", "TCP  0A610032:0051 rr"), "not expected: tcp 10.97.0.50:81"),
    ("ipvs-servers", servers("0A610032:0050 rr", "0A610032:0050 wlc"), "not expected: tcp 10.97.0.50:80 wlc"),
    ("ipvs-servers", servers("0A620202:1F90      Masq    1", "0A620202:1F90      Masq    0"), "missing: -> 10.98.2.2"),
    ("ipvs-servers", servers("0A620209:1F90      Masq    0", "0A620209:1F90      Masq    1"), "-> 10.98.2.9:8080 Masq"),
    ("ipvs-servers", servers("0A620202:1F90      Masq", "0A620202:1F90      Route"), "-> 10.98.2.2:8080 Route"),
    ("ipvs-servers", servers(":7918 rr", ":7919 rr"), "missing: tcp 10.99.0.12:31000 rr"),
    (
        "ipvs-sets",
        sets("add KUBE-CLUSTER-IP 10.97.0.50,tcp:80 ", "add KUBE-CLUSTER-IP 10.97.0.9,tcp:80 "),
        "10.97.0.50",
    ),
    (
        "ipvs-sets",
        sets("add KUBE-NODE-PORT-TCP 31000\n", ""),
        "KUBE-NODE-PORT-TCP: expected 31000",
    ),
    ("ipvs-sets", sets("10.98.1.3,tcp:8080,10.98.1.3", "10.98.1.9,tcp:8080,10.98.1.9"), "10.98.1.3,tcp:8080,10.98.1.3"),
    ("ipvs-masquerade", rules("! -s 10.98.0.0/16", "! -s 10.99.0.0/16"), "KUBE-SERVICES: expected"),
    ("ipvs-masquerade", rules("dst -j KUBE-MARK-MASQ", "dst -j RETURN"), "KUBE-NODE-PORT: expected"),
    ("ipvs-masquerade", rules(proxies.HAIRPIN, ""), "KUBE-LOOP-BACK"),
    ("nft-services", table('["10.97.0.50", "tcp", 80]', '["10.97.0.50", "tcp", 81]'), "missing: 10.97.0.50 . tcp . 80"),
    ("nft-services", table('["10.97.0.77", "tcp", 80]', '["10.97.0.78", "tcp", 80]'), "no-endpoint-services: expected"),
    ("nft-services", table('"chain": "nat-output"', '"chain": "services"'), "nat-output: expected jump services"),
    ("nft-endpoints", table('"mod": 3', '"mod": 4'), "numgen random mod 4"),
    ("nft-endpoints", table('{"addr": "10.98.2.2", "port": 8080}', '{"addr": "10.98.2.9", "port": 8080}'), "10.98.2.9"),
    ("nft-endpoints", table('"addr": "10.98.0.0"', '"addr": "10.99.0.0"'), "ip saddr != 10.98.0.0/16 jump mark"),
    ("nft-node-ports", table('["tcp", 31000]', '["tcp", 31001]'), "missing: tcp . 31000"),
    ("nft-node-ports", table('["10.99.0.12"]', '["10.99.0.99"]'), "nodeport-ips: expected 10.99.0.12"),
    (
        "nft-masquerade",
        table('{"masquerade": {"flags": "fully-random"}}', '{"accept": null}'),
        "masquerading: expected",
    ),
    ("nft-masquerade", table("16384", "32768"), "32768"),
]


@pytest.mark.parametrize(
    ("name", "change", "words"), ON_NODE_B, ids=[f"{name}-{number}" for number, (name, *_) in enumerate(ON_NODE_B)]
)
def test_fails_when_the_node_is_otherwise(name: str, change: Change, words: str) -> None:
    mode = "ipvs" if name.startswith("ipvs") else "nftables"
    result = by_name(name).check(proxies.context("node-b", mode, here=change(proxies.state("node-b", mode))))
    assert not result.ok
    assert words in f"{result.expected}\n{result.found}", result
    assert result.remedies, "kube-proxy sets it anew when it starts"


def test_every_check_was_seen_failing() -> None:
    assert {name for name, *_ in ON_NODE_B} == OWN


@pytest.mark.parametrize("name", sorted(OWN))
def test_an_empty_state_and_an_unreadable_one_hold_for_nobody(name: str) -> None:
    mode, check = ("ipvs" if name.startswith("ipvs") else "nftables"), by_name(name)
    assert not check.check(proxies.context("node-b", mode, here=NodeState("node-b"))).ok
    unreadable = dict.fromkeys(check.needs, "no such program")
    result = check.check(
        proxies.context("node-b", mode, here=replace(proxies.state("node-b", mode), unreadable=unreadable))
    )
    assert "no such program" in result.found


def _web(**changes: object) -> ApiObjects:
    objects = good.api()
    services = tuple(replace(item, **changes) if item.name == "web" else item for item in objects.services)  # type: ignore[arg-type]
    return replace(objects, services=services)


def test_a_node_port_of_local_traffic_has_the_nodes_own_pods_only() -> None:
    objects = _web(local_traffic_only=True)
    assert not by_name("ipvs-servers").check(proxies.context("node-b", "ipvs", objects=objects)).ok
    head, _, tail = proxies.virtual_servers("node-b").partition(":7918")
    own = head + ":7918" + tail.replace("  -> 0A620202:1F90      Masq    1      0          0         \n", "")
    here = replace(proxies.state("node-b", "ipvs"), virtual_servers=parse_virtual_servers(own))
    result = by_name("ipvs-servers").check(proxies.context("node-b", "ipvs", here=here, objects=objects))
    assert result.ok, result.found


def test_session_affinity_is_persistence() -> None:
    objects = _web(session_affinity=True)
    result = by_name("ipvs-servers").check(proxies.context("node-b", "ipvs", objects=objects))
    assert "missing: tcp 10.97.0.50:80 rr persistent" in result.found


@pytest.mark.parametrize("text", ["[]", '{"nftables": [{"rule": {}}]}', '{"nftables": [3]}', "no"])
def test_what_nft_does_not_print(text: str) -> None:
    with pytest.raises(ParseError):
        parse_proxy_table(text)


def test_what_the_kernel_does_not_print() -> None:
    with pytest.raises(ParseError):
        parse_virtual_servers("TCP  0A610001:01BB rr \n  -> nonsense\n")
    assert parse_virtual_servers("") == ()


def test_postrouting_has_no_chain_of_kube_proxy_in_mode_nftables() -> None:
    def check(mode: str, here: NodeState) -> bool:
        return by_name("postrouting-order").check(proxies.context("node-b", mode, here=here)).ok

    assert check("ipvs", proxies.state("node-b", "ipvs"))
    assert not check("ipvs", proxies.state("node-b", "nftables"))
    assert not check("nftables", proxies.state("node-b", "ipvs"))
