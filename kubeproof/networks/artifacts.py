"""What pod networks leave on a host: how each is recognised, and what of it a reset takes away. Pure."""

from fnmatch import fnmatchcase

from kubeproof.networks.networks import NETWORKS

CONFIGURATIONS = "/etc/cni/net.d"
"""Kubelet and container runtimes take the first file here by name (kubernetes#107127)."""
CONFIGURATION_ENDINGS = (".conf", ".conflist", ".json")

_HEX = "[0-9a-f]"
CALICO_LINK = f"cali{_HEX * 11}"
"""A pod's link on the node: cali and the begin of a hash (libcalico-go, names/workloadendpoint.go)."""
LINKS = ("cni0", "flannel.*", CALICO_LINK, "vxlan.calico")
"""Patterns of the shell. KERNELS_LINK is none of them: the kernel makes it with its module, nobody can delete it."""

OTHERS_LINKS = (
    *("kube-bridge", "kube-dummy-if", "weave", "vethwe-*", "cilium_*", "lxc_health", "antrea-*", "ovn-k8s-*", "ovn0"),
    *("cbr0", "flannel-v6.*", "flannel-wg*", "vxlan-v6.calico", "wireguard.cali", "wg-v6.cali", "bpfin.cali"),
)
"""Links of networks that this project does not make: recognised, never removed."""
SERVICE_LINKS = ("kube-ipvs0", "nodelocaldns")
"""Links that have addresses of Services: of kube-proxy with IPVS, and of a cache of names that a cluster may have."""
KERNELS_LINK = "tunl0"
OTHERS_CONFIGURATIONS = ("10-calico.conflist", "05-cilium.conflist", "10-weave.conflist", "10-kuberouter.conflist")


def is_link(name: str) -> bool:
    """Whether a pod network, or a Service, has made a link of this name. Pure."""
    return any(fnmatchcase(name, pattern) for pattern in (*LINKS, *OTHERS_LINKS, *SERVICE_LINKS))


CLUSTER_FILES = tuple(
    f"{CONFIGURATIONS}/{name}"
    for network in NETWORKS.values()
    for name in (network.conflist, *network.more_files, f".{network.conflist}.tmp")
)
"""Configurations of all networks that the deploy may have made."""
CLUSTER_DIRECTORIES = ("/run/calico", "/run/nodeagent", "/var/log/calico")
"""Directories of Calico in which everything is its own, beside /var/lib/calico; kubelet makes them for its pods."""
PLUGINS = (
    "/opt/cni/bin/calico",
    "/opt/cni/bin/calico-ipam",
    "/opt/cni/bin/flannel",
    "/opt/cni/bin/install",
    "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds",
)
"""What a network's init containers put on a host beside the plugins of the distribution's package: the last two are the
installer of Calico's image, which copies all that it has, and Calico's volume driver (up to v3.23)."""

EVIDENCE = (
    "/run/flannel/subnet.env",
    "/run/calico/*",
    "/var/lib/calico/nodename",
    "/var/lib/cni/flannel",
    "/var/lib/cni/networks/cbr0",
    "/var/lib/cni/networks/k8s-pod-network",
    "/var/lib/cni/networks/podnet",
)
"""Files that show that a pod network has been on a host, as patterns of the shell. Not all of /var/lib/cni: podman has
its addresses there too."""

CHAINS = ("cali-", "FLANNEL-", "PODNET-")
"""Prefixes of the iptables chains of pod networks."""
COMMENTS = ("cali:", "flanneld ")
"""How comments of their rules in chains of others begin."""
SETS = "cali[46]0*"
"""ipsets of Calico's agent, as a pattern of the shell."""
