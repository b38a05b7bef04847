"""Cluster DNS: the hosts file's text, and what dnsmasq answers from it."""

import shutil
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from agents.dns.records import Endpoint, Service, hosts_file, read_endpoints, read_service, reverse_zones
from agents.dns.server import Config, Dnsmasq, command, upstream_servers

DOMAIN = "cluster.local"
NXDOMAIN, NOERROR, REFUSED = 3, 0, 5
A, PTR, AAAA = 1, 12, 28


def service(name: str, *addresses: str, headless: bool = False) -> Service:
    return Service(name, "default", tuple(IPv4Address(address) for address in addresses), headless)


KUBERNETES = service("kubernetes", "10.1.0.1")
WEB = service("web", headless=True)
ENDPOINTS = (Endpoint(IPv4Address("10.244.1.2"), "web-0"), Endpoint(IPv4Address("10.244.2.2")))


def test_service_with_cluster_ip() -> None:
    assert (
        hosts_file({"default/kubernetes": KUBERNETES}, {}, DOMAIN) == "10.1.0.1 kubernetes.default.svc.cluster.local\n"
    )


def test_endpoints_of_a_service_with_cluster_ip_are_not_named() -> None:
    text = hosts_file({"default/kubernetes": KUBERNETES}, {"default/kubernetes": ENDPOINTS}, DOMAIN)
    assert "10.244" not in text


def test_headless_service() -> None:
    assert hosts_file({"default/web": WEB}, {"default/web": ENDPOINTS}, DOMAIN).splitlines() == [
        "10.244.1.2 web-0.web.default.svc.cluster.local web.default.svc.cluster.local",
        "10.244.2.2 10-244-2-2.web.default.svc.cluster.local web.default.svc.cluster.local",
    ]


def test_headless_service_without_endpoints_has_no_name() -> None:
    assert hosts_file({"default/web": WEB}, {}, DOMAIN) == ""


@pytest.mark.parametrize(
    ("spec", "addresses", "headless"),
    [
        ({"clusterIP": "10.1.0.1", "clusterIPs": ["10.1.0.1"]}, ["10.1.0.1"], False),
        ({"clusterIP": "10.1.0.1"}, ["10.1.0.1"], False),
        ({"clusterIP": "None", "clusterIPs": ["None"]}, [], True),
        ({"clusterIPs": ["fd00::1", "10.1.0.1"]}, ["10.1.0.1"], False),
        ({"type": "ExternalName", "externalName": "example.org"}, [], False),
    ],
)
def test_read_service(spec: dict[str, object], addresses: list[str], headless: bool) -> None:
    item = {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}
    assert read_service(item) == service("web", *addresses, headless=headless)


def test_read_endpoints_takes_the_ready_ones_once() -> None:
    subset = {
        "addresses": [{"ip": "10.244.2.2"}, {"ip": "10.244.1.2", "hostname": "web-0"}, {"ip": "fd00::2"}],
        "notReadyAddresses": [{"ip": "10.244.1.9"}],
    }
    assert read_endpoints({"subsets": [subset, subset]}) == ENDPOINTS
    assert read_endpoints({}) == ()


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("10.1.0.0/16", ["1.10.in-addr.arpa"]),
        ("10.96.0.0/12", [f"{byte}.10.in-addr.arpa" for byte in range(96, 112)]),
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("192.168.4.0/23", ["4.168.192.in-addr.arpa", "5.168.192.in-addr.arpa"]),
        ("192.168.4.2/31", ["2.4.168.192.in-addr.arpa", "3.4.168.192.in-addr.arpa"]),
    ],
)
def test_reverse_zones(network: str, zones: list[str]) -> None:
    assert reverse_zones(IPv4Network(network)) == zones


def test_upstream_servers_are_those_a_pod_can_use() -> None:
    text = "search lan\nnameserver 127.0.0.53\nnameserver 192.168.1.1\nnameserver fe80::1\nnameserver 10.1.0.10\n#x\n"
    assert upstream_servers(text, [IPv4Address("10.1.0.10")]) == ["192.168.1.1"]
    assert upstream_servers("options ndots:1\n") == []


def test_command_forwards_nothing_of_the_cluster() -> None:
    words = command(Config(DOMAIN, (IPv4Network("10.1.0.0/16"),)), ["192.168.1.1"])
    assert {"--no-resolv", "--local=/cluster.local/", "--local=/1.10.in-addr.arpa/", "--server=192.168.1.1"} <= set(
        words
    )


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, name: str, kind: int = A) -> tuple[int, int, bytes]:
    """Response code, number of answers and the raw answer of one query."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", port))
        client.send(query)
        answer = client.recv(4096)
    return answer[3] & 15, struct.unpack(">H", answer[6:8])[0], answer


def until_answered(port: int, name: str, code: int) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            last = ask(port, name)[0]
        except OSError:
            last = -1
        if last == code:
            return
        assert time.monotonic() < deadline, f"{name}: response code {last}, not {code}"
        time.sleep(0.02)


@pytest.fixture
def dnsmasq(tmp_path: Path) -> Iterator[tuple[Dnsmasq, int]]:
    if shutil.which("dnsmasq") is None:
        pytest.skip("dnsmasq is not installed: apt-get install dnsmasq-base")
    port = free_port()
    networks = (IPv4Network("10.1.0.0/16"), IPv4Network("10.244.0.0/16"))
    server = Dnsmasq(Config(DOMAIN, networks, tmp_path, port), [])
    server.serve(hosts_file({"default/kubernetes": KUBERNETES, "default/web": WEB}, {"default/web": ENDPOINTS}, DOMAIN))
    until_answered(port, f"kubernetes.default.svc.{DOMAIN}", NOERROR)
    yield server, port
    server.stop()
    assert server.exit_code() is not None


def test_dnsmasq_answers(dnsmasq: tuple[Dnsmasq, int]) -> None:
    port = dnsmasq[1]
    code, count, answer = ask(port, f"kubernetes.default.svc.{DOMAIN}")
    assert (code, count, answer[-4:]) == (NOERROR, 1, bytes([10, 1, 0, 1]))
    assert ask(port, f"kubernetes.default.svc.{DOMAIN}", AAAA)[:2] == (NOERROR, 0)
    assert ask(port, f"web.default.svc.{DOMAIN}")[:2] == (NOERROR, 2)
    assert ask(port, f"web-0.web.default.svc.{DOMAIN}")[:2] == (NOERROR, 1)
    assert ask(port, f"nobody.default.svc.{DOMAIN}")[0] == NXDOMAIN
    code, count, answer = ask(port, "1.0.1.10.in-addr.arpa", PTR)
    assert (code, count) == (NOERROR, 1)
    assert b"kubernetes\x07default\x03svc" in answer
    assert b"\x05web-0\x03web" in ask(port, "2.1.244.10.in-addr.arpa", PTR)[2]
    assert ask(port, "9.9.244.10.in-addr.arpa", PTR)[0] == NXDOMAIN
    assert ask(port, "example.org")[0] == REFUSED


def test_dnsmasq_follows_changes(dnsmasq: tuple[Dnsmasq, int]) -> None:
    server, port = dnsmasq
    text = hosts_file({"default/new": service("new", "10.1.0.2")}, {}, DOMAIN)
    assert server.serve(text)
    until_answered(port, f"new.default.svc.{DOMAIN}", NOERROR)
    until_answered(port, f"kubernetes.default.svc.{DOMAIN}", NXDOMAIN)
    assert not server.serve(text)
    assert server.exit_code() is None
