"""What a cluster shall be like: every setting, checked once, all wrong ones reported together.

Values and their reasons are in inventory/group_data/all.py; this module knows only what can be taken. Pure.
"""

# The calls in the fields are descriptions, made once and never shared with an instance.
# ruff: noqa: RUF009

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from kubeproof.config import network_conflicts, patience, reading
from kubeproof.config.reading import Reader, RefusedError, problem
from kubeproof.config.tables import combinations, version_traits
from kubeproof.config.tables.findings import FINDINGS
from kubeproof.config.tables.runtimes import NAMES as RUNTIMES
from kubeproof.config.tables.runtimes import Runtime, runtime_of
from kubeproof.config.tables.version_traits import ERAS, PROXY_MODES, Era
from kubeproof.networks.calico import BLOCK_BITS
from kubeproof.networks.flannel import UDP_PORT
from kubeproof.networks.network import NODE_ADDRESS, OF_OTHERS, Backend, Effect, Network, applied, nothing, refused
from kubeproof.networks.registry import BACKENDS, NETWORKS
from kubeproof.terminal.errors import UserError

T = TypeVar("T")

DOCKER_BRIDGE = IPv4Network("172.17.0.0/16")
"""Docker's own bridge docker0 (Docker's default-address-pools begin with it)."""
CLUSTER_DNS_INDEX = 10
"""The DNS Service has the tenth address of the service CIDR (kubeadm: constants.GetDNSIP)."""
MAX_SUBNET_DIFFERENCE = 16
"""node-cidr-mask-size less the pod CIDR's prefix length: kube-controller-manager refuses more."""
MAX_TOKEN_MINUTES = 10
"""A join token is a credential for the whole cluster: no join takes longer."""
RESERVED_TCP_PORTS = {
    22: "SSH",
    2379: "etcd's clients",
    2380: "etcd's peers",
    10248: "kubelet's health",
    10249: "kube-proxy's metrics",
    10250: "kubelet",
    10256: "kube-proxy's health",
    10257: "kube-controller-manager",
    10259: "kube-scheduler",
}
"""TCP ports of a node (Kubernetes documentation, "Ports and Protocols")."""


def _version(value: object) -> str:
    written = reading.text(value)
    if not re.fullmatch(r"[1-9]\d*\.(0|[1-9]\d*)\.(0|[1-9]\d*)", written):
        raise RefusedError("is not a version", "write it as MAJOR.MINOR.PATCH without v, e.g. 1.20.2")
    if refusal := version_traits.refusal(written):
        raise RefusedError(
            refusal, f"use one of 1.{version_traits.FIRST} to 1.{version_traits.LAST}, e.g. 1.{version_traits.LAST}.0"
        )
    return written


def _port_range(value: object) -> str:
    written = reading.text(value)
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", written)
    if not match:
        raise RefusedError("is not a port range", "write it as FIRST-LAST, e.g. 30000-32767")
    first, last = int(match[1]), int(match[2])
    if not 1 <= first <= last <= reading.MAX_PORT:
        raise RefusedError("is not a port range", f"use 1 to {reading.MAX_PORT}, the smaller one first")
    return written


def _finding(value: object) -> str:
    written = reading.text(value)
    if written not in FINDINGS:
        near = ", ".join(difflib.get_close_matches(written, FINDINGS, n=3, cutoff=0.6))
        advice = f"did you mean {near}?" if near else "use one of those in docs/reference-rules.md"
        raise RefusedError("is not the name of a finding", advice)
    return written


def _setting(read: Reader[T], effect: Effect | None = None, otherwise: T | None = None) -> T:
    """A field that is read from its raw value by ``read``; the type of the field is what the reader returns.

    ``effect`` is what a change does to a cluster that runs; without one the modules of the pod networks say it.
    ``otherwise`` holds where it has no value: for what inventories that keep all settings of their own do not have yet.
    """
    made: T = field(metadata={"read": read, "effect": effect, "otherwise": otherwise})
    return made


_SOURCE = applied("the host's file of package sources and its keyring are written anew")
_RUNTIME_FILE = applied("the runtime's configuration is written anew, and it restarts")
_PACKAGE = applied("the package of that name and version is installed; runtime-conflict says what it would take away")
_HELD_AGAINST = nothing("a key is held against it before any host is given it")
_DEMO_PODS = applied("the demo's pods are replaced")
_PATIENCE = nothing("each command reads it; kubelets keep what they were told when the cluster was made")
_EACH_TIME = nothing("each command reads it, and nothing keeps it")


_package_version = reading.matching(
    r"[0-9][A-Za-z0-9.+~:_-]*", "is not a version of a package", "see `apt-cache madison kubeadm`, e.g. 1.20.2-00"
)
_version_pattern = reading.matching(
    r"[0-9][A-Za-z0-9.+~:_*-]*", "is not a version of a package", "see `apt-cache madison docker-ce`, e.g. 5:24.0.*"
)
_package = reading.matching(
    r"[a-zA-Z0-9][a-zA-Z0-9+._-]+", "is not a package's name", "e.g. docker.io, docker-ce or containerd.io"
)
_proxy_exception = reading.matching(
    r"\.?[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?(?:/\d+)?", "is not a name or network", "e.g. .example.net or 10.0.0.0/8"
)
_log_size = reading.matching(r"[1-9]\d*[kmg]", "is not a size", "write it as a number and k, m or g, e.g. 10m")
_sha256 = reading.matching(r"[0-9a-f]{64}", "is not a SHA-256", "write it as sha256sum does, 64 digits 0-9 and a-f")
_fingerprint = reading.matching(
    r"[0-9A-F]{40}", "is not a fingerprint", "write it as `gpg --show-keys` does, 40 digits 0-9 and A-F"
)
_interface = reading.matching(
    r"(?!\.{1,2}$)[^\s/:]{1,15}",
    "is not a network interface",
    f"use a name as `ip link` shows it, e.g. eth1, or {NODE_ADDRESS}",
)
_preflight_check = reading.matching(
    r"[A-Za-z0-9-]+", "is not a name of a kubeadm check", "use the name that kubeadm prints, e.g. NumCPU"
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A cluster's settings. Make one with :func:`parse`. Networks are IPv4 in CIDR form, ports are numbers."""

    kubernetes_version: str = _setting(_version, refused())
    kubernetes_apt_url: str = _setting(reading.empty_or(reading.url), _SOURCE)
    kubernetes_apt_key: str = _setting(reading.empty_or(reading.path_or_url), _SOURCE)
    kubernetes_apt_key_fingerprint: str = _setting(reading.empty_or(_fingerprint), _HELD_AGAINST)
    kubernetes_rpm_url: str = _setting(reading.empty_or(reading.url), _SOURCE)
    kubernetes_rpm_key: str = _setting(reading.empty_or(reading.path_or_url), _SOURCE)
    kubernetes_rpm_key_fingerprint: str = _setting(reading.empty_or(_fingerprint), _HELD_AGAINST)
    kubernetes_package_version: str = _setting(reading.empty_or(_package_version), _PACKAGE)
    image_repository: str = _setting(reading.image_repository, refused())
    etcd_image_tag: str = _setting(reading.empty_or(reading.image_tag), refused())
    pause_image_tag: str = _setting(
        reading.empty_or(reading.image_tag),
        applied("it is in the runtime's configuration; with Docker before 1.24 it is refused"),
    )

    node_network: IPv4Network = _setting(
        reading.network, nothing("the nodes' addresses are held against it; changed ones are refused (changed-address)")
    )
    pod_cidr: IPv4Network = _setting(reading.network, refused())
    pod_subnet_bits: int = _setting(reading.integer(16, 28), refused())
    service_cidr: IPv4Network = _setting(reading.network, refused())
    cluster_domain: str = _setting(reading.dns_name, refused())
    node_port_range: str = _setting(_port_range, refused())
    api_port: int = _setting(reading.port, refused())

    container_runtime: str = _setting(reading.one_of(*RUNTIMES), refused("cluster-runtime"))
    docker_package: str = _setting(reading.empty_or(_package), _PACKAGE)
    containerd_package: str = _setting(reading.empty_or(_package), _PACKAGE)
    runtime_package_version: str = _setting(reading.empty_or(_version_pattern), _PACKAGE)
    runtime_rpm_url: str = _setting(reading.empty_or(reading.url), _SOURCE)
    runtime_rpm_key: str = _setting(reading.empty_or(reading.path_or_url), _SOURCE)
    runtime_rpm_key_fingerprint: str = _setting(reading.empty_or(_fingerprint), _HELD_AGAINST)
    cri_dockerd_archive: str = _setting(
        reading.empty_or(reading.path_or_url),
        nothing("wherever it comes from, it is the same program with the same checksum"),
    )
    cgroup_driver: str = _setting(reading.one_of("systemd", "cgroupfs"), refused())
    insecure_registries: tuple[str, ...] = _setting(reading.list_of(reading.registry), _RUNTIME_FILE)
    registry_mirrors: tuple[str, ...] = _setting(reading.list_of(reading.url), _RUNTIME_FILE)
    docker_log_max_size: str = _setting(_log_size, _RUNTIME_FILE)
    docker_log_max_file: int = _setting(reading.integer(1, 100), _RUNTIME_FILE)

    http_proxy: str = _setting(reading.empty_or(reading.url), _RUNTIME_FILE)
    https_proxy: str = _setting(reading.empty_or(reading.url), _RUNTIME_FILE)
    no_proxy: tuple[str, ...] = _setting(reading.list_of(_proxy_exception), _RUNTIME_FILE)

    selinux: str = _setting(reading.one_of("permissive", "enforcing"), applied("the host's mode is set"))
    firewalld: str = _setting(reading.one_of("ports", "off"), applied("ports are opened, or it is turned off"))

    cni: str = _setting(reading.one_of(*NETWORKS), refused("cni-changed"))
    podnet_image: str = _setting(reading.empty_or(reading.image))
    cni_manifest: str = _setting(reading.empty_or(reading.path_or_url))
    cni_manifest_sha256: str = _setting(reading.empty_or(_sha256))
    cni_image_repository: str = _setting(reading.empty_or(reading.image_repository))
    cni_interface: str = _setting(reading.empty_or(_interface))
    cni_mtu: int | None = _setting(reading.none_or(reading.integer(1280, 65535)))
    cni_backend: str = _setting(reading.one_of(*BACKENDS))
    cni_cross_subnet: bool = _setting(reading.truth, otherwise=False)
    cni_block_size: int = _setting(reading.integer(BLOCK_BITS[0], BLOCK_BITS[-1]), otherwise=26)
    cni_nat_outgoing: bool = _setting(reading.truth, otherwise=True)
    vxlan_vni: int = _setting(reading.integer(1, 2**24 - 1))
    vxlan_port: int = _setting(reading.port)
    network_policy: bool | None = _setting(reading.none_or(reading.truth))

    cluster_dns: str = _setting(reading.one_of("coredns", "dnsmasq"), refused())
    cluster_dns_image: str = _setting(
        reading.empty_or(reading.image), applied("dnsmasq's pods are replaced; CoreDNS has kubeadm's")
    )

    demo: bool = _setting(reading.truth, applied("the demo is applied or taken away"))
    httpd_image: str = _setting(reading.empty_or(reading.image), _DEMO_PODS)
    kuard_image: str = _setting(reading.empty_or(reading.image), _DEMO_PODS)
    httpd_node_port: int = _setting(reading.port, applied("the demo's Service is changed"))
    probe_image: str = _setting(reading.empty_or(reading.image), _EACH_TIME)

    kube_proxy_mode: str = _setting(reading.one_of(*PROXY_MODES), refused(), otherwise="iptables")
    conntrack_max_per_core: int | None = _setting(reading.none_or(reading.integer(0, 2**31 - 1)), refused())
    join_token_ttl_minutes: int = _setting(
        reading.integer(1, MAX_TOKEN_MINUTES), nothing("each join makes a token of its own")
    )
    kubeconfig: str = _setting(reading.path, applied("the copy is put there"))
    ignore_preflight_errors: tuple[str, ...] = _setting(reading.list_of(_preflight_check), _EACH_TIME)
    ignore_findings: tuple[str, ...] = _setting(reading.list_of(_finding), _EACH_TIME)
    patience: float = _setting(reading.number(patience.LOWEST, patience.HIGHEST), _PATIENCE, otherwise=1.0)

    @property
    def kubernetes_minor(self) -> str:
        """Major and minor version, such as "1.20"."""
        return version_traits.minor_of(self.kubernetes_version)

    @property
    def era(self) -> Era:
        return ERAS[self.kubernetes_minor]

    @property
    def runtime(self) -> Runtime:
        return runtime_of(self.container_runtime, self.era)

    @property
    def own_runtime_package(self) -> str:
        """Name of the runtime's package, if it is not to be the one of the host's system."""
        return self.docker_package if self.container_runtime == "docker" else self.containerd_package

    @property
    def network(self) -> Network:
        return NETWORKS[self.cni]

    @property
    def backend(self) -> Backend:
        """How the pod network carries packets from node to node."""
        return self.network.backend(self.cni_backend)

    @property
    def enforces_policy(self) -> bool:
        """Whether NetworkPolicy has an effect; None in network_policy leaves it to what the pod network is able to."""
        return self.network.enforces and self.network_policy is not False

    @property
    def vxlan_device(self) -> str:
        """Name of the VXLAN link on every node, where the pod network has one."""
        return self.backend.device.format(vni=self.vxlan_vni)

    def seen_as(
        self, pod_cidr: IPv4Network | None, annotations: Mapping[str, str], address: IPv4Address | None
    ) -> IPv4Network | None:
        """A network whose first address other nodes' pods see a node as: its podCIDR, with Calico that address alone.

        From its node object; None where that does not say.
        """
        announced = self.network.agent.tunnel_address
        if announced is None:
            return pod_cidr if self.backend.overhead or address is None else IPv4Network(address)
        tunnel = self.backend.overhead and not self.cni_cross_subnet
        text = announced(annotations) if tunnel else address
        return IPv4Network(text) if text else None

    @property
    def tunnel_port(self) -> int | None:
        """UDP port of the tunnel, where it has one."""
        return {"vxlan": self.vxlan_port, "udp": UDP_PORT}.get(self.cni_backend)

    @property
    def cluster_dns_address(self) -> IPv4Address:
        """Cluster IP of the DNS Service, which kubelet writes into the resolv.conf of pods."""
        return self.service_cidr[CLUSTER_DNS_INDEX]

    @property
    def node_ports(self) -> range:
        first, _, last = self.node_port_range.partition("-")
        return range(int(first), int(last) + 1)


NAMES = tuple(item.name for item in fields(Settings))
"""All settings, in the order in which a person meets them."""
EFFECTS: Mapping[str, Effect | Mapping[str, Effect]] = {
    item.name: item.metadata["effect"]
    or {network.name: network.effects.get(item.name, OF_OTHERS) for network in NETWORKS.values()}
    for item in fields(Settings)
}
"""What a changed setting does to a cluster that runs; by pod network where they differ."""


def parse(raw: Mapping[str, object]) -> Settings:
    """Check raw values and return the settings. Raises UserError with a line for each wrong one."""
    settings, problems = examine(raw)
    if problems or settings is None:
        raise UserError(problems)
    return settings


def examine(raw: Mapping[str, object]) -> tuple[Settings | None, list[str]]:
    """The settings, or None and a line for each problem, for callers that have problems of their own to add."""
    otherwise = {item.name: item.metadata["otherwise"] for item in fields(Settings)}
    given = {**{name: value for name, value in otherwise.items() if value is not None}, **raw}
    readers = {item.name: item.metadata["read"] for item in fields(Settings)}
    values, problems = reading.checked(given, readers, "give it a value in inventory/group_data/all.py")
    problems.extend(_conflicts(values))
    return (None if problems else Settings(**values)), problems  # type: ignore[arg-type]  # checked by the readers


def conflicts_with(settings: Settings, changes: Mapping[str, object]) -> list[str]:
    """A line for each thing that would be wrong between settings if some, by name, had other values."""
    values = {item.name: getattr(settings, item.name) for item in fields(Settings)} | dict(changes)
    return list(_conflicts({name: value for name, value in values.items() if value is not None}))


def _conflicts(values: Mapping[str, object]) -> Iterator[str]:
    """What is wrong between settings that are right by themselves; those that are not are left out of ``values``."""
    yield from _overlaps(values)
    yield from _pod_subnets(values)
    yield from _service_network(values)
    yield from _ports(values)
    yield from _missing_images(values)
    yield from combinations.of_settings(values)
    yield from network_conflicts.conflicts(values)


def _overlaps(values: Mapping[str, object]) -> Iterator[str]:
    names = ("node_network", "pod_cidr", "service_cidr")
    yield from reading.overlaps(values, names)
    for name in names:
        network = values.get(name)
        if isinstance(network, IPv4Network) and network.overlaps(DOCKER_BRIDGE):
            yield problem(name, f"overlaps Docker's bridge {DOCKER_BRIDGE}", network, "choose another network")


def _pod_subnets(values: Mapping[str, object]) -> Iterator[str]:
    match values:
        case {"pod_cidr": IPv4Network() as pods, "pod_subnet_bits": int() as bits}:
            if bits < pods.prefixlen:
                advice = f"use /{bits} or shorter, or larger pod_subnet_bits"
                yield problem("pod_cidr", f"is smaller than one node's subnet of /{bits}", pods, advice)
            elif bits - pods.prefixlen > MAX_SUBNET_DIFFERENCE:
                advice = f"use at most {pods.prefixlen + MAX_SUBNET_DIFFERENCE} for a pod_cidr of {pods}"
                yield problem("pod_subnet_bits", "makes more subnets than Kubernetes can count", bits, advice)


def _service_network(values: Mapping[str, object]) -> Iterator[str]:
    match values:
        case {"service_cidr": IPv4Network() as services} if not 12 <= services.prefixlen <= 28:
            # kube-apiserver refuses more than 20 bits; with less than 4 there is no tenth address for DNS.
            yield problem("service_cidr", "has an unfit prefix length", services, "use /12 to /28")


def _ports(values: Mapping[str, object]) -> Iterator[str]:
    range_text = values.get("node_port_range")
    node_ports = range(0)
    if isinstance(range_text, str):
        first, _, last = range_text.partition("-")
        node_ports = range(int(first), int(last) + 1)
        taken = [f"{port} ({use})" for port, use in RESERVED_TCP_PORTS.items() if port in node_ports]
        if taken:
            advice = "choose a range without them"
            yield problem("node_port_range", f"includes ports of the node: {', '.join(taken)}", range_text, advice)
    match values:
        case {"httpd_node_port": int() as port} if node_ports and port not in node_ports:
            advice = f"choose one of {range_text} (node_port_range)"
            yield problem("httpd_node_port", "is outside of the NodePort range", port, advice)
    match values:
        case {"api_port": int() as port} if port in RESERVED_TCP_PORTS:
            yield problem("api_port", f"is the port of {RESERVED_TCP_PORTS[port]}", port, "choose another, e.g. 6443")
        case {"api_port": int() as port} if port in node_ports:
            advice = f"choose one outside of {range_text} (node_port_range)"
            yield problem("api_port", "is within the NodePort range", port, advice)


def _missing_images(values: Mapping[str, object]) -> Iterator[str]:
    """An image may be left empty only if what it is for is not wanted."""
    cni = str(values.get("cni"))
    network_images = NETWORKS[cni].image_settings if cni in NETWORKS else ()
    wanted = (
        *((name, True, f"cni is {cni}", "") for name in network_images),
        ("cluster_dns_image", values.get("cluster_dns") == "dnsmasq", "cluster_dns is dnsmasq", ", or use coredns"),
        ("httpd_image", values.get("demo") is True, "demo is True", ", or use demo = False"),
        ("kuard_image", values.get("demo") is True, "demo is True", ", or use demo = False"),
    )
    for name, needed, reason, instead in wanted:
        if needed and values.get(name) == "":
            yield problem(name, f"is empty although {reason}", "", f"name an image that the nodes can pull{instead}")
