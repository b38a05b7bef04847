"""Canal: flannel carries packets from node to node, Calico plugs pods in and enforces NetworkPolicy. Pure.

Sources: the comments in Calico's canal.yaml; "Kubernetes requirements" below each version's system requirements
(docs.tigera.io).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubeproof.networks import effects, flannel
from kubeproof.networks.manifest import Object, Pinned, UnknownManifestError, set_variable
from kubeproof.networks.network import HAIRPIN, VXLAN_OVERHEAD, Agent, Artifacts, Backend, Network

if TYPE_CHECKING:
    from kubeproof.config.settings import Settings

POD_LINK = f"cali{'[0-9a-f]' * 11}"
"""A pod's link on the node: cali and the begin of a hash (libcalico-go, names/workloadendpoint.go)."""
_FELIX = "calico-node"
"""Container that runs Calico's agent."""
_URL = "https://raw.githubusercontent.com/projectcalico/calico/{}/manifests/canal.yaml"


@dataclass(frozen=True)
class CanalManifest(flannel.FlannelManifest):
    """Calico's canal.yaml."""

    def fit(self, objects: list[Object], settings: "Settings", mtu: int | None) -> None:
        super().fit(objects, settings, mtu)
        pool = {"value": str(settings.pod_cidr)}
        set_variable(self.container(objects, _FELIX), "CALICO_IPV4POOL_CIDR", pool, after="IP")

    def set_mtu(self, data: Object, mtu: int) -> None:
        if "veth_mtu" not in data:
            raise UnknownManifestError(f"has no veth_mtu in ConfigMap {self.config_map}")
        data["veth_mtu"] = str(mtu)

    def mtu_of(self, data: Object) -> object:
        return data["veth_mtu"]


NETWORK = Network(
    name="canal",
    title="Canal",
    summary="Canal, flannel by {backend} with Calico's policies",
    backends=(
        Backend(
            "vxlan",
            device=flannel.DEVICE,
            # Its flanneld has no /run/flannel of the host mounted: a subnet.env there is nobody's.
            aspects=("vxlan", "pod-links", "rules-by-effect", "felix"),
            overhead=VXLAN_OVERHEAD,
        ),
    ),
    agent=Agent(
        daemon_set="canal",
        container=flannel.FLANNELD,
        label=("k8s-app", "canal"),
        pod_cidr_query="-n kube-system get configmap canal-config -o jsonpath='{.data.net-conf\\.json}'",
        announced_mac=flannel.announced_mac,
    ),
    artifacts=Artifacts(
        links=(POD_LINK, "flannel.*"),
        # kubelet makes them for its pods.
        directories=("/run/calico", "/run/nodeagent", "/var/lib/calico", "/var/log/calico"),
        evidence=("/run/calico/*", "/var/lib/calico/nodename", "/var/lib/cni/networks/k8s-pod-network"),
        plugins=(
            "/opt/cni/bin/calico",
            "/opt/cni/bin/calico-ipam",
            # The installer of Calico's image, which copies all that it has.
            "/opt/cni/bin/install",
            # Calico's volume driver (up to v3.23).
            "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds",
        ),
        chains=("cali-", "FLANNEL-"),
        comments=("cali:", "flanneld "),
        sets=("cali[46]0*",),
    ),
    conflist="10-canal.conflist",
    more_files=("calico-kubeconfig",),
    effects={
        **flannel.NETWORK.effects,
        "network_policy": effects.nothing("canal always enforces them, and False is refused with the settings"),
    },
    manifest=CanalManifest(
        project="canal",
        config_map="canal-config",
        daemon_set="canal",
        cni_config="cni_network_config",
        brings=("bandwidth", "calico", "calico-ipam", "flannel", "host-local", "loopback", "portmap", "tuning"),
        pinned=(
            Pinned(
                "canal",
                "v3.24.6",
                _URL.format("v3.24.6"),
                "c18661da1a1242f02c017fc1dbc512e815630af51f1a6be714a1c88160ad01cb",
                "1.20",
                named=("1.22", "1.25"),
                # Felix lists them once a second for ever, and calico-node never gets ready.
                known={"1.20": "its agent needs EndpointSlices of discovery.k8s.io/v1, which the API has from 1.21 on"},
            ),
            # Its CustomResourceDefinitions have rules in CEL with isCIDR, which API servers know from 1.31 on
            # (Kubernetes documentation, "Common Expression Language in Kubernetes").
            Pinned(
                "canal",
                "v3.32.1",
                _URL.format("v3.32.1"),
                "aa58a7b245586a90d75d969b9184326f6218acea7e4951ce2931113cd8e91e39",
                "1.31",
                named=("1.34", "1.36"),
            ),
        ),
    ),
    bridge=False,
    # Calico takes the hosts' own MTU, because it knows nothing of flannel's tunnel (felix,
    # dataplane/linux/int_dataplane.go, determinePodMTU).
    finds_mtu=False,
    leaves_neighbours=True,
    enforces=True,
    always_enforces=True,
    policy_resources=("networkpolicies.crd.projectcalico.org", "globalnetworkpolicies.crd.projectcalico.org"),
    known=(HAIRPIN,),
)
