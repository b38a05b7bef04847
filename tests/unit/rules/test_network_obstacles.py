"""What of a host's network is in the way; whole deploys that are refused for it are in tests/unit/deploy/phases."""

import socket
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kubeproof.deploy.facts.files import Kinds
from kubeproof.networks import documents, references
from kubeproof.networks.plan import NetworkPlan, of_template
from kubeproof.node.between_hosts import tunnel_mtu
from kubeproof.rules.before_deploy import network_obstacles
from kubeproof.rules.before_deploy.inspection import Inspection
from kubeproof.state.ipvs import VirtualServer
from kubeproof.state.node import NodeState
from tests.unit.node.example import cluster
from tests.unit.rules.fit import OnLink, bare, inspection


def at(address: str) -> VirtualServer:
    return VirtualServer("tcp", IPv4Address(address), 443, "rr")


def found(host: NodeState, cni: str = "podnet", network: NetworkPlan | None = None, **changes: object) -> list[str]:
    wanted = cluster(cni=cni, **changes)
    looked_at = Inspection(wanted, hosts={"node1": host}, network=network or of_template(wanted.settings))
    return [str(finding) for finding in network_obstacles.findings(looked_at)]


def test_a_blank_host_and_one_with_this_network_are_fine() -> None:
    assert found(bare()) == []
    here = bare(remembered=True, cni_files=("10-podnet.conflist",), interfaces=("cni0", "flannel.1"), udp_ports=(53,))
    assert found(here) == []


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        (bare(cni_files=("10-flannel.conflist",)), "(/etc/cni/net.d/10-flannel.conflist)"),
        (bare(cni_files=("10-calico.conflist",)), "(/etc/cni/net.d/10-calico.conflist)"),
        (bare(cni_files=("00-bridge.conf",)), "(/etc/cni/net.d/00-bridge.conf)"),
        (
            bare(interfaces=("cali0123456789a",), addresses=(OnLink("tunl0", "10.244.1.1"),)),
            "(link cali0123456789a, link tunl0)",
        ),
        (bare(network_files=("/var/lib/calico/nodename",)), "(/var/lib/calico/nodename)"),
        (
            bare(interfaces=("cbr0",), network_files=("/var/lib/cni/networks/kubenet",)),
            "(link cbr0 of kubenet, /var/lib/cni/networks/kubenet)",
        ),
        (
            bare(
                interfaces=("cni0", "flannel.1", "vxlan.calico", "weave"),
                network_files=("/run/flannel/subnet.env", "/x"),
            ),
            "(link cni0, link flannel.1, link vxlan.calico, link weave of Weave and 2 more)",
        ),
    ],
)
def test_leftovers_of_others_are_named_in_one_line(host: NodeState, shown: str) -> None:
    (line,) = found(host)
    assert line.startswith(
        f"[error] cni-leftovers node1: has leftovers of a pod network that is not Kubeproof's {shown}, "
    )


@pytest.mark.parametrize(
    ("host", "command"),
    [
        (bare(interfaces=("lo", "eth0", "kube-ipvs0")), "ip link delete kube-ipvs0"),
        (bare(addresses=(OnLink("nodelocaldns", "10.96.0.10", 1500),)), "ip link delete nodelocaldns"),
        (bare(interfaces=("flannel-v6.1", "flannel-wg")), "ip link delete flannel-v6.1; ip link delete flannel-wg"),
        (bare(addresses=(OnLink("tunl0", "10.244.1.1"),)), "ip addr flush dev tunl0"),
        (bare(network_files=("/run/a b", "/x"), interfaces=("weave",)), "rm -r '/run/a b' /x; ip link delete weave"),
        (bare(virtual_servers=(at("10.96.0.1"), at("198.51.100.1"))), "ipvsadm --clear"),
    ],
)
def test_leftovers_are_told_with_what_takes_them_away(host: NodeState, command: str) -> None:
    (line,) = found(host)
    assert line.endswith(f"; run `{command}` there")


@pytest.mark.parametrize(
    "host",
    [
        bare(interfaces=("lo", "eth0", "tunl0", "docker0", "virbr0", "wg0", "tailscale0", "cni-podman0")),
        bare(virtual_servers=(at("198.51.100.1"),)),
        # A cluster may have both.
        bare(remembered=True, interfaces=("nodelocaldns", "kube-ipvs0")),
    ],
)
def test_links_that_are_nobodys_leftovers(host: NodeState) -> None:
    assert found(host) == []


def test_what_others_keep_that_does_no_harm() -> None:
    assert found(bare(cni_files=("87-podman-bridge.conflist", "README", "00-notes.txt"))) == []


def test_a_configuration_that_goes_before_ours() -> None:
    host = bare(remembered=True, cni_files=("05-other.conflist", "10-canal.conflist"))
    (line,) = found(host, "canal")
    assert "has /etc/cni/net.d/05-other.conflist, which kubelet takes instead of 10-canal.conflist" in line
    assert "[error] cni-order node1: " in line


def test_port_of_the_tunnel() -> None:
    (line,) = found(bare(udp_ports=(8472,)))
    assert "has UDP port 8472 in use by a program" in line
    assert found(bare(udp_ports=(8472,)), "flannel", cni_backend="host-gw") == []


@pytest.mark.parametrize(
    ("interface", "mtus", "expected"),
    [
        ("node-address", (1500, 1500, 1500), 1450),
        ("node-address", (1500, 1460, 9000), 1410),
        ("", (1500, 1500, 1400), 1350),
        ("eth1", (1500, 1500, 1500), 1150),
        ("eth7", (1500, 1500, 1500), None),
    ],
)
def test_what_the_smallest_tunnel_leaves(interface: str, mtus: tuple[int, ...], expected: int | None) -> None:
    wanted = cluster(cni="canal", cni_interface=interface)
    hosts = {
        node.name: bare(addresses=(OnLink("eth0", str(node.address), mtu), OnLink("eth1", "198.51.100.1", 1200)))
        for node, mtu in zip(wanted.nodes, mtus, strict=True)
    }
    assert tunnel_mtu(wanted, hosts) == expected
    assert tunnel_mtu(wanted, {}) is None
    if expected == 1450:
        assert tunnel_mtu(wanted, {"node1": hosts["node1"]}) == 1450


def test_packets_that_no_interface_would_carry() -> None:
    host = bare(addresses=(OnLink("eth0", "192.0.2.12", 1500),))
    (line,) = found(host, "flannel", cni_mtu=1480)
    assert line.startswith("[error] cni-mtu: cni_mtu is more than the interfaces between the hosts leave (1480), ")
    assert line.endswith("; use at most 1450")
    assert found(host, "flannel", cni_mtu=1450) == []
    assert found(host, "flannel", cni_mtu=1480, cni_backend="host-gw") == []
    assert found(bare(), "flannel", cni_mtu=9000) == []


HOST_PATHS = """
apiVersion: apps/v1
kind: {kind}
metadata: {{name: a}}
spec:
  template:
    spec:
      nodeSelector: {{kubernetes.io/os: {system}}}
      containers: [{{name: a, image: i}}]
      volumes:
      - {{name: a, hostPath: {{path: /sys/fs/bpf, type: Directory}}}}
      - {{name: b, hostPath: {{path: /run/xtables.lock, type: FileOrCreate}}}}
      - {{name: c, hostPath: {{path: /lib/modules}}}}
      - {{name: d, hostPath: {{path: /proc, type: ""}}}}
      - {{name: e, configMap: {{name: c}}}}
"""


def test_which_typed_host_paths_a_manifest_has() -> None:
    def of(**words: str) -> tuple[tuple[str, str], ...]:
        return references.host_paths(documents.load(HOST_PATHS.format(**words), "it"))

    typed = (("/sys/fs/bpf", "Directory"), ("/run/xtables.lock", "FileOrCreate"))
    assert of(kind="DaemonSet", system="linux") == typed
    assert of(kind="Deployment", system="linux") == of(kind="DaemonSet", system="windows") == ()


@pytest.mark.parametrize(
    ("kind", "path", "there", "said"),
    [
        ("Directory", "/sys/fs/bpf", None, "has no /sys/fs/bpf, a Directory that this manifest mounts"),
        ("Directory", "/sys/fs/bpf", "Directory", ""),
        ("File", "/etc/machine-id", None, "has no /etc/machine-id, a File"),
        ("File", "/etc/machine-id", "Directory", "has another thing at /etc/machine-id, a File"),
        ("Socket", "/run/x.sock", None, "has no /run/x.sock, a Socket"),
        ("Socket", "/run/x.sock", "Socket", ""),
        ("CharDevice", "/dev/net/tun", None, "has no /dev/net/tun, a CharDevice"),
        ("BlockDevice", "/dev/sda", "CharDevice", "has another thing at /dev/sda, a BlockDevice"),
        ("DirectoryOrCreate", "/var/lib/x", None, ""),
        ("DirectoryOrCreate", "/var/lib/x", "File", "has another thing at /var/lib/x"),
        ("FileOrCreate", "/run/lock/x", "Directory", "has another thing at /run/lock/x"),
        # the deploy brings them
        ("Directory", "/opt/cni/bin", None, ""),
        ("Directory", "/etc/cni/net.d/", None, ""),
        ("Socket", "/var/run/docker.sock", None, ""),
        ("Directory", "/var/lib/kubelet/pods", None, ""),
    ],
)
def test_typed_host_paths_are_looked_for(kind: str, path: str, there: str | None, said: str) -> None:
    wanted = cluster()
    network = replace(of_template(wanted.settings), host_paths=((path, kind),))
    answers = {"node1": {path: there} if there else {}}
    found = list(network_obstacles.findings(inspection(wanted, network=network, host_paths=answers)))
    assert [(item.name, item.host) for item in found] == ([("cni-host-path", "node1")] if said else [])
    assert all(item.found.startswith(said) for item in found)
    assert all(("mount -t bpf" in item.remedy) is (path == "/sys/fs/bpf") for item in found)


def test_the_fact_tells_what_paths_are(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s p"))
        wanted = [str(tmp_path / name) for name in ("file", "link", "s p", "none")]
        command = Kinds().command(candidates=[*wanted, "/dev/null"])
        output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert Kinds().process(output.splitlines()) == {
        wanted[0]: "File",
        wanted[1]: "Directory",
        wanted[2]: "Socket",
        "/dev/null": "CharDevice",
    }
