"""What goes by a proxy, and what does not."""

from dataclasses import replace

import pytest

from kubeproof.node import between_hosts, proxies
from tests.unit.node.example import cluster

PROXY = "http://proxy.example.net:3128"


def test_without_a_proxy_there_is_nothing_to_say() -> None:
    assert proxies.environment(cluster()) == ""
    assert not proxies.is_used(cluster().settings)


def test_exceptions_are_worked_out() -> None:
    wanted = cluster(http_proxy=PROXY, no_proxy=(".example.org", "localhost"))
    assert proxies.exceptions(wanted) == (
        "localhost",
        "127.0.0.1",
        "192.0.2.0/24",
        "10.244.0.0/16",
        "10.96.0.0/12",
        ".svc",
        ".cluster.local",
        ".example.org",
        "master",
        "192.0.2.11",
        "node1",
        "192.0.2.12",
        "node2",
        "192.0.2.13",
    )


def test_another_node_restarts_no_runtime() -> None:
    wanted = cluster(http_proxy=PROXY)
    without_last = replace(wanted, nodes=wanted.nodes[:-1])
    assert proxies.environment(wanted) == proxies.environment(without_last)


@pytest.mark.parametrize(
    ("http", "https", "wanted"),
    [
        (PROXY, "", {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}),
        (PROXY, "http://other:1", {"HTTP_PROXY": PROXY, "HTTPS_PROXY": "http://other:1"}),
        ("", PROXY, {"HTTPS_PROXY": PROXY}),
    ],
)
def test_environment(http: str, https: str, wanted: dict[str, str]) -> None:
    text = proxies.environment(cluster(http_proxy=http, https_proxy=https))
    found = dict(line.split("=", 1) for line in text.splitlines())
    assert found.pop("NO_PROXY").startswith("'localhost,")
    assert {name: value.strip("'") for name, value in found.items()} == wanted


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        ("http://192.0.2.1:3142/kubernetes/", True),
        ("https://mirror.example.org/deb/", True),
        ("https://example.org/", True),
        ("https://notexample.org/", False),
        ("https://pkgs.k8s.io/core:/stable:/v1.31/deb/", False),
        ("", False),
    ],
)
def test_what_is_reached_directly(url: str, direct: bool) -> None:
    assert proxies.is_direct(cluster(http_proxy=PROXY, no_proxy=(".example.org",)), url) == direct


def test_apt_is_told_hosts_by_name() -> None:
    text = proxies.apt_configuration(cluster(http_proxy=PROXY, no_proxy=("mirror.example.org", "10.0.0.0/8")))
    assert text.splitlines() == [
        f'Acquire::http::Proxy "{PROXY}";',
        f'Acquire::https::Proxy "{PROXY}";',
        'Acquire::http::Proxy::192.0.2.1 "DIRECT";',
        'Acquire::https::Proxy::192.0.2.1 "DIRECT";',
        'Acquire::http::Proxy::mirror.example.org "DIRECT";',
        'Acquire::https::Proxy::mirror.example.org "DIRECT";',
    ]


def test_ports_by_role() -> None:
    wanted = cluster()
    worker, leader = (between_hosts.ports(wanted, role) for role in ("worker", "control-plane"))
    assert worker == ("10250/tcp", "10256/tcp", "8472/udp", "30000-33000/tcp", "30000-33000/udp")
    assert set(leader) == {*worker, "6443/tcp", "2379-2380/tcp", "10257/tcp", "10259/tcp"}
    assert between_hosts.sources(wanted) == ("10.244.0.0/16",)


def test_without_a_tunnel_hosts_reach_pods_by_their_own_addresses() -> None:
    wanted = cluster(cni="flannel", cni_backend="host-gw")
    assert not any(port.startswith("8472/") for port in between_hosts.ports(wanted, "worker"))
    assert between_hosts.sources(wanted) == ("10.244.0.0/16", "192.0.2.11", "192.0.2.12", "192.0.2.13")
