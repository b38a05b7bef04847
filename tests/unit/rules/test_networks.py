from dataclasses import replace
from typing import Any

import pytest

from kubeproof.rules.before_deploy import networks
from tests.unit.node.example import cluster
from tests.unit.rules.fit import OnLink, addresses, facts, found, inspection, only

TWO = (OnLink("eth0", "198.51.100.12", 1500), OnLink("eth1", "192.0.2.12", 1500), OnLink("docker0", "172.17.0.1", 1500))


class TestAddresses:
    def test_an_address_that_is_not_there_is_told_with_those_that_are(self) -> None:
        elsewhere = (OnLink("eth0", "192.0.2.99", 1500), OnLink("eth1", "198.51.100.1", 1500))
        looked_at = inspection(node1={"addresses": elsewhere})
        finding = only(networks.findings, looked_at)
        assert finding.name == "node-address"
        assert finding.found == "does not have the address 192.0.2.12 but 192.0.2.99 on eth0, 198.51.100.1 on eth1"

    def test_of_several_interfaces_the_one_is_named(self) -> None:
        looked_at = inspection(node1={"addresses": TWO, "interfaces": ("eth0", "eth1")})
        assert found(networks.findings, looked_at) == []
        assert list(networks.notes(looked_at)) == ["node1: 192.0.2.12 is on eth1, of eth0, eth1"]
        assert list(networks.notes(inspection(node1={"addresses": TWO, "remembered": True}))) == []

    @pytest.mark.parametrize(("chosen", "default", "severity"), [("eth0", "eth1", "warning"), ("", "eth0", "warning")])
    def test_another_interface_than_the_nodes(self, chosen: str, default: str, severity: str) -> None:
        here = {"addresses": TWO, "interfaces": ("eth0", "eth1"), "default_link": default}
        looked_at = inspection(cluster(cni_interface=chosen), node1=here)
        mine = [item for item in networks.findings(looked_at) if item.host == "node1"]
        assert [(item.name, item.severity) for item in mine] == [("interface", severity)]
        assert "has its address 192.0.2.12 on eth1, and the pod network would use eth0" in mine[0].found

    def test_an_interface_that_is_not_there(self) -> None:
        looked_at = inspection(cluster(cni_interface="eth7"))
        assert found(networks.findings, looked_at) == [
            ("interface", name, "error") for name in ("master", "node1", "node2")
        ]


class TestNetworks:
    @pytest.mark.parametrize(
        ("route", "expected"),
        [
            (("10.244.3.0/24", "eth0"), ["error"]),
            (("10.96.0.0/12", "tun0"), ["error"]),
            (("10.0.0.0/8", "tun0"), ["warning", "warning"]),
            (("172.17.5.0/24", "eth0"), ["warning"]),
            (("172.17.0.0/16", "docker0"), []),
            (("10.244.3.0/24", "flannel.1"), []),
            (("192.168.0.0/16", "eth0"), []),
            (("10.244.9.9", "tun0"), ["error"]),
        ],
    )
    def test_routes(self, route: tuple[str, str], expected: list[str]) -> None:
        found_here = found(networks.findings, inspection(node1={"routes": (route,)}))
        assert found_here == [("cidr-conflict", "node1", severity) for severity in expected]

    @pytest.mark.parametrize(
        "routes",
        [
            ("0.0.0.0/1", "128.0.0.0/1"),
            ("0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"),
            ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
            # What is left of everything when a VPN leaves 203.0.113.0/24 out, shortened.
            ("0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/5", "200.0.0.0/7", "202.0.0.0/8"),
        ],
    )
    def test_a_way_to_everywhere_is_no_conflict(self, routes: tuple[str, ...]) -> None:
        ways = tuple((route, "tun0") for route in routes)
        assert found(networks.findings, inspection(node1={"routes": (("192.0.2.0/24", "eth0"), *ways)})) == []

    def test_beside_it_a_route_of_pods_is_one(self) -> None:
        routes = (("0.0.0.0/1", "tun0"), ("128.0.0.0/1", "tun0"), ("10.244.3.0/24", "tun0"))
        finding = only(networks.findings, inspection(node1={"routes": routes}))
        assert (finding.severity, finding.remedy) == (
            "error",
            "remove that route (`ip route show table all 10.244.3.0/24` there)",
        )

    def test_the_network_that_is_named_is_free_on_all_hosts(self) -> None:
        looked_at = inspection(node1={"routes": (("10.0.0.0/8", "tun0"),)})
        others = {**looked_at.hosts, "node2": facts("node2", routes=(("172.16.0.0/15", "eth0"),))}
        first, _ = [item for item in networks.findings(replace(looked_at, hosts=others)) if item.host == "node1"]
        assert first.remedy.startswith("choose another pod_cidr, e.g. 172.18.0.0/16, or remove that route")

    @pytest.mark.parametrize(
        ("destination", "remembered", "wrong"),
        [
            # Guards around private networks: pods have routes of their own, Services have none.
            ("10.240.0.0/12", False, []),
            ("10.0.0.0/8", False, ["service_cidr"]),
            ("10.100.0.0/16", True, ["service_cidr"]),
            # Calico's, of the addresses that it had for the host's pods.
            ("10.244.17.0/26", False, ["pod_cidr"]),
            ("10.244.17.0/26", True, []),
            ("192.168.0.0/16", False, []),
        ],
    )
    def test_routes_to_nowhere(self, destination: str, remembered: bool, wrong: list[str]) -> None:
        looked_at = inspection(node1={"unreachable": (destination,), "remembered": remembered})
        findings = list(networks.findings(looked_at))
        assert [item.severity for item in findings] == ["error"] * len(wrong)
        assert all(f"overlaps {name} " in item.found for name, item in zip(wrong, findings, strict=True))

    @pytest.mark.parametrize("link", ["kube-ipvs0", "nodelocaldns", "kube-bridge", "cilium_host", "cbr0", "tunl0"])
    def test_links_of_other_networks_are_leftovers_and_no_conflict(self, link: str) -> None:
        there = (*addresses("node1"), OnLink(link, "10.96.0.10", 1500), OnLink(link, "10.244.1.1", 1))
        assert (
            found(networks.findings, inspection(node1={"addresses": there, "interfaces": ("lo", "eth0", link)})) == []
        )

    @pytest.mark.parametrize(
        ("config", "link", "wanted"),
        [
            ("", "172.17.0.1", []),
            ('{"bip": "10.244.0.1/16"}', "", ["pod_cidr"]),
            ('{"bip": "192.0.2.1/24"}', "", ["node_network"]),
            ('{"bip": "192.168.5.1/24"}', "", []),
            ('{"bip": "odd"}', "", []),
            ('{"default-address-pools": [{"base": "10.100.0.0/16", "size": 24}]}', "10.100.0.1", ["service_cidr"]),
            ('{"bridge": "none"}', "", []),
        ],
    )
    def test_dockers_own_bridge(self, config: str, link: str, wanted: list[str]) -> None:
        there = (*addresses("node1"), *([OnLink("docker0", link, 1500)] if link else []))
        looked_at = inspection(node1={"addresses": there, "docker_config": config})
        findings = [item.found for item in networks.findings(looked_at)]
        told = [text.partition("overlaps ")[2].split()[0] for text in findings if "for Docker's bridge docker0" in text]
        assert told == wanted

    def test_a_route_to_where_docker_has_its_bridge_elsewhere(self) -> None:
        moved = inspection(node1={"routes": (("172.17.5.0/24", "eth0"),), "docker_config": '{"bip": "192.168.5.1/24"}'})
        assert found(networks.findings, moved) == []

    def test_routes_of_a_cluster_that_is_there(self) -> None:
        by_gateway = (("10.244.1.0/24", "eth0"),)
        assert found(networks.findings, inspection(node1={"routes": by_gateway, "remembered": True})) == []

    def test_an_address_without_a_route(self) -> None:
        there = (*addresses("node1"), OnLink("wg0", "10.244.7.7", 1420))
        assert found(networks.findings, inspection(node1={"addresses": there})) == [("cidr-conflict", "node1", "error")]

    @pytest.mark.parametrize(("resolver", "wrong"), [("10.96.0.53", 1), ("10.96.0.10", 0), ("::1", 0)])
    def test_name_servers(self, resolver: str, wrong: int) -> None:
        assert len(found(networks.findings, inspection(node1={"resolvers": (resolver,)}))) == wrong


class TestPorts:
    def test_those_of_a_worker(self) -> None:
        finding = only(networks.findings, inspection(node1={"tcp_ports": (22, 6443, 10248, 10250)}))
        assert (finding.name, finding.found) == ("port-in-use", "has TCP ports 10248, 10250 in use")

    def test_those_of_a_control_plane(self) -> None:
        looked_at = inspection(master={"tcp_ports": (2379, 2380, 6443, 10257)})
        assert only(networks.findings, looked_at).found.startswith("has TCP ports 2379, 2380")

    def test_node_ports(self) -> None:
        looked_at = inspection(node1={"tcp_ports": (22, *range(31000, 31007)), "udp_ports": (8472,)})
        finding = only(networks.findings, looked_at)
        assert (finding.name, finding.severity) == ("node-port-in-use", "warning")
        assert "ports 31000, 31001, 31002, 31003, 31004 and 2 more" in finding.found

    @pytest.mark.parametrize("here", [{"remembered": True}, {"foreign": ("/etc/kubernetes/x",)}])
    def test_a_cluster_has_its_own(self, here: dict[str, Any]) -> None:
        assert found(networks.findings, inspection(node1={"tcp_ports": (10250,), **here})) == []
