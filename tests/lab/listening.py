"""What listens: sockets of a network namespace as ss(8) tells of them, and what is expected of a lab, with reasons."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from kubeproof.config.cluster import Cluster, Node
from lab import shell
from lab.settings import LabSettings

KERNEL = "kernel"
"""In place of a process: a tunnel's socket has none."""
SOCKETS = ("ss", "--no-header", "--listening", "--numeric", "--processes", "--tcp", "--udp", "--raw")
_PROCESS = re.compile(r'\("([^"]+)",pid=(\d+),')


@dataclass(frozen=True)
class Listener:
    """A socket that waits for others: ``address`` is "*" for all addresses, ``pid`` as this machine numbers it."""

    protocol: str
    address: str
    port: str
    process: str
    pid: int

    def __str__(self) -> str:
        return f"{self.process} (pid {self.pid}) listens on {self.protocol} {self.address} port {self.port}"


@dataclass(frozen=True)
class Expected:
    """What may listen: process, protocol, where (all, loopback, node, gateway), port ("" for any), and why."""

    process: str
    protocol: str
    where: str
    port: str
    reason: str

    def covers(self, found: Listener, own_address: str) -> bool:
        return (
            (self.process, self.protocol) == (found.process, found.protocol)
            and self.port in ("", found.port)
            and self.where == _where(found.address, own_address)
        )


def on_every_node(cluster: Cluster) -> tuple[Expected, ...]:
    return (
        Expected("sshd", "tcp", "all", "22", "how a node is reached; its only network is the lab's"),
        Expected(
            "kubelet", "tcp", "all", "10250", "kubelet's API, for kube-apiserver: logs, exec; asks for certificates"
        ),
        Expected("kubelet", "tcp", "loopback", "10248", "kubelet's health"),
        Expected(
            "kubelet", "tcp", "loopback", "", "dockershim's streams of exec and port-forward, at a port of its choice"
        ),
        Expected(
            "containerd", "tcp", "loopback", "", "containerd's own server of such streams, at a port of its choice"
        ),
        Expected("kube-proxy", "tcp", "all", "10256", "kube-proxy's health, for load balancers in front of nodes"),
        Expected("kube-proxy", "tcp", "loopback", "10249", "kube-proxy's metrics"),
        *(
            Expected("kube-proxy", "tcp", "all", str(port), "kube-proxy holds the NodePorts that Services have")
            for port in (cluster.settings.httpd_node_port,)
        ),
        Expected(KERNEL, "udp", "all", str(cluster.settings.vxlan_port), "flannel.1: VXLAN packets of other nodes"),
    )


def on_the_leader(cluster: Cluster) -> tuple[Expected, ...]:
    return (
        *on_every_node(cluster),
        Expected("kube-apiserver", "tcp", "all", str(cluster.settings.api_port), "the API: TLS, asks who it is"),
        Expected("etcd", "tcp", "node", "2379", "etcd's clients, by certificates of its own authority only"),
        Expected("etcd", "tcp", "loopback", "2379", "the same for kube-apiserver beside it"),
        Expected("etcd", "tcp", "node", "2380", "etcd's peers, by certificates"),
        Expected("etcd", "tcp", "loopback", "2381", "etcd's health and metrics"),
        Expected("kube-controller", "tcp", "loopback", "10257", "kube-controller-manager's health and metrics"),
        Expected("kube-scheduler", "tcp", "loopback", "10259", "kube-scheduler's health and metrics"),
    )


def on_the_machine(lab: LabSettings) -> tuple[Expected, ...]:
    return (
        Expected("docker-registry", "tcp", "node", str(lab.registry_port), "the mirror's images, for nodes"),
        Expected("python3", "tcp", "node", str(lab.apt_port), "the mirror's packages, for nodes"),
    )


def expected_of(node: Node, cluster: Cluster) -> tuple[Expected, ...]:
    return on_the_leader(cluster) if node.role == "control-plane" else on_every_node(cluster)


def unexpected(found: Iterable[Listener], expected: Iterable[Expected], own_address: str) -> list[str]:
    """One line for each that no row of the table covers. Pure."""
    rows = tuple(expected)
    return [str(item) for item in found if not any(row.covers(item, own_address) for row in rows)]


def listeners(init: int | None = None, only: Callable[[Listener], bool] = lambda _item: True) -> list[Listener]:
    """Sockets of this machine's network namespace, or that of a node's init."""
    inside = ["nsenter", f"--target={init}", "--net"] if init is not None else []
    return [item for line in shell.run([*inside, *SOCKETS]).splitlines() for item in parse(line) if only(item)]


def parse(line: str) -> list[Listener]:
    """A line of ss, once for each process that has the socket. Pure.

    Its columns are protocol, state, two queues, local and peer address with port, and the processes.
    """
    protocol, _state, _received, _sent, local, *_ = line.split()
    address, _, port = local.rpartition(":")
    address = address.strip("[]").partition("%")[0]
    address = "*" if address in ("", "*", "0.0.0.0", "::") else address  # noqa: S104  # read, not bound
    processes = _PROCESS.findall(line) or [(KERNEL, "0")]
    return [Listener(protocol, address, port, name, int(pid)) for name, pid in dict.fromkeys(processes)]


def _where(address: str, own_address: str) -> str:
    if address == "*":
        return "all"
    if ip_address(address).is_loopback:
        return "loopback"
    return "node" if address == own_address else address
