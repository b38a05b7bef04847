"""What a host was like before the first deploy, so that a reset can put it back. Pure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from kubeproof.networks import artifacts
from kubeproof.state.node import NodeState

KUBELETS_SYSCTLS = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)
"""What kubelet sets (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables)."""
SYSCTLS = (
    # set by the deploy (templates/sysctl.conf.j2) or by Docker
    "net.ipv4.ip_forward",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-filter-vlan-tagged",
    # set by kube-proxy (cmd/kube-proxy/app/server.go, pkg/proxy/iptables/proxier.go)
    "net.ipv4.conf.all.route_localnet",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    # set by kube-proxy in its mode ipvs (pkg/proxy/ipvs/proxier.go)
    "net.ipv4.vs.conntrack",
    "net.ipv4.vs.conn_reuse_mode",
    "net.ipv4.vs.expire_nodest_conn",
    "net.ipv4.vs.expire_quiescent_template",
    *KUBELETS_SYSCTLS,
)
"""Kernel settings that a cluster changes on a host."""

CLUSTER_DIRECTORIES = (
    *artifacts.DIRECTORIES,
    "/var/lib/cni",
    "/var/lib/dockershim",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
"""Directories in which everything is the cluster's: kubeadm refuses to start with an etcd that is not empty."""
CLUSTER_PATHS = (
    "/etc/kubernetes",
    "/run/kubernetes",
    "/run/dockershim.sock",
    *CLUSTER_DIRECTORIES,
    "/var/lib/kube-proxy",
    *artifacts.PLUGINS,
)
"""What kubeadm, kubelet and the pod network make on a host and nobody else has a use for."""
DOCKER_DIRECTORIES = ("/var/lib/containerd", "/var/lib/docker")
DOCKER_PATHS = (
    *("/run/containerd", "/run/docker", "/run/docker.sock", "/run/docker.pid", "/run/xtables.lock"),
    *DOCKER_DIRECTORIES,
)
"""The same of Docker and containerd, and of iptables for them."""
CRI_PATHS = ("/etc/crictl.yaml", "/run/cri-dockerd.sock", "/var/lib/cri-dockerd")
"""The same of what stands between kubelet and a runtime."""
DOCKER_GROUP = "docker"
"""Debian's docker.io makes it and leaves it behind even when it is purged."""
DEPLOY_PATHS = ("/run/adduser",)
"""What else comes with the deploy: adduser's lock is from packages that make users."""
COMMON_DIRECTORIES = (
    "/etc/apt/keyrings",
    "/etc/cni/net.d",
    "/etc/cni",
    "/etc/containerd/certs.d",
    "/etc/containerd",
    "/etc/docker",
    "/etc/systemd/system/containerd.service.d",
    "/etc/systemd/system/docker.service.d",
    "/opt/cni/bin",
    "/opt/cni",
    "/opt/containerd/bin",
    "/opt/containerd/lib",
    "/opt/containerd",
    "/root/.kube",
    "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
    "/usr/libexec/kubernetes/kubelet-plugins/volume",
    "/usr/libexec/kubernetes/kubelet-plugins",
    "/usr/libexec/kubernetes",
)
"""Directories that come with the deploy and in which others may keep something by now, children before parents."""
OWNED_PATHS = (*CLUSTER_PATHS, *DOCKER_PATHS, *CRI_PATHS, *DEPLOY_PATHS, *COMMON_DIRECTORIES)
SHARED_DIRECTORIES = ("/opt",)
"""Directories that packages of the deploy have files in. dpkg removes one that they leave empty, whoever made it."""


@dataclass(frozen=True)
class Record:
    """A host before the first deploy."""

    paths: list[str] = field(default_factory=list)
    """Those of OWNED_PATHS and SHARED_DIRECTORIES that existed."""
    sysctls: dict[str, str] = field(default_factory=dict)
    swaps: list[str] = field(default_factory=list)
    nft_tables: list[str] = field(default_factory=list)
    """Family and name of each nft table, such as "ip filter"."""
    policies: dict[str, str] = field(default_factory=dict)
    """Policy of each built-in chain, by "table chain"."""
    modules: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    """Packages that the deploy added, written down before it installs them."""
    selinux: str = ""
    """Enforcing, Permissive or Disabled; empty where there is no SELinux."""
    firewalld: list[str] = field(default_factory=list)
    """"running" if it ran, the ports that it opened and the networks that it trusted."""

    @classmethod
    def of(cls, state: NodeState) -> "Record":
        return cls(
            paths=list(state.owned_paths),
            sysctls=dict(state.sysctls),
            swaps=list(state.swaps),
            nft_tables=list(state.nft_tables),
            policies=state.iptables.policies,
            modules=[name for name in state.modules if name == "br_netfilter"],
            groups=list(state.groups),
            selinux=state.selinux,
            firewalld=list(state.firewalld),
        )

    def with_packages(self, added: Sequence[str]) -> "Record":
        return replace(self, packages=sorted({*self.packages, *added}))

    def json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"
