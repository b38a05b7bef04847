"""Whether a kernel has what pods and Services need, by what came of trying it. Pure."""

from collections.abc import Iterator

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables import systems
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.rule import either_rule
from kubeproof.state.node import NodeState

FEATURES = {
    "overlay": ("cannot mount an overlay file system", "which images are unpacked to"),
    "veth": ("cannot make a veth pair", "by which a pod is plugged in"),
    "bridge": ("cannot make a bridge", "which pods are plugged into"),
    "vxlan": ("cannot make a VXLAN link", "by which pods reach other nodes"),
    "tun": ("cannot make a TUN link", "by which pods reach other nodes"),
    "conntrack": ("tracks no connections (nf_conntrack)", "so no Service has an address"),
    "br_netfilter": (
        "has no br_netfilter",
        "so packets between pods pass by the rules of Services (kubernetes#127593)",
    ),
    "iptables": ("refuses rules as kube-proxy makes them", "so no Service has an address"),
    "ipvs": ("lacks what kube_proxy_mode ipvs needs", "so kube-proxy does not start, or uses iptables after all"),
}
"""By name: what is wrong if it fails, and what that breaks."""
OK = "ok"
NFTABLES_FROM = (5, 13)
"""First kernel that kube-proxy's mode nftables takes (pkg/proxy/nftables, supported.go)."""
OTHER_MODE = "use kube_proxy_mode = 'iptables', or "
REMEDY = "boot a kernel whose modules are installed (`uname -r` against `ls /lib/modules` there), or one that has it"

kernel_feature = either_rule(
    "kernel-feature",
    "overlay file systems, veth, bridge, VXLAN, connection tracking, bridge netfilter, iptables, for kube_proxy_mode "
    "ipvs its modules: each is tried, in namespaces of its own; a warning if it cannot be tried; for nftables Linux "
    "5.13 or newer",
    "pods cannot be plugged in, or no Service has an address",
)


def wanted(settings: Settings) -> tuple[str, ...]:
    backend = settings.cni_backend
    unwanted = {"vxlan": backend != "vxlan", "tun": backend != "udp", "ipvs": settings.kube_proxy_mode != "ipvs"}
    return tuple(name for name in FEATURES if not unwanted.get(name))


@of_each_host
def findings(inspection: Inspection, node: Node, host: NodeState) -> Iterator[Finding]:
    if inspection.cluster.settings.kube_proxy_mode == "nftables" and () < systems.numbers(host.kernel) < NFTABLES_FROM:
        breaks = "and kube-proxy's mode nftables wants 5.13 or newer"
        yield kernel_feature.finding(f"has the kernel {host.kernel}", f"{OTHER_MODE}{REMEDY}", breaks=breaks)
    if node.name in inspection.features:
        tried = inspection.features[node.name]
        for name in wanted(inspection.cluster.settings):
            found, breaks = FEATURES[name]
            if name not in tried:
                yield kernel_feature.finding(
                    f"could not try {name}",
                    "install util-linux, iproute2 and kmod there",
                    breaks="so nothing is known of it",
                    severity="warning",
                )
            elif tried[name] != OK:
                remedy = f"{OTHER_MODE if name == 'ipvs' else ''}{REMEDY}"
                yield kernel_feature.finding(f"{found} ({tried[name]})", remedy, breaks=breaks)
