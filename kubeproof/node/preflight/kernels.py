"""Whether a kernel has what pods and Services need, by what came of trying it. Pure."""

from collections.abc import Iterator

from kubeproof.config.settings import Settings
from kubeproof.node.finding import Finding
from kubeproof.node.preflight.inspection import Inspection

FEATURES = {
    "overlay": ("cannot mount an overlay file system", "which images are unpacked to"),
    "veth": ("cannot make a veth pair", "by which a pod is plugged in"),
    "bridge": ("cannot make a bridge", "which pods are plugged into"),
    "vxlan": ("cannot make a VXLAN link", "by which pods reach other nodes"),
    "conntrack": ("tracks no connections (nf_conntrack)", "so no Service has an address"),
    "br_netfilter": (
        "has no br_netfilter",
        "so packets between pods pass by the rules of Services (kubernetes#127593)",
    ),
    "iptables": ("refuses rules as kube-proxy makes them", "so no Service has an address"),
}
"""By name: what is wrong if it fails, and what that breaks."""
OK = "ok"
REMEDY = "boot a kernel whose modules are installed (`uname -r` against `ls /lib/modules` there), or one that has it"


def wanted(settings: Settings) -> tuple[str, ...]:
    """Features that this cluster needs."""
    return tuple(name for name in FEATURES if name != "vxlan" or settings.cni_backend == "vxlan")


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Findings of each host that was asked to try."""
    for node, _ in inspection.answered():
        if node.name not in inspection.features:
            continue
        tried = inspection.features[node.name]
        for name in wanted(inspection.cluster.settings):
            found, breaks = FEATURES[name]
            if name not in tried:
                yield Finding(
                    "kernel-feature",
                    node.name,
                    f"could not try {name}",
                    "so nothing is known of it",
                    "install util-linux, iproute2 and kmod there",
                    "warning",
                )
            elif tried[name] != OK:
                yield Finding("kernel-feature", node.name, f"{found} ({tried[name]})", breaks, REMEDY)
