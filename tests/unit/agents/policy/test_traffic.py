"""Rulesets under real traffic: what the kernel lets through, byte order and ranges included."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from ipaddress import IPv4Network
from itertools import pairwise
from typing import Any

import pytest

from agents.podnet.policy.changes import transactions
from agents.podnet.policy.ruleset import Here, make_ruleset
from tests.unit.agents.netns import eventually, ip
from tests.unit.agents.policy.objects import Item, pod, policy, world
from tests.unit.agents.policy.wire import (
    ADDRESSES,
    GATEWAY,
    OUTSIDE,
    PODS,
    SERVICE,
    SUBNET,
    WAIT_SECONDS,
    Tcp,
    Wire,
    internet_checksum,
    passes,
    ping,
    sctp,
    tcp,
    udp,
)

pytestmark = pytest.mark.netns

HERE = Here("one", IPv4Network(SUBNET))
WEB = [{"name": "web", "containerPort": 8081, "protocol": "TCP"}]
A = pod("a", PODS["a"], {"app": "a"})
B = pod("b", PODS["b"], {"app": "b"}, ports=WEB)
REMOTE = pod("remote", OUTSIDE, {"app": "remote"}, node="two", ports=WEB)
SELECT_A: Item = {"podSelector": {"matchLabels": {"app": "a"}}}
SELECT_B: Item = {"podSelector": {"matchLabels": {"app": "b"}}}
DENY_B = policy("deny", {**SELECT_B, "policyTypes": ["Ingress"]})


@pytest.fixture(scope="module")
def shared_wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


@pytest.fixture
def wire(shared_wire: Wire) -> Wire:
    """Without any policy, and with nothing left in conntrack's memory."""
    shared_wire.shell("nft", "flush", "ruleset")
    return shared_wire


def apply(wire: Wire, *policies: Item, pods: tuple[Item, ...] = (A, B, REMOTE)) -> None:
    wire.load(make_ruleset(world(list(pods), list(policies)), HERE).table.text())


def ingress_of_b(*rules: Any) -> Item:
    return policy("allow", {**SELECT_B, "ingress": list(rules)})


def egress_of_a(*rules: Any) -> Item:
    return policy("allow", {**SELECT_A, "policyTypes": ["Egress"], "egress": list(rules)})


def reached(wire: Wire, source: str, target: str) -> set[str]:
    probes = {"TCP 80": tcp, "UDP 80": udp, "SCTP 80": sctp}
    found = {name for name, probe in probes.items() if probe(wire, source, target, 80)}
    return found | ({"ICMP"} if ping(wire, source, target) else set())


EVERYTHING = {"TCP 80", "UDP 80", "SCTP 80", "ICMP"}


@pytest.mark.parametrize("source", ["a", "outside"])
def test_protocols(wire: Wire, source: str) -> None:
    assert reached(wire, source, "b") == EVERYTHING
    apply(wire)
    assert reached(wire, source, "b") == EVERYTHING
    apply(wire, DENY_B)
    assert reached(wire, source, "b") == set()
    apply(wire, DENY_B, ingress_of_b({}))
    assert reached(wire, source, "b") == EVERYTHING
    for protocol in ("TCP", "UDP", "SCTP"):
        apply(wire, DENY_B, ingress_of_b({"ports": [{"protocol": protocol, "port": 80}]}))
        assert reached(wire, source, "b") == {f"{protocol} 80"}
        apply(wire, DENY_B, ingress_of_b({"ports": [{"protocol": protocol}]}))
        assert reached(wire, source, "b") == {f"{protocol} 80"}


@pytest.mark.parametrize("target", ["b", "outside"])
def test_egress(wire: Wire, target: str) -> None:
    apply(wire, egress_of_a())
    assert reached(wire, "a", target) == set()
    assert reached(wire, target, "a") == EVERYTHING
    apply(wire, egress_of_a({"to": [{"ipBlock": {"cidr": f"{ADDRESSES[target]}/32"}}], "ports": [{"port": 80}]}))
    assert reached(wire, "a", target) == {"TCP 80"}


def test_ranges_and_names(wire: Wire) -> None:
    ranges = [
        {"port": 80},
        {"port": 255, "endPort": 257},
        {"port": "web"},
        {"protocol": "UDP", "port": 511, "endPort": 513},
    ]
    apply(wire, ingress_of_b({"ports": ranges}))
    for port, allowed in {79: 0, 80: 1, 81: 0, 254: 0, 255: 1, 257: 1, 258: 0, 8080: 0, 8081: 1, 20480: 0}.items():
        assert tcp(wire, "a", "b", port) == allowed, port
    # A single range is a match of its own, without a set.
    for port, allowed in {510: 0, 511: 1, 512: 1, 513: 1, 514: 0, 65281: 0}.items():
        assert udp(wire, "a", "b", port) == allowed, port


def test_a_name_is_resolved_at_the_destination(wire: Wire) -> None:
    apply(wire, egress_of_a({"ports": [{"port": "web"}]}))
    assert [tcp(wire, "a", target, port) for target in ("b", "outside") for port in (8081, 8082)] == [1, 0, 1, 0]
    apply(wire, egress_of_a({"ports": [{"port": "web"}]}), pods=(A, pod("b", PODS["b"], {"app": "b"})))
    assert not tcp(wire, "a", "b", 8081)
    assert not tcp(wire, "a", "outside", 8081)


def test_peers(wire: Wire) -> None:
    apply(wire, ingress_of_b({"from": [SELECT_A]}))
    assert [tcp(wire, source, "b", 80) for source in ("a", "outside")] == [True, False]
    block = {"ipBlock": {"cidr": "10.99.128.0/23", "except": [f"{PODS['a']}/32"]}}
    apply(wire, ingress_of_b({"from": [block]}))
    assert [tcp(wire, source, "b", 80) for source in ("a", "outside")] == [False, True]
    everywhere = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.99.129.0/24", "200.0.0.0/8"]}}
    apply(wire, ingress_of_b({"from": [everywhere]}))
    assert [tcp(wire, source, "b", 80) for source in ("a", "outside")] == [True, False]


def test_an_isolated_client_gets_its_replies_and_nothing_else(wire: Wire) -> None:
    apply(wire, policy("deny", {**SELECT_A, "policyTypes": ["Ingress"]}))
    assert tcp(wire, "a", "b", 80)
    assert udp(wire, "a", "b", 80)
    assert not tcp(wire, "b", "a", 80)


@pytest.mark.parametrize("forbidding", [DENY_B, egress_of_a()], ids=["ingress", "egress"])
def test_an_open_connection_is_cut(wire: Wire, forbidding: Item) -> None:
    apply(wire)
    with Tcp(wire, "a", "b", 80) as connection:
        assert connection.server is not None
        assert connection.open
        apply(wire, forbidding)
        assert not passes(connection.client, connection.server)
        assert not passes(connection.server, connection.client)
        apply(wire)
        # What was held back is sent again by TCP, and everything gets on.
        eventually(lambda: connection.open)


@pytest.mark.parametrize("forbidding", [DENY_B, egress_of_a()], ids=["ingress", "egress"])
def test_a_stream_from_a_server_is_cut(wire: Wire, forbidding: Item) -> None:
    apply(wire)
    with wire.socket("a", socket.SOCK_DGRAM) as client, wire.socket("b", socket.SOCK_DGRAM) as server:
        server.bind(("", 5000))
        client.connect((PODS["b"], 5000))
        client.send(b"subscribe")
        _, subscriber = server.recvfrom(100)
        server.connect(subscriber)
        assert passes(server, client)
        apply(wire, forbidding)
        assert not passes(server, client)
        apply(wire)
        assert passes(server, client)


def nat(wire: Wire, endpoint: str) -> None:
    """What kube-proxy does: a Service's port 8000 is the endpoint's 80, and a pod's own Service is masqueraded."""
    to_endpoint = f"ip daddr {SERVICE} tcp dport 8000 dnat to {endpoint}:80"
    to_itself = f"ip saddr {endpoint} ip daddr {endpoint} masquerade"
    wire.load(f"""table ip nat {{
        chain pre {{ type nat hook prerouting priority dstnat; {to_endpoint}; }}
        chain post {{ type nat hook postrouting priority srcnat; {to_itself}; }}
    }}""")


@pytest.mark.parametrize("target", ["b", "outside"])
def test_a_service_is_judged_by_its_endpoint(wire: Wire, target: str) -> None:
    nat(wire, ADDRESSES[target])
    block = {"ipBlock": {"cidr": f"{ADDRESSES[target]}/32"}}
    for rule, allowed in (
        ({"to": [block], "ports": [{"port": 80}]}, True),
        ({"to": [block], "ports": [{"port": 8000}]}, False),
        ({"to": [{"ipBlock": {"cidr": f"{SERVICE}/32"}}]}, False),
    ):
        apply(wire, egress_of_a(rule))
        with Tcp(wire, "a", target, 8000, SERVICE, target_port=80) as connection:
            assert connection.open == allowed, rule


def test_a_pod_reaches_itself_by_its_service(wire: Wire) -> None:
    nat(wire, PODS["b"])
    apply(wire, policy("deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))
    with Tcp(wire, "b", "b", 8000, SERVICE, target_port=80) as connection:
        assert connection.open
    with Tcp(wire, "a", "b", 8000, SERVICE, target_port=80) as connection:
        assert not connection.open


def test_the_node_reaches_its_pods_and_they_reach_it(wire: Wire) -> None:
    apply(wire, policy("deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))
    with Tcp(wire, "node", "b", 80, PODS["b"]) as connection:
        assert connection.open
    with Tcp(wire, "b", "node", 80, GATEWAY) as connection:
        assert connection.open


def test_what_conntrack_knows_nothing_of(wire: Wire) -> None:
    wire.shell(
        "nft", "table ip raw { chain prerouting { type filter hook prerouting priority raw; udp dport 80 notrack; }; }"
    )
    apply(wire)
    assert udp(wire, "outside", "b", 80)
    apply(wire, policy("deny", {**SELECT_A, "policyTypes": ["Ingress"]}))
    assert udp(wire, "outside", "b", 80), "b is free"
    for rule in ({}, {"ports": [{"protocol": "UDP"}]}):
        apply(wire, ingress_of_b(rule))
        assert not udp(wire, "outside", "b", 80)


def test_errors_belong_to_their_connection(wire: Wire) -> None:
    apply(wire, ingress_of_b({"ports": [{"protocol": "UDP", "port": 80}]}), egress_of_a())
    with wire.socket("outside", socket.SOCK_DGRAM) as client:
        client.connect((PODS["b"], 80))
        client.send(b"to a port without a listener")
        with pytest.raises(ConnectionRefusedError):
            client.recv(10)


def test_a_pod_that_is_not_known_yet_is_closed_once_there_are_policies(wire: Wire) -> None:
    apply(wire)
    assert tcp(wire, "a", "c", 80)
    apply(wire, policy("elsewhere", {"podSelector": {"matchLabels": {"app": "other"}}}))
    assert not tcp(wire, "a", "c", 80)
    assert not tcp(wire, "outside", "c", 80)
    assert tcp(wire, "c", "a", 80), "no policy isolates anybody's egress"
    apply(wire, policy("elsewhere", {"podSelector": {"matchLabels": {"app": "other"}}, "policyTypes": ["Egress"]}))
    assert tcp(wire, "a", "c", 80)
    assert not tcp(wire, "c", "a", 80)
    assert not tcp(wire, "c", "outside", 80)


def test_an_address_of_two_pods_is_closed(wire: Wire) -> None:
    double = pod("double", PODS["b"], {"app": "a"})
    elsewhere = policy("elsewhere", {"podSelector": {"matchLabels": {"app": "other"}}})
    apply(wire, elsewhere, pods=(A, B))
    assert tcp(wire, "a", "b", 80)
    apply(wire, elsewhere, pods=(A, B, double))
    assert not tcp(wire, "a", "b", 80)


@pytest.mark.parametrize("address", ["10.99.128.255", "255.255.255.255", "239.1.2.3"])
def test_what_goes_to_all_does_not_reach_an_isolated_pod(wire: Wire, address: str) -> None:
    def heard() -> bool:
        with wire.socket("a", socket.SOCK_DGRAM) as client, wire.socket("b", socket.SOCK_DGRAM) as server:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            server.bind(("", 5001))
            if address.startswith("239"):
                membership = socket.inet_aton(address) + socket.inet_aton(PODS["b"])
                server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            client.sendto(b"everybody", (address, 5001))
            try:
                return server.recv(100) == b"everybody"
            except TimeoutError:
                return False

    apply(wire)
    assert heard()
    apply(wire, DENY_B)
    assert not heard()


def test_no_way_around_by_ipv6(wire: Wire) -> None:
    def reached() -> bool:
        with (
            wire.socket("a", socket.SOCK_STREAM, family=socket.AF_INET6) as client,
            wire.socket("b", socket.SOCK_STREAM, family=socket.AF_INET6) as server,
        ):
            server.bind(("::", 80))
            server.listen()
            try:
                client.connect((link_local(wire, "b"), 80, 0, scope(wire, "a")))
            except OSError:
                return False
            return True

    eventually(reached)
    apply(wire, DENY_B)
    assert not reached()


@pytest.mark.parametrize("tag", [b"", struct.pack("!HH", 0x8100, 0)], ids=["plain", "VLAN 0"])
def test_no_way_around_by_frames_of_ones_own(wire: Wire, tag: bytes) -> None:
    def packet_socket() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        made.bind(("eth0", 0))
        return made

    def reached() -> bool:
        with wire.inside("a", packet_socket) as client, wire.socket("b", socket.SOCK_DGRAM) as server:
            server.bind(("", 80))
            client.send(mac(wire, "b") + mac(wire, "a") + tag + struct.pack("!H", 0x0800) + udp_packet("a", "b", 80))
            try:
                return bool(server.recv(100))
            except TimeoutError:
                return False

    apply(wire)
    assert reached()
    apply(wire, DENY_B)
    assert not reached()


def udp_packet(source: str, target: str, port: int) -> bytes:
    datagram = struct.pack("!HHHH", 40000, port, 8 + 4, 0) + b"word"
    ends = socket.inet_aton(PODS[source]) + socket.inet_aton(PODS[target])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 1, 0, 64, socket.IPPROTO_UDP, 0) + ends
    return head[:10] + struct.pack("!H", internet_checksum(head)) + head[12:] + datagram


def mac(wire: Wire, name: str) -> bytes:
    return bytes.fromhex(str(link(wire, name)["address"]).replace(":", ""))


def link_local(wire: Wire, name: str) -> str:
    (found,) = json.loads(ip("-j", "-6", "addr", "show", "dev", "eth0", "scope", "link", namespace=wire.name(name)))
    return str(found["addr_info"][0]["local"])


def scope(wire: Wire, name: str) -> int:
    return int(link(wire, name)["ifindex"])


def link(wire: Wire, name: str) -> Any:
    (found,) = json.loads(ip("-j", "link", "show", "dev", "eth0", namespace=wire.name(name)))
    return found


class Stream(threading.Thread):
    """Datagrams from a to a port of b, as fast as they go; counts those that fared otherwise than ``arrives`` says."""

    def __init__(self, wire: Wire, port: int, *, arrives: bool) -> None:
        super().__init__()
        self.sent = 0
        self.wrong: list[int] = []
        self._arrives = arrives
        self._end = threading.Event()
        self._client, self._server = wire.socket("a", socket.SOCK_DGRAM), wire.socket("b", socket.SOCK_DGRAM)
        self._server.bind(("", port))
        self._client.connect((PODS["b"], port))
        self._server.settimeout(WAIT_SECONDS if arrives else 0)

    def run(self) -> None:
        while not self._end.is_set():
            self._client.send(b"x")
            self.sent += 1
            try:
                arrived = self._server.recv(10) == b"x"
            except (TimeoutError, BlockingIOError):
                arrived = False
            if arrived != self._arrives:
                self.wrong.append(self.sent)

    def end(self) -> None:
        self._end.set()
        self.join()
        self._client.close()
        self._server.close()


def changing(number: int, *, isolated: bool) -> list[Item]:
    """Policies of a change: UDP 80 of b is always allowed; ``isolated`` says whether nothing else is, always."""
    udp_80 = {"ports": [{"protocol": "UDP", "port": 80}]}
    peers = [{"podSelector": {}}, {"ipBlock": {"cidr": f"10.0.{number}.0/24"}}]
    other = policy(f"other{number}", {**SELECT_A, "ingress": [{"ports": [{"port": number + 1}]}]})
    among = [[ingress_of_b(udp_80), other], [ingress_of_b({**udp_80, "from": peers})], [ingress_of_b(udp_80), DENY_B]]
    return [*among, [], [other]][number % (3 if isolated else 5)]


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "sometimes free"])
def test_replacing_the_rules_loses_no_packet_and_lets_none_slip_through(wire: Wire, isolated: bool) -> None:
    tables = [
        make_ruleset(world([A, B, REMOTE], changing(number, isolated=isolated)), HERE).table for number in range(40)
    ]
    wire.load(tables[0].text())
    streams = [Stream(wire, 80, arrives=True)]
    if isolated:
        streams.append(Stream(wire, 81, arrives=False))
    for stream in streams:
        stream.start()
    for old, new in pairwise(tables):
        for text in transactions(old, new):
            wire.load(text)
    for stream in streams:
        stream.end()
        assert stream.wrong == [], f"of {stream.sent}"
