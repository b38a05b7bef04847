"""`pytest tests/cluster` as its users run it, and what it says of a broken node beside the proof: both must see it.

The two share the inventory, and nothing that is expected. What does not hide each other is broken together.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.proof.checks import checks_of
from kubeproof.proof.probes import FROM_PODS, TITLES
from kubeproof.proof.proving import prove
from kubeproof.rules.result import CheckResult, Status
from lab.paths import REPOSITORY, SSH_CONFIG
from lab.settings import LabNode
from tests.lab.breakages import VETH
from tests.lab.breaking import freeze_agent, leader, other, subnet, thaw_agent, worker
from tests.lab.proving import Prover
from tests.lab.remote import kubectl, ssh

SECONDS = 180
POLICY = """
apiVersion: v1
kind: Namespace
metadata: {name: kubeproof-suite}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: kubeproof-suite}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
SAVED = "/run/kubeproof-suite"
"""Folder on a node for what is put back."""


@dataclass(frozen=True)
class Broken:
    """One fact of a node, how it is broken and put back, and who must say so.

    ``test`` is the name of a test of tests/cluster, ``row`` one of the proof, "" where the proof says nothing of it.
    Without ``back`` podnet, or the nat table as it was, brings it back.
    """

    test: str
    row: str
    command: str
    back: str = ""


KUARDS_PORT = f"echo {VETH}"
"""httpd has to stay an endpoint of its Service."""
NAMES_ENDPOINT = "iptables -t nat -S | grep -m 1 'A KUBE-SEP-.*kube-dns:dns-tcp' | cut -d ' ' -f 2"
"""Cluster DNS is on the control plane: its pods stay endpoints."""
STRAY = (
    "--label io.kubernetes.docker.type=container --label io.kubernetes.container.name=stray "
    "--label io.kubernetes.pod.namespace=default --label io.kubernetes.pod.name={pod} "
    "--label io.kubernetes.pod.uid={uid}"
)
PROXY = "$(docker ps --quiet --filter label=io.kubernetes.container.name=kube-proxy)"
"""Rules of Services are written anew when an endpoint comes or goes, as one does that cannot be reached any more."""

ON_WORKER = (
    Broken("test_is_on", "ip-forward", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1"),
    Broken("test_subnet_env", "subnet-env", "rm /run/flannel/subnet.env"),
    Broken(
        "test_cni_configuration_that_counts",
        "cni-order",
        "cp /etc/cni/net.d/10-podnet.conflist /etc/cni/net.d/05-old.conflist",
        "rm -f /etc/cni/net.d/05-old.conflist",
    ),
    Broken("test_pods_of_other_nodes", "routes-to-other-nodes", "ip route del {far}"),
    Broken(
        "test_own_pods", "route-to-own-pods", "ip route add {near} dev cni0 metric 7", "ip route del {near} metric 7"
    ),
    Broken("test_arp_entries", "arp-entries", "ip neigh del {vtep} dev flannel.1"),
    Broken("test_fdb_entries", "fdb-entries", "bridge fdb del {mac} dev flannel.1"),
    Broken("test_tunnel", "cni-mtu", "ip link set flannel.1 mtu 1400", "ip link set flannel.1 mtu 1450"),
    Broken(
        "test_address_of_the_tunnel",
        "flannel-address",
        "ip addr add 198.18.0.1/32 dev flannel.1",
        "ip addr del 198.18.0.1/32 dev flannel.1 2>/dev/null; true",
    ),
    Broken("test_bridge", "cni0-address", "ip addr add 198.18.0.2/32 dev cni0", "ip addr del 198.18.0.2/32 dev cni0"),
    Broken(
        "test_pods_are_plugged_into_the_bridge",
        "pod-veths",
        f"{KUARDS_PORT} >{SAVED}/port && ip link set $(cat {SAVED}/port) nomaster",
        f"ip link set $(cat {SAVED}/port) master cni0 && bridge link set dev $(cat {SAVED}/port) hairpin on",
    ),
    Broken(
        "test_forward_drops_by_default", "forward-accepts", "iptables -P FORWARD ACCEPT", "iptables -P FORWARD DROP"
    ),
    Broken("test_forward_accepts_pods", "forward-accepts", "iptables -D FORWARD -s {pods} -j ACCEPT"),
    Broken("test_masquerading", "postrouting-order", "iptables -t nat -D POSTROUTING -s {pods} -d {pods} -j RETURN"),
    Broken(
        "test_cluster_addresses",
        "service-endpoints",
        f"docker pause {PROXY} && iptables -t nat -F $({NAMES_ENDPOINT})",
        f"docker unpause {PROXY}",
    ),
    Broken("test_node_ports", "node-ports", "iptables -t nat -F KUBE-NODEPORTS"),
    Broken("test_rules_of_podnet", "policies-in-force", "nft delete table inet podnet"),
    Broken("test_podnet_knows_the_policies", "policies-in-force", "true"),
    Broken("test_every_pod_answers", "node-to-pod", "true"),
)
"""With podnet stopped there, which would put most of it back. The policy is one that it has not heard of then, and what
is above keeps pods from answering."""

ON_OTHER = (
    Broken("test_kubelet", "kubelet-healthy", "systemctl stop kubelet", "systemctl start kubelet"),
    Broken("test_node_is_ready", "node-ready", "true"),
    Broken(
        "test_no_swap",
        "swap",
        f"{{ cat /proc/swaps; echo '/swapfile file 1048572 0 -2'; }} >{SAVED}/swaps && "
        f"mount --bind {SAVED}/swaps /proc/swaps",
        "umount /proc/swaps",
    ),
    Broken(
        "test_dockers_own_bridge_has_no_carrier", "docker0-down", f"docker run --detach --name stray {STRAY} {{image}}"
    ),
    Broken("test_containers_share_the_namespace_of_their_pause", "pod-namespaces", "true", "docker rm --force stray"),
    Broken("test_service", "", "systemctl disable docker", "systemctl enable docker"),
    Broken(
        "test_cgroup_driver_of_kubelet", "", "sed -i.kept s/cgroupfs/systemd/ {config}", "mv {config}.kept {config}"
    ),
    Broken(
        "test_packages",
        "",
        f"cp /var/lib/dpkg/status {SAVED}/ && sed -i '/^Package: kubectl$/,/^$/s/^Version: .*/Version: 1/' "
        "/var/lib/dpkg/status",
        f"cp {SAVED}/status /var/lib/dpkg/status",
    ),
    Broken(
        "test_kubeconfig_is_roots_alone",
        "",
        "chmod 644 /etc/kubernetes/kubelet.conf",
        "chmod 600 /etc/kubernetes/kubelet.conf",
    ),
    Broken(
        "test_no_rule_leads_elsewhere", "", "ip rule add pref 99 from 203.0.113.0/24 lookup main", "ip rule del pref 99"
    ),
    Broken(
        "test_reaches_the_api",
        "",
        "iptables -I OUTPUT -p tcp -m multiport --dports 6443,33000 -j REJECT",
        "iptables -D OUTPUT -p tcp -m multiport --dports 6443,33000 -j REJECT",
    ),
    Broken("test_api_answers_by_its_service", "", "true"),
    Broken("test_node_ports_of_other_nodes_answer", "", "true"),
)
"""Swap is the kernel's, which all nodes share with the machine: /proc/swaps is replaced."""

ON_LEADER = (
    Broken(
        "test_control_plane",
        "",
        f"mv /etc/kubernetes/manifests/kube-scheduler.yaml {SAVED}/",
        f"mv {SAVED}/kube-scheduler.yaml /etc/kubernetes/manifests/",
    ),
)
NOT_HERE = {
    "test_cgroup_driver": "Docker's driver is not changed without taking all containers down",
    "test_cgroup_driver_of_containerd": "the lab's runtime is Docker",
    "test_own_pods_of_canal": "Canal",
    "test_calicos_chain_comes_first": "Canal",
    "test_nothing_of_another_network": "podnet has both links",
}
"""Tests whose fact cannot be broken here, and why."""


def suite(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run pytest as users do."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "tests/cluster", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def failed(output: str, node: LabNode) -> set[str]:
    """Names of the tests that failed about a node."""
    return set(re.findall(rf"^FAILED \S+::(\w+)\[ssh://{node.name}[\]-]", output, re.MULTILINE))


def test_the_proof_holds(inventory: LoadedInventory) -> None:
    """Every check on every node, and every probe from each node that has pods of the demo."""
    nodes = [node.name for node in inventory.cluster.nodes]
    checks = {(node, check.id) for node in nodes for check in checks_of(inventory.cluster.settings)}
    sent = {(node, name) for node in nodes for name in TITLES if node != nodes[0] or name not in FROM_PODS}
    held = {(row.node, row.name) for row in prove(inventory).results if row.status is Status.HOLDS}
    assert (checks | sent) - held == set()


def test_a_healthy_node_passes(running_lab: None, tmp_path: Path) -> None:
    """All tests, one after another, and by pytest's and testinfra's own options."""
    whole = suite()
    assert whole.returncode == 0, whole.stdout
    report = tmp_path / "report.xml"
    chosen = suite(
        "--hosts", worker().name, "--ssh-config", str(SSH_CONFIG), "-k", "routes", "--junit-xml", str(report)
    )
    assert (chosen.returncode, worker().name in report.read_text()) == (0, True), chosen.stdout
    assert other().name not in report.read_text()


def test_a_host_that_is_not_in_the_inventory(running_lab: None) -> None:
    refused = suite("--hosts", "nobody")
    assert (refused.returncode, "--hosts: nobody: not in the inventory" in refused.stderr) == (4, True)


def test_every_test_has_its_fact_broken() -> None:
    """So that no test is one that cannot fail."""
    files = (REPOSITORY / "tests" / "cluster").glob("test_*.py")
    names = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}
    assert {broken.test for broken in (*ON_WORKER, *ON_OTHER, *ON_LEADER)} | NOT_HERE.keys() == names


@pytest.fixture(scope="module")
def opinions(inventory: LoadedInventory) -> Iterator[tuple[str, tuple[CheckResult, ...]]]:
    """What the suite prints and what the proof finds with everything broken, once; in the end all of it holds again."""
    prover = Prover(inventory)
    parties = ((other(), ON_OTHER), (leader(), ON_LEADER), (worker(), ON_WORKER))
    words = _words()
    for node, _ in parties:
        ssh(node.name, f"mkdir -p {SAVED} && iptables-save -t nat >{SAVED}/nat")
    freeze_agent()
    try:
        kubectl("apply -f -", stdin=POLICY)
        for node, facts in parties:
            # At once: pods that do not answer are no endpoints any more after half a minute.
            ssh(node.name, "\n".join(["set -e", *(_filled(broken.command, words) for broken in facts)]))
            if node == other():
                # Its endpoints go with it.
                kubectl(f"wait --for=condition=Ready=Unknown node/{node.name} --timeout=90s")
        yield suite().stdout, prove(inventory).results
    finally:
        for node, facts in parties:
            back = (_filled(broken.back or "true", words) for broken in facts)
            ssh(node.name, "\n".join(f"{{ {command}; }} 2>&1 || true" for command in back))
            ssh(node.name, f"iptables-restore -T nat <{SAVED}/nat; rm -r {SAVED}")
        thaw_agent()
        kubectl("delete namespace kubeproof-suite --wait=false")
        prover.wait(seconds=120)


def _words() -> dict[str, str]:
    far, near = subnet(other()), subnet(worker())
    of_other = f"--field-selector spec.nodeName={other().name}"
    pod, uid = kubectl(
        f"get pods -l app=kuard {of_other} -o jsonpath='{{.items[0].metadata.name}} {{.items[0].metadata.uid}}'"
    ).split()
    return {
        "{pods}": kubectl("-n kube-system get daemonset podnet -o jsonpath='{..env[?(@.name==\"POD_CIDR\")].value}'"),
        "{far}": str(far),
        "{vtep}": str(far[0]),
        "{near}": str(near),
        "{mac}": ssh(other().name, "cat /sys/class/net/flannel.1/address"),
        "{pod}": pod,
        "{uid}": uid,
        "{image}": ssh(
            other().name,
            "docker ps --filter label=io.kubernetes.docker.type=podsandbox --format '{{.Image}}' | head -n 1",
        ),
        "{config}": "/var/lib/kubelet/config.yaml",
    }


def _filled(command: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        command = command.replace(name, value)
    return command


@pytest.mark.parametrize(
    ("node", "broken"),
    [
        pytest.param(node, broken, id=broken.test)
        for node, facts in ((worker, ON_WORKER), (other, ON_OTHER), (leader, ON_LEADER))
        for broken in facts
    ],
)
def test_both_say_so(
    opinions: tuple[str, tuple[CheckResult, ...]], node: Callable[[], LabNode], broken: Broken
) -> None:
    output, rows = opinions
    assert broken.test in failed(output, node()), output[-6000:]
    wrong = {row.name for row in rows if row.node == node().name and row.status is not Status.HOLDS}
    assert not broken.row or broken.row in wrong
