"""Kernels, runtimes, sources, packets between hosts, versions, and whose clusters there are."""

from dataclasses import replace
from typing import Any

import pytest

from kubeproof.rules.before_deploy import kernels, ownership, runtimes, sources, udp_paths, versions
from kubeproof.rules.before_deploy.inspection import Arrivals, Asked, Inspection, Reading
from kubeproof.rules.before_deploy.sources import UNTRIED, places
from kubeproof.state.iptables import Ruleset
from kubeproof.state.model import Link, Vxlan
from tests.unit.node.example import cluster
from tests.unit.rules.fit import FEATURES, facts, found, inspection, only

CONTAINERD = "///run/containerd/containerd.sock"
ALL = frozenset({"master", "node1", "node2"})


class TestKernels:
    @pytest.mark.parametrize("name", FEATURES)
    def test_each_feature(self, name: str) -> None:
        finding = only(kernels.findings, inspection(features={"node1": {**FEATURES, name: "no such thing"}}))
        assert (finding.name, finding.severity) == ("kernel-feature", "error")
        assert finding.found.endswith("(no such thing)")

    @pytest.mark.parametrize("name", FEATURES)
    def test_what_could_not_be_tried(self, name: str) -> None:
        tried = {other: result for other, result in FEATURES.items() if other != name}
        assert only(kernels.findings, inspection(features={"node1": tried})).severity == "warning"

    def test_without_a_tunnel_no_vxlan(self) -> None:
        wanted = cluster(cni="flannel", cni_backend="host-gw")
        assert found(kernels.findings, inspection(wanted, features={"node1": {**FEATURES, "vxlan": "no"}})) == []

    def test_each_mode_of_kube_proxy_wants_its_own(self) -> None:
        tried = {"node1": {**FEATURES, "ipvs": "no ip_vs ip_vs_rr"}}
        assert found(kernels.findings, inspection(features=tried)) == []
        finding = only(kernels.findings, inspection(cluster(kube_proxy_mode="ipvs"), features=tried))
        assert finding.found == "lacks what kube_proxy_mode ipvs needs (no ip_vs ip_vs_rr)"
        assert finding.remedy.startswith("use kube_proxy_mode = 'iptables', or boot a kernel")

    @pytest.mark.parametrize(("kernel", "wrong"), [("5.12.9", True), ("5.13.0-1", False), ("6.1.0-32-amd64", False)])
    def test_nftables_wants_a_kernel_of_its_own(self, kernel: str, wrong: bool) -> None:
        looked_at = inspection(cluster(kube_proxy_mode="nftables"), node1={"kernel": kernel})
        told = [item.found for item in kernels.findings(looked_at) if item.host == "node1"]
        assert told == [f"has the kernel {kernel}"] * wrong


class TestRuntimes:
    @pytest.mark.parametrize(
        ("there", "conflict"),
        [
            ({"packages": ("docker-ce", "containerd.io")}, True),
            ({"packages": ("docker.io", "containerd", "runc")}, False),
            ({"packages": ("podman",)}, False),
            ({"services": ("crio.service",)}, True),
            ({"services": ("k3s.service",)}, True),
            ({"services": ("firewalld.service",)}, False),
            ({"others_pods": True}, True),
        ],
    )
    def test_others(self, there: dict[str, Any], conflict: bool) -> None:
        wanted = [("runtime-conflict", "node1", "error")] if conflict else []
        assert found(runtimes.findings, inspection(node1=there)) == wanted

    def test_the_package_that_is_there_may_be_the_wanted_one(self) -> None:
        there = {"packages": ("docker-ce", "containerd.io")}
        assert found(runtimes.findings, inspection(cluster(docker_package="docker-ce"), node1=there)) == []

    def test_docker_configuration(self) -> None:
        assert only(runtimes.findings, inspection(node1={"docker_config": "{"})).name == "docker-config"

    @pytest.mark.parametrize(
        ("config", "flags", "said"),
        [
            ('{"hosts": ["tcp://0.0.0.0:2375"]}', (), "is to have hosts in"),
            ('{"hosts": ["tcp://0.0.0.0:2375"]}', ("--containerd=/run/x.sock",), ""),
            ('{"hosts": ["fd://"]}', ("-H", "fd://", "--tls=false"), "is to have hosts in"),
            ("", ("-H", "fd://"), ""),
            # DOCKER_OPTS of Debian, a drop-in of anybody's.
            ("", ("-Hfd://", "--insecure-registry=r:5000", "--exec-opt", "x"), "exec-opts, insecure-registries in"),
            ("", ("-s", "overlay2"), "storage-driver in"),
            ('{"data-root": "/x"}', ("-g", "/x"), "data-root in"),
            ('{"debug": true}', ("--debug",), "debug in"),
            ('{"userns-remap": "default"}', (), "has userns-remap"),
            ('{"userns-remap": ""}', (), ""),
            ('{"insecure-registries": "r:5000"}', (), "(insecure-registries is not a list of strings)"),
            ('{"a": 1,}', (), "cannot read"),
            ('{"a": 1} // mine', (), "cannot read"),
            ("\ufeff", (), ""),
            ("null", (), ""),
            ('{"insecure-registries": null, "debug": true, "debug": false}', (), ""),
        ],
    )
    def test_docker_configuration_that_does_not_go(self, config: str, flags: tuple[str, ...], said: str) -> None:
        findings = list(runtimes.findings(inspection(node1={"docker_config": config, "docker_flags": flags})))
        assert [(item.name, item.severity) for item in findings] == ([("docker-config", "error")] if said else [])
        assert said in "".join(item.found for item in findings)

    @pytest.mark.parametrize(("remembered", "warnings"), [(False, 1), (True, 0)])
    def test_what_of_it_cannot_stay(self, remembered: bool, warnings: int) -> None:
        there = {"docker_config": '{"log-driver": "journald"}', "remembered": remembered}
        expected = [("docker-config", "node1", "warning")] * warnings
        assert found(runtimes.findings, inspection(node1=there)) == expected

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("version = 2\nroot = '/data/containerd'\n", "has root = '/data/containerd' in"),
            ("imports = ['/etc/containerd/conf.d/*.toml']\n", "has imports in"),
            (
                '[plugins."io.containerd.grpc.v1.cri".containerd]\ndefault_runtime_name="nvidia"\n'
                '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]\n',
                "has default_runtime_name = 'nvidia', the runtime nvidia in",
            ),
            (
                "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes]\nkata = {}\nrunc = {}\n",
                "has the runtime kata",
            ),
            ("[plugins.cri.registry.mirrors.'docker.io']\nendpoint = ['https://m']\n", "has the registry's mirrors in"),
            ('disabled_plugins = ["cri"]\nroot = "/var/lib/containerd/"\n', ""),
            ("plugins = 3\n", ""),
            ("no toml", ""),
            ("", ""),
        ],
    )
    def test_containerds_own_settings_are_replaced(self, text: str, shown: str) -> None:
        wanted = cluster(container_runtime="containerd")
        findings = list(runtimes.findings(inspection(wanted, node1={"containerd_config": text})))
        assert [(item.name, item.severity) for item in findings] == (
            [("containerd-config", "warning")] if shown else []
        )
        assert shown in "".join(item.found for item in findings)

    @pytest.mark.parametrize("apparmor", ["", "ready", "installable", "missing"])
    def test_apparmor_without_its_parser(self, apparmor: str) -> None:
        wanted = [("apparmor", "node1", "error")] if apparmor == "missing" else []
        assert found(runtimes.findings, inspection(node1={"apparmor": apparmor})) == wanted

    def test_iptables_of_two_kinds(self) -> None:
        looked_at = inspection(master={"iptables": Ruleset("nf_tables")}, node1={"iptables": Ruleset("legacy")})
        finding = only(runtimes.findings, looked_at)
        assert (finding.name, finding.severity) == ("iptables-variant", "warning")
        assert finding.found == "have different iptables (master nf_tables, node1 legacy)"
        same = inspection(master={"iptables": Ruleset("nf_tables")}, node1={"iptables": Ruleset("nf_tables")})
        assert found(runtimes.findings, same) == []

    @pytest.mark.parametrize(("variant", "other"), [("nf_tables", "legacy"), ("legacy", "nft")])
    def test_rules_of_the_other_kind(self, variant: str, other: str) -> None:
        rules = {"iptables": Ruleset(variant), "other_iptables": Ruleset(incompatible=("nat",))}
        finding = only(runtimes.findings, inspection(node1=rules))
        assert (finding.name, finding.severity) == ("iptables-mixed", "warning")
        assert f"iptables-{other}-save" in finding.remedy


class TestSources:
    @pytest.mark.parametrize(
        ("kind", "answer", "expected"),
        [
            ("packages", "200", None),
            ("packages", "404", ("package-source", "error")),
            ("packages", "curl: (6) Could not resolve host: x", ("package-source", "error")),
            ("packages", "connected", None),
            ("archive", "curl: (28) timed out", ("package-source", "warning")),
            ("images", "401", None),
            ("images", "503", ("image-source", "error")),
            ("images", "407", ("image-source", "error")),
            ("images", UNTRIED, ("image-source", "warning")),
            ("packages", UNTRIED, ("package-source", "warning")),
        ],
    )
    def test_answers(self, kind: str, answer: str, expected: tuple[str, str] | None) -> None:
        looked_at = inspection(sources={"node1": (Asked("http://x/", kind, answer),)})
        wanted = [(expected[0], "node1", expected[1])] if expected else []
        assert found(sources.findings, looked_at) == wanted

    def test_where_a_host_fetches_from(self) -> None:
        wanted = cluster(
            http_proxy="http://proxy.example.net:3128",
            kuard_image="kuard:1",
            httpd_image="registry.example.net/httpd:1",
        )
        asked = places(wanted, wanted.nodes[1], facts("node1"), ("192.0.2.1:5000/podnet:1",))
        assert [(item.url, item.kind, item.proxied) for item in asked] == [
            ("http://192.0.2.1:3142/kubernetes/InRelease", "packages", False),
            ("http://192.0.2.1:5000/v2/", "images", False),
            ("https://registry.example.net/v2/", "images", True),
            ("https://registry-1.docker.io/v2/", "images", True),
        ]

    def test_packages_of_dnf(self) -> None:
        wanted = cluster(kubernetes_version="1.31.0", http_proxy="", demo=False)
        host = facts("master", system="rocky 9.4", architecture="arm64")
        urls = [item.url for item in places(wanted, wanted.nodes[0], host, ())]
        assert urls[:2] == [
            "https://pkgs.k8s.io/core:/stable:/v1.31/rpm/repodata/repomd.xml",
            "https://download.docker.com/linux/centos/9/aarch64/stable/repodata/repomd.xml",
        ]
        assert places(wanted, wanted.nodes[0], facts("master", system=""), ())[0].kind == "images"


class TestPackets:
    def test_those_that_do_not_arrive(self) -> None:
        heard = {"master": Arrivals(ALL), "node1": Arrivals(frozenset({"node2"})), "node2": Arrivals(ALL)}
        finding = only(udp_paths.findings, inspection(arrivals=heard))
        assert (finding.host, finding.found) == ("node1", "gets no packets at UDP 8472 from master")

    @pytest.mark.parametrize(
        ("begin", "ahead", "uncertain", "severity"),
        [
            (1000.0, 0.0, 0.1, "error"),
            (1004.5, 0.0, 0.1, "error"),
            # Five seconds later on a slow host; the same by a clock that is five seconds ahead.
            (1005.5, 0.0, 0.1, "warning"),
            (1005.5, 5.5, 0.1, "error"),
            (1000.0, -20.0, 0.1, "warning"),
            (1004.0, 0.0, 1.5, "warning"),
        ],
    )
    def test_those_that_did_not_try_at_the_same_time(
        self, begin: float, ahead: float, uncertain: float, severity: str
    ) -> None:
        heard = {
            "master": Arrivals(ALL, window=(1000.0, 1006.0)),
            "node1": Arrivals(frozenset({"node2"}), window=(begin, begin + 6)),
            "node2": Arrivals(ALL),
        }
        clocks = dict.fromkeys(ALL, Reading(0.0, 0.0)) | {"node1": Reading(ahead, uncertain)}
        assert found(udp_paths.findings, inspection(arrivals=heard, clocks=clocks)) == [("udp-path", "node1", severity)]
        unread = {**clocks, "node1": None}
        assert found(udp_paths.findings, inspection(arrivals=heard, clocks=unread)) == [
            ("udp-path", "node1", "warning")
        ]

    def test_between_nodes_nothing_is_told(self) -> None:
        """They stand for themselves; what counts is the one that is new."""
        heard = {"master": Arrivals(), "node1": Arrivals(), "node2": Arrivals(ALL)}
        node = {"kubelet_version": "1.20.2"}
        findings = list(udp_paths.findings(inspection(master=node, node1=node, arrivals=heard)))
        assert [item.found for item in findings] == ["gets no packets at UDP 8472 from node2"] * 2

    def test_one_that_could_not_try_is_no_deaf_one_nor_a_dumb_one(self) -> None:
        heard = {"master": Arrivals(trouble="no perl"), "node1": Arrivals(ALL), "node2": Arrivals(frozenset({"node1"}))}
        assert found(udp_paths.findings, inspection(arrivals=heard)) == [("udp-path", "master", "warning")]

    def test_who_listens_and_who_watches(self) -> None:
        link = Link(index=9, name="flannel.1", mac="", mtu=1450, operstate="UP", vxlan=_vxlan(8472))
        node = facts("master", kubelet_version="1.20.2", tunnels=(link,), udp_ports=(8472,))
        hosts = {"master": node, "node1": facts("node1"), "node2": facts("node2", services=("firewalld.service",))}
        assert udp_paths.modes(cluster(), hosts) == {"master": "watch", "node1": "listen", "node2": "watch"}
        hosts["node1"] = facts("node1", udp_ports=(8472,))
        assert "node1" not in udp_paths.modes(cluster(), hosts)

    def test_nothing_is_sent_where_nothing_is_new_or_there_is_no_tunnel(self) -> None:
        nodes = {name: facts(name, kubelet_version="1.20.2") for name in ALL}
        assert udp_paths.modes(cluster(), nodes) == {}
        new = {name: facts(name) for name in ALL}
        assert udp_paths.modes(cluster(cni="flannel", cni_backend="host-gw"), new) == {}
        assert udp_paths.modes(cluster(), {"master": new["master"]}) == {}


def _vxlan(port: int) -> Vxlan:
    return Vxlan(vni=1, port=port, local=None, underlay=None, learning=False)


class TestVersions:
    @pytest.mark.parametrize("own", [True, False])
    def test_nothing_is_known_of_a_package_of_the_users_own(self, own: bool) -> None:
        wanted = cluster(docker_package="docker-ce" if own else "")
        looked_at = inspection(wanted, node1={"system": "debian 13"})
        assert found(versions.findings, looked_at) == ([] if own else [("runtime-version", "node1", "error")])

    @pytest.mark.parametrize(
        ("version", "kernel", "ignored", "wrong"),
        [
            ("1.32.0", "4.18.0-553.el8", (), 1),
            ("1.32.0", "4.18.0-553.el8", ("SystemVerification",), 0),
            ("1.32.0", "4.19.1", (), 0),
            ("1.35.0", "", (), 0),
        ],
    )
    def test_kernel(self, version: str, kernel: str, ignored: tuple[str, ...], wrong: int) -> None:
        wanted = cluster(kubernetes_version=version, ignore_preflight_errors=ignored)
        names = [name for name, *_ in found(versions.findings, inspection(wanted, node1={"kernel": kernel}))]
        assert names.count("kernel-version") == wrong

    def test_packages_that_nobody_publishes(self) -> None:
        wanted = cluster(docker_package="docker-ce")
        looked_at = inspection(wanted, node1={"system": "rocky 9.4"})
        assert found(versions.findings, looked_at) == [("kubernetes-packages", "node1", "error")]


class TestOwnership:
    @pytest.mark.parametrize(
        ("version", "runtime", "kubelet", "socket", "said"),
        [
            ("1.20.2", "docker", "", "", ""),
            ("1.20.2", "docker", "1.20.2", "", ""),
            ("1.20.2", "containerd", "1.20.15", CONTAINERD, ""),
            ("1.31.0", "docker", "1.20.2", "", "is a node of Kubernetes 1.20.2, and kubernetes_version is of 1.31"),
            ("1.20.2", "docker", "1.31.0", CONTAINERD, "is a node of Kubernetes 1.31.0"),
            ("1.20.2", "containerd", "1.20.2", "", "speaks with Docker, and container_runtime is containerd"),
            ("1.20.2", "docker", "1.20.2", CONTAINERD, "speaks with /run/containerd/containerd.sock"),
            ("1.31.0", "docker", "1.31.2", "///run/cri-dockerd.sock", ""),
            ("1.31.0", "docker", "1.31.2", CONTAINERD, "container_runtime is docker"),
            ("1.35.0", "docker", "1.35.2", "", ""),
        ],
    )
    def test_a_host_that_is_a_node_already(
        self, version: str, runtime: str, kubelet: str, socket: str, said: str
    ) -> None:
        wanted = cluster(kubernetes_version=version, container_runtime=runtime)
        host = facts("node1", kubelet_version=kubelet, cri_socket=socket)
        changed = list(ownership.findings(Inspection(wanted, {"node1": host})))
        assert [said in item.found for item in changed] == ([True] if said else [])

    def test_somebody_elses(self) -> None:
        looked_at = inspection(node1={"foreign": ("/etc/kubernetes/kubelet.conf",)})
        assert found(ownership.findings, looked_at) == [("foreign-cluster", "node1", "error")]
        assert found(ownership.findings, replace(looked_at, hosts={})) == []
