"""Whole deploys with flannel and Canal, and everything that is refused before a host is changed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeproof.networks import documents
from kubeproof.networks.artifacts import CONFIGURATIONS
from tests.unit.deploy.phases.fake_cluster import ADDRESSES, FakeCluster, Run, host_facts, ready_objects
from tests.unit.deploy.phases.test_deploy import CHANGES, TRACEBACK
from tests.unit.networks import made_up, upstream

FOLDER = "/var/lib/kubeproof-node/manifests"
DAEMON_SETS = {
    "flannel": "kube-flannel/kube-flannel-ds",
    "canal": "kube-system/canal",
    "calico": "kube-system/calico-node",
}
BOOT_GUARD = "/etc/tmpfiles.d/kubeproof-podnet.conf"
PLUGINS = "bridge\nhost-local\nloopback\nportmap"


@pytest.fixture
def hosts(tmp_path: Path) -> FakeCluster:
    return FakeCluster(tmp_path)


def options(**data: object) -> list[str]:
    """Settings in pyinfra's command line."""
    return [word for name, value in data.items() for word in ("--data", f"{name}={value}")]


def ready_network(cni: str) -> list[dict[str, Any]]:
    """A cluster in which the network is ready, its Deployments too."""
    objects = ready_objects(DAEMON_SETS[cni])
    demo = next(item for item in objects if item["kind"] == "Deployment")
    metadata = {"namespace": "kube-system", "name": "calico-kube-controllers", "generation": 1}
    return [*objects, {**demo, "metadata": metadata}]


def deployed(hosts: FakeCluster, text: str, cni: str, *words: str, **data: object) -> Run:
    """A deploy with a manifest in a file."""
    file = hosts.folder / "manifest.yaml"
    file.write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    hosts.answer("get nodes,", when=["@api"], stdout=json.dumps({"items": ready_network(cni)}))
    hosts.answer("cd /opt/cni/bin", stdout=PLUGINS)
    values = {"cni": cni, "cni_manifest": file, "cni_manifest_sha256": digest, "podnet_image": "", **data}
    return hosts.run("deploy.py", *(words or ("-y",)), *options(**values))


def placed(run: Run, path: str) -> dict[str, str]:
    """What a file that was put there holds, by host."""
    return {item.host: item.stdin or "" for item in run.commands if item.file == path}


LINKS = ("lo", "eth0")


def applied(run: Run, cni: str) -> dict[str, Any]:
    """The objects that were put onto the control plane host, by kind."""
    (text,) = [item.stdin for item in run.commands if item.file == f"{FOLDER}/{cni}.yaml"]
    return {item["kind"]: item for item in yaml.safe_load_all(text or "")}


def refused(run: Run, *said: str) -> None:
    assert run.code == 1, run.output
    for text in said:
        assert text in run.output
    assert not run.ran(CHANGES)
    assert not any(item.file for item in run.commands)
    assert TRACEBACK not in run.output


class TestDeploy:
    def test_flannel(self, hosts: FakeCluster) -> None:
        run = deployed(hosts, made_up.FLANNEL, "flannel", pod_cidr="10.9.0.0/16", vxlan_vni=7, cni_backend="vxlan")
        assert run.code == 0, run.output
        objects = applied(run, "flannel")
        config = json.loads(objects["ConfigMap"]["data"]["net-conf.json"])
        assert config == {"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}
        for name in ADDRESSES:
            assert run.ran(
                "docker pull|for image in .*example.net/flannel-io/plugin:v1.*example.net/flannel-io/flannel:v1", name
            )
            assert run.ran("cd /opt/cni/bin", name)
        apply = run.places(f"apply --filename {FOLDER}/flannel.yaml", "master")[0]
        assert run.places("kubeadm init", "master")[0] < apply < min(run.places("kubeadm join"))
        assert not run.ran("podnet.yaml")
        assert not placed(run, BOOT_GUARD)

    def test_canal(self, hosts: FakeCluster) -> None:
        hosts.rules[:0] = [host_facts(name, links=(*LINKS, "eth1")) for name in ADDRESSES]
        run = deployed(hosts, made_up.CANAL, "canal", cni_image_repository="", cni_interface="eth1")
        assert run.code == 0, run.output
        objects = applied(run, "canal")
        assert objects["PodDisruptionBudget"]["apiVersion"] == "policy/v1beta1"
        variables = objects["DaemonSet"]["spec"]["template"]["spec"]["containers"][-1]["env"]
        assert variables == [{"name": "FLANNELD_IFACE", "value": "eth1"}]
        felix = objects["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]
        assert {"name": "CALICO_IPV4POOL_CIDR", "value": "10.244.0.0/16"} in felix["env"]
        assert "applied as policy/v1beta1" in run.output
        assert not placed(run, BOOT_GUARD)
        assert run.ran("docker.io/calico/cni:v1 docker.io/calico/node:v1 docker.io/flannel/flannel:v1", "node1")

    def test_calico(self, hosts: FakeCluster) -> None:
        run = deployed(hosts, made_up.CALICO, "calico", cni_backend="ipip")
        assert run.code == 0, run.output
        objects = applied(run, "calico")
        data = objects["ConfigMap"]["data"]
        assert (data["CALICO_IPV4POOL_IPIP"], data["CALICO_IPV4POOL_VXLAN"]) == ("Always", "Never")
        # What 20 bytes leave of the smallest interface.
        assert data["veth_mtu"] == "1480"
        (felix,) = objects["DaemonSet"]["spec"]["template"]["spec"]["containers"]
        assert {"name": "IP_AUTODETECTION_METHOD", "value": "kubernetes-internal-ip"} in felix["env"]
        assert not placed(run, BOOT_GUARD)

    def test_canals_pods_fit_the_smallest_tunnel(self, hosts: FakeCluster) -> None:
        for name, mtu in (("master", 1500), ("node1", 1460), ("node2", 9000)):
            hosts.rules.insert(0, host_facts(name, mtu=mtu))
        run = deployed(hosts, made_up.CANAL, "canal")
        assert applied(run, "canal")["ConfigMap"]["data"]["veth_mtu"] == "1410"
        run = deployed(hosts, made_up.CANAL, "canal", cni_mtu=1300)
        assert applied(run, "canal")["ConfigMap"]["data"]["veth_mtu"] == "1300"

    @pytest.mark.parametrize(("project", "version"), [("flannel", "v0.20.2"), ("canal", "v3.24.6")])
    def test_published(self, hosts: FakeCluster, project: str, version: str) -> None:
        text = upstream.manifest(upstream.pinned(project, version))
        # Its sum is a known one: nothing has to be set for a copy of it.
        run = deployed(hosts, text, project, cni_manifest_sha256="")
        if project == "canal":
            assert run.code != 0
            assert not run.ran(CHANGES)
            assert "[error] cni-untried: canal v3.24.6 is for Kubernetes 1.22 to 1.25 by its project" in run.output
            assert (
                "[error] cni-host-path node1: has no /sys/fs/bpf, a Directory that this manifest mounts" in run.output
            )
            hosts.answer("/sys/fs/bpf", stdout="Directory /sys/fs/bpf")
            hosts.settings = {"ignore_findings": ["cni-untried"]}
            run = deployed(hosts, text, project, cni_manifest_sha256="")
        assert run.code == 0, run.output
        (written,) = [item.stdin for item in run.commands if item.file == f"{FOLDER}/{project}.yaml"]
        before, after = documents.load(text, "it"), documents.load(written or "", "it")
        assert upstream.by_identity(before).keys() == upstream.by_identity(after).keys()

    def test_plan_changes_nothing(self, hosts: FakeCluster) -> None:
        run = deployed(hosts, made_up.FLANNEL, "flannel", "--dry")
        assert run.code == 0, run.output
        assert "Apply flannel" in run.output
        assert not run.ran(CHANGES)
        assert not any(item.file for item in run.commands)

    def test_it_is_not_over_before_the_network_is_ready(self, hosts: FakeCluster) -> None:
        file = hosts.folder / "manifest.yaml"
        file.write_text(made_up.FLANNEL)
        # A plan, since nobody waits five minutes for it here; all but flannel is ready in this cluster.
        hosts.flags = ("@api",)
        run = hosts.run("deploy.py", "--dry", *options(cni="flannel", **self._manifest(hosts)))
        assert "Wait for nodes and system pods" in run.output

    @staticmethod
    def _manifest(hosts: FakeCluster) -> dict[str, object]:
        file = hosts.folder / "manifest.yaml"
        return {"cni_manifest": file, "cni_manifest_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}

    def test_plugins_that_no_package_brought(self, hosts: FakeCluster) -> None:
        file = hosts.folder / "manifest.yaml"
        file.write_text(made_up.FLANNEL)
        hosts.answer("cd /opt/cni/bin", host="node1", stdout="bridge")
        hosts.answer("cd /opt/cni/bin", host="node2", stdout=PLUGINS)
        run = hosts.run("deploy.py", "-y", *options(cni="flannel", **self._manifest(hosts)))
        assert run.code == 1
        assert "/opt/cni/bin lacks host-local, loopback, portmap" in run.output
        assert not run.ran("kubeadm join", "node1")
        assert TRACEBACK not in run.output

    def test_podnet_needs_none_of_it_but_no_pod_may_start_before_it(self, hosts: FakeCluster) -> None:
        run = hosts.run("deploy.py", "-y")
        assert run.code == 0, run.output
        guards = placed(run, BOOT_GUARD)
        assert guards.keys() == ADDRESSES.keys()
        assert {text.splitlines()[-1] for text in guards.values()} == {f"r! {CONFIGURATIONS}/10-podnet.conflist"}
        assert not run.ran("cd /opt/cni/bin")
        assert run.ran(f"apply --filename {FOLDER}/podnet.yaml", "master")


class TestRefusals:
    def test_wrong_sum(self, hosts: FakeCluster) -> None:
        found = hashlib.sha256(made_up.FLANNEL.encode()).hexdigest()
        run = deployed(hosts, made_up.FLANNEL, "flannel", cni_manifest_sha256="a" * 64)
        refused(run, f"has SHA-256 {found}, expected {'a' * 64}; nothing is applied")

    def test_unknown_sum(self, hosts: FakeCluster) -> None:
        refused(deployed(hosts, made_up.FLANNEL, "flannel", cni_manifest_sha256=""), "cni_manifest_sha256: is empty")

    def test_no_such_file_and_a_finding_on_a_host_together(self, hosts: FakeCluster) -> None:
        hosts.rules.insert(0, host_facts("node1", cni_files="00-mine.conflist", links=(*LINKS, "cni0", "flannel.1")))
        run = hosts.run(
            "deploy.py", "-y", *options(cni="flannel", cni_manifest="/no/such.yaml", cni_manifest_sha256="a" * 64)
        )
        leftovers = "/etc/cni/net.d/00-mine.conflist, link cni0, link flannel.1"
        refused(run, "/no/such.yaml cannot be read", f"that is not Kubeproof's ({leftovers})")

    def test_manifest_of_another_shape(self, hosts: FakeCluster) -> None:
        text = made_up.FLANNEL.replace("net-conf.json", "network.json")
        refused(deployed(hosts, text, "flannel"), "has no key net-conf.json in ConfigMap kube-flannel-cfg")

    def test_kind_that_is_not_served(self, hosts: FakeCluster) -> None:
        text = made_up.FLANNEL.replace("apps/v1", "extensions/v1beta1")
        refused(
            deployed(hosts, text, "flannel"),
            "DaemonSet kube-flannel/kube-flannel-ds is extensions/v1beta1, which Kubernetes 1.20 does not serve",
        )

    def test_another_network_in_a_running_cluster(self, hosts: FakeCluster) -> None:
        hosts.rules.insert(
            0, host_facts("node1", remembered="x", cni_files="10-podnet.conflist", links=(*LINKS, "flannel.1"))
        )
        refused(
            deployed(hosts, made_up.FLANNEL, "flannel"),
            "node1: has the pod network podnet (/etc/cni/net.d/10-podnet.conflist)",
            "to change to flannel, take the cluster away with `./inv reset` first",
        )

    def test_back_to_podnet(self, hosts: FakeCluster) -> None:
        hosts.rules.insert(0, host_facts("master", remembered="x", cni_files="10-canal.conflist\ncalico-kubeconfig"))
        refused(hosts.run("deploy.py", "-y"), "master: has the pod network canal (/etc/cni/net.d/10-canal.conflist)")

    def test_the_same_network_is_gone_on_with(self, hosts: FakeCluster) -> None:
        here = host_facts(
            "node1",
            remembered="x",
            cni_files="10-flannel.conflist\n87-podman.conflist",
            links=(*LINKS, "cni0", "flannel.1"),
            network_files="/run/flannel/subnet.env",
            tcp_ports="*:8081",
        )
        hosts.rules.insert(0, here)
        assert deployed(hosts, made_up.FLANNEL, "flannel").code == 0

    def test_ports_vni_and_interface(self, hosts: FakeCluster) -> None:
        tunnel = {
            "ifindex": 9,
            "ifname": "vxlan7",
            "mtu": 1450,
            "operstate": "UP",
            "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 7, "port": 8472, "learning": True}},
        }
        hosts.rules[:0] = [
            host_facts("node1", tunnels=[tunnel], tcp_ports="0.0.0.0:8081", udp_ports="*:8472"),
            host_facts("node2", udp_ports="0.0.0.0:8472", links=(*LINKS, "eth1")),
        ]
        run = deployed(hosts, made_up.FLANNEL, "flannel", vxlan_vni=7, cni_interface="eth1", api_port=8081)
        refused(
            run,
            "[error] cni-ports: api_port is taken by a pod of flannel on every node (8081)",
            "[error] cni-ports node1: has TCP port 8081 in use",
            "node1: has VNI 7 at UDP port 8472 in use by link vxlan7",
            "node1: has no interface eth1 but lo, eth0, vxlan7",
            "node2: has UDP port 8472 in use by a program",
        )
        assert "node1: has UDP port" not in run.output

    def test_a_plugin_that_nobody_brings(self, hosts: FakeCluster) -> None:
        text = made_up.FLANNEL.replace("hostPath: {path: /opt/cni/bin}", "hostPath: {path: /elsewhere}")
        hosts.rules.insert(0, host_facts("node2", plugins="flannel"))
        run = deployed(hosts, text, "flannel")
        refused(run, "node1: has no /opt/cni/bin/flannel, which this manifest of flannel does not bring")
        assert "node2: has no" not in run.output

    def test_policies_that_nobody_would_enforce(self, hosts: FakeCluster) -> None:
        refused(
            deployed(hosts, made_up.FLANNEL, "flannel", network_policy="true"),
            "network_policy: cannot be had: flannel enforces no NetworkPolicy",
        )


class TestReset:
    def test_what_flannel_and_calico_leave_goes(self, hosts: FakeCluster) -> None:
        hosts.flags = tuple(f"{name} remembered" for name in ADDRESSES)
        hosts.answer("ls /sys/class/net/cni0/brif", stdout="flannel.7\ncali0123456789a")
        routes = "10.244.1.0/24 via 192.0.2.12 dev eth0\nblackhole 10.244.2.0/26"
        hosts.answer("ip -4 route show root 10.244.0.0/16", stdout=routes)
        hosts.answer("ip -4 -o addr show dev tunl0 to 10.244.0.0/16", stdout="tunl0")
        hosts.answer("ipset list", stdout="cali40s:x")
        files = "/etc/cni/net.d/10-canal.conflist\n/etc/cni/net.d/calico-kubeconfig\n/opt/cni/bin/flannel"
        hosts.answer("^.*for path in .*conflist", stdout=files)
        run = hosts.run("reset.py", "-y", *options(cni="canal"))
        assert run.code == 0, run.output
        for link in ("flannel.7", "cali0123456789a"):
            assert run.ran(f"ip link delete dev {link}", "node1")
        assert run.ran("ip -4 route delete 10.244.1.0/24 via 192.0.2.12 dev eth0", "node1")
        assert run.ran("ip -4 route delete blackhole 10.244.2.0/26", "node1")
        assert run.ran("ip addr flush dev tunl0 && ip link set dev tunl0 down", "node1")
        assert run.ran("ipset destroy cali40s:x", "node1")
        assert run.ran("rm -rf .*10-canal.conflist .*calico-kubeconfig", "node1")

    def test_a_plugin_that_the_host_had_stays(self, hosts: FakeCluster) -> None:
        hosts.flags = ("node1 remembered",)
        had = json.dumps({"paths": ["/opt/cni/bin/flannel"]})
        hosts.answer(r"cat \S*before.json$", host="node1", stdout=had)
        run = hosts.run("reset.py", "-y")
        assert run.code == 0, run.output
        asked = [item.command for item in run.commands if "for path in /etc/kubernetes " in item.command]
        assert asked
        assert all("/opt/cni/bin/calico" in command for command in asked)
        assert not any("/opt/cni/bin/flannel" in command for command in asked)

    def test_a_reset_needs_no_manifest(self, hosts: FakeCluster) -> None:
        run = hosts.run("reset.py", "-y", *options(cni="flannel", cni_manifest="/no/such/file.yaml"))
        assert run.code == 0, run.output
