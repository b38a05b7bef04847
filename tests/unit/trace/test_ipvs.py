"""Walks through the healthy lab with kube-proxy in its mode ipvs on one node: computed, not run.

What that node then has is as in public captures and kube-proxy's sources: see tests/unit/proof/proxies.py.
"""

import json
from collections.abc import Callable, Mapping

import pytest

from kubeproof.trace.collecting import Collected
from kubeproof.trace.model import Direction, End, Hop, Place, Walk
from tests.unit.trace.lab import KUARD, NODE1, SERVICE, changed, healthy, predicted, way

API = "10.1.0.1"
SERVERS = {"10.244.1.47": "0AF4012F", "10.244.3.10": "0AF4030A"}
VIRTUAL = """IP Virtual Server version 1.2.1 (size=4096)
TCP  0A010001:01BB rr 
  -> C0A8C80B:192B      Masq    1      0          0         
TCP  0A01FA25:1F90 rr 
  -> 0AF4012F:0050      Masq    1      0          0         
  -> 0AF4030A:0050      Masq    1      0          0         
TCP  C0A8C80C:80E8 rr 
  -> 0AF4012F:0050      Masq    1      0          0         
  -> 0AF4030A:0050      Masq    1      0          0         
TCP  C0A8C80C:192B rr 
  -> C0A8C80C:280A      Masq    1      0          0         
"""  # noqa: W291  # as the kernel prints it
SETS = f"""create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 comment
add KUBE-CLUSTER-IP {SERVICE},tcp:8080 comment "Kubernetes service cluster ip + port for masquerade purpose"
add KUBE-CLUSTER-IP {API},tcp:443 comment "Kubernetes service cluster ip + port for masquerade purpose"
create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536 comment
add KUBE-LOOP-BACK 10.244.1.47,tcp:80,10.244.1.47
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535 comment
add KUBE-NODE-PORT-TCP 33000
"""
RULES = """-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-POSTROUTING -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE
-A KUBE-SERVICES ! -s 10.244.0.0/16 -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
COMMIT
"""


def _rules(text: str) -> str:
    gone = ("-A KUBE-SERVICES", "-A KUBE-POSTROUTING", "-A KUBE-NODEPORTS", "KUBE-SVC-", "KUBE-SEP-")
    lines = [line for line in text.splitlines() if not any(word in line for word in gone)]
    nat = lines.index("*nat")
    end = lines.index("COMMIT", nat)
    return "\n".join([*lines[: nat + 1], ":KUBE-NODE-PORT - [0:0]", *lines[nat + 1 : end], RULES, *lines[end + 1 :]])


def _more(*items: Mapping[str, object]) -> Callable[[str], str]:
    return lambda text: json.dumps([*json.loads(text), *items])


def ipvs(virtual: str = VIRTUAL, sets: str = SETS) -> Collected:
    """The lab with IPVS on NODE1; kube-ipvs0 is down, as kube-proxy leaves it."""
    link = {"ifindex": 99, "ifname": "kube-ipvs0", "flags": ["BROADCAST", "NOARP"], "mtu": 1500, "operstate": "DOWN"}
    link |= {"address": "1a:ce:f5:5f:c1:4d", "linkinfo": {"info_kind": "dummy"}}
    own = [{"family": "inet", "local": address, "prefixlen": 32, "scope": "global"} for address in (SERVICE, API)]
    routes = [{"type": "local", "dst": each, "dev": "kube-ipvs0", "table": "local"} for each in (SERVICE, API)]
    state = changed(healthy(), NODE1, "iptables", _rules)
    state = changed(state, NODE1, "links", _more(link))
    state = changed(state, NODE1, "addresses", _more({"ifname": "kube-ipvs0", "addr_info": own}))
    state = changed(state, NODE1, "routes", _more(*routes))
    state = changed(state, NODE1, "ipsets", lambda _: sets)
    return changed(state, NODE1, "ipvs", lambda _: virtual)


def hops(walk: Walk, place: Place, direction: Direction = Direction.FORWARD) -> list[Hop]:
    """Of the node itself, without those of the tunnel's own packets."""
    of_node = (hop for hop in walk.hops if (hop.node, hop.pod, hop.outer) == (NODE1, "", None))
    return [hop for hop in of_node if (hop.place, hop.direction) == (place, direction)]


def test_a_pod_reaches_each_server_of_a_service_alike() -> None:
    prediction = predicted(ipvs(), KUARD, "httpd-svc")
    assert prediction.succeeds
    assert [walk.probability for walk in prediction.walks] == [0.5, 0.5]
    for walk in prediction.walks:
        (chosen,) = hops(walk, Place.INPUT)
        assert chosen.what.startswith("IPVS sends it to ")
        assert chosen.decided_by.startswith(f"virtual server tcp {SERVICE}:8080 rr -> ")
        assert chosen.owner == "kube-proxy"
        assert str(chosen.packet.destination) in SERVERS
        # It goes on by OUTPUT, and not by FORWARD, which sees the answer.
        assert len(hops(walk, Place.OUTPUT)) == 1
        assert hops(walk, Place.FORWARD) == []
        assert chosen.packet.source == walk.hops[-1].packet.destination, "a pod is not masqueraded"
        (back,) = hops(walk, Place.FORWARD, Direction.REPLY)
        assert back.what == f"source back to {SERVICE}:8080, which IPVS had changed"


def test_the_node_itself_is_masqueraded() -> None:
    """It sends from the Service's own address, as that is one of the node's."""
    prediction = predicted(ipvs(), NODE1, "httpd-svc")
    assert prediction.succeeds
    for walk in prediction.walks:
        first, second = hops(walk, Place.OUTPUT)
        assert str(first.packet.source) == SERVICE
        assert first.what.startswith("IPVS sends it to ")
        assert "IPVS" not in second.what
        assert "MASQUERADE" in hops(walk, Place.POSTROUTING)[0].what


def test_a_node_port_from_outside() -> None:
    prediction = predicted(ipvs(), "outside", f"{NODE1}:33000")
    assert prediction.succeeds
    assert all("MASQUERADE" in hops(walk, Place.POSTROUTING)[0].what for walk in prediction.walks)
    closed = changed(ipvs(), NODE1, "ipvs", lambda text: text.replace("C0A8C80C:80E8", "C0A8C80C:80E9"))
    assert not any("IPVS" in hop.what for hop in way(closed, "outside", f"{NODE1}:33000").hops)


def test_a_pod_that_reaches_itself_is_masqueraded() -> None:
    prediction = predicted(ipvs(), "default/httpd-d5d58d4df-h4v8m", "httpd-svc")
    assert prediction.succeeds
    itself = next(walk for walk in prediction.walks if any("10.244.1.47:80" in hop.what for hop in walk.hops))
    assert "MASQUERADE" in hops(itself, Place.POSTROUTING)[0].what


def test_one_server_is_no_choice_and_a_server_of_another_node_is_reached() -> None:
    walk = way(ipvs(), KUARD, "kubernetes")
    assert walk.succeeds
    assert walk.probability == 1
    assert str(hops(walk, Place.INPUT)[0].packet.destination) == "192.168.200.11"


@pytest.mark.parametrize("source", [KUARD, NODE1])
def test_a_server_on_the_node_itself_is_delivered(source: str) -> None:
    """kubelet's port by a virtual server: the packet goes on at the hook, or round by lo."""
    walk = way(ipvs(), source, f"{NODE1}:6443")
    assert walk.there.end is End.ARRIVED, walk.there
    assert walk.back is not None
    assert walk.back.end is End.ARRIVED, walk.back


def test_without_servers_it_is_refused() -> None:
    text = VIRTUAL.replace("Masq    1", "Masq    0")
    walk = way(ipvs(text), KUARD, "httpd-svc")
    assert (walk.there.end, walk.there.owner) == (End.REFUSED, "kube-proxy")
    assert walk.there.decided_by == f"virtual server tcp {SERVICE}:8080 rr"


@pytest.mark.parametrize(
    ("virtual", "told"),
    [
        (VIRTUAL.replace("0A01FA25:1F90 rr", "0A01FA25:1F90 lc"), "IPVS chooses by lc, which is not modelled"),
        (VIRTUAL.replace("0AF4012F:0050      Masq ", "0AF4012F:0050      Route"), "IPVS forwards by Route"),
        ("TCP  0A01FA25:1F90 rr \n  -> what\n", "ipvs cannot be read"),
    ],
)
def test_what_is_not_modelled_is_undecided(virtual: str, told: str) -> None:
    walk = way(ipvs(virtual), KUARD, "httpd-svc")
    assert walk.there.end is End.UNDECIDED
    assert told in walk.there.reason


def test_a_client_may_stay_with_a_server() -> None:
    virtual = VIRTUAL.replace("0A01FA25:1F90 rr ", "0A01FA25:1F90 rr persistent 10800 FFFFFFFF")
    notes = predicted(ipvs(virtual), KUARD, "httpd-svc").walks[0].notes
    assert any("stays with the endpoint that it had (IPVS)" in note for note in notes)


def test_without_the_service_address_it_leaves_the_node() -> None:
    state = changed(ipvs(), NODE1, "routes", lambda text: text.replace(SERVICE, "10.1.250.99"))
    walk = way(state, KUARD, "httpd-svc")
    assert not walk.succeeds
    assert f"no rule translates {SERVICE}" in walk.outcome.reason


def test_without_its_set_an_unknown_match_is_undecided() -> None:
    walk = way(ipvs(sets="create OTHER hash:ip\n"), "outside", f"{NODE1}:33000")
    assert walk.there.end is End.UNDECIDED
