"""Canal: flannel carries packets from node to node, Calico plugs pods in and enforces NetworkPolicy. Pure.

Sources: the comments in Calico's canal.yaml; "Kubernetes requirements" below each version's system requirements
(docs.tigera.io).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubeproof.networks import calico, flannel, network
from kubeproof.networks.manifest import Object, set_variable
from kubeproof.networks.network import HAIRPIN, VXLAN_OVERHEAD, Agent, Artifacts, Backend, Network

if TYPE_CHECKING:
    from kubeproof.config.settings import Settings


@dataclass(frozen=True)
class CanalManifest(flannel.FlannelManifest):
    """Calico's canal.yaml."""

    def fit(self, objects: list[Object], settings: "Settings", mtu: int | None) -> None:
        super().fit(objects, settings, mtu)
        pool = {"value": str(settings.pod_cidr)}
        set_variable(self.container(objects, calico.FELIX), "CALICO_IPV4POOL_CIDR", pool, after="IP")

    def set_mtu(self, data: Object, mtu: int) -> None:
        calico.set_mtu(data, mtu, self.config_map)

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
            aspects=("vxlan", "onlink-routes", "pod-links", "rules-by-effect", "felix"),
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
        links=(calico.POD_LINK, "flannel.*"),
        directories=calico.DIRECTORIES,
        evidence=calico.EVIDENCE,
        plugins=calico.PLUGINS,
        chains=(*calico.CHAINS, "FLANNEL-"),
        comments=(*calico.COMMENTS, "flanneld "),
        sets=calico.SETS,
    ),
    conflist="10-canal.conflist",
    more_files=("calico-kubeconfig",),
    effects={
        **flannel.NETWORK.effects,
        "network_policy": network.nothing("canal always enforces them, and False is refused with the settings"),
    },
    manifest=CanalManifest(
        project="canal",
        config_map="canal-config",
        daemon_set="canal",
        cni_config="cni_network_config",
        brings=calico.BRINGS,
        pinned=calico.pinned(
            "canal",
            {
                "v3.24.6": "c18661da1a1242f02c017fc1dbc512e815630af51f1a6be714a1c88160ad01cb",
                "v3.32.1": "aa58a7b245586a90d75d969b9184326f6218acea7e4951ce2931113cd8e91e39",
            },
        ),
    ),
    bridge=False,
    # Calico takes the hosts' own MTU, because it knows nothing of flannel's tunnel (felix,
    # dataplane/linux/int_dataplane.go, determinePodMTU).
    finds_mtu=False,
    leaves_neighbours=True,
    enforces=True,
    always_enforces=True,
    policy_resources=calico.POLICY_RESOURCES,
    known=(HAIRPIN,),
)
