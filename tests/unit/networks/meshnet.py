"""A pod network that does not exist: all that has to be known of it, in the one module that it would have."""

from typing import TYPE_CHECKING

from kubeproof.networks import network
from kubeproof.networks.manifest import Manifest, Object, Pinned, set_variable
from kubeproof.networks.network import Agent, Artifacts, Backend, Network

if TYPE_CHECKING:
    from kubeproof.config.settings import Settings


class MeshManifest(Manifest):
    """One DaemonSet, which takes the pod CIDR from its environment and the MTU from a ConfigMap."""

    def fit(self, objects: list[Object], settings: "Settings", mtu: int | None) -> None:
        set_variable(self.container(objects, "meshd"), "MESH_PODS", {"value": str(settings.pod_cidr)})
        if mtu is not None:
            self.data(objects)["mtu"] = str(mtu)

    def overruled(self, objects: list[Object], settings: "Settings") -> list[str]:
        return []

    def told(self, data: Object) -> dict[str, object]:
        return {"cni_mtu": data.get("mtu", "")}


NETWORK = Network(
    name="meshnet",
    title="Mesh net",
    summary="Mesh net, by {backend}",
    backends=(
        Backend("gre", device="mesh.gre", aspects=("pod-links", "rules-by-effect"), overhead=24),
        Backend("plain", device="mesh.gre", aspects=("node-routes", "pod-links", "rules-by-effect")),
    ),
    agent=Agent(
        "mesh",
        container="meshd",
        label=("app", "mesh"),
        namespaces=("mesh-system",),
        pod_cidr_query="get configmap mesh",
    ),
    artifacts=Artifacts(
        links=("mesh.*", "meshpod*"),
        directories=("/run/mesh",),
        evidence=("/run/mesh/node",),
        plugins=("/opt/cni/bin/mesh",),
        chains=("MESH-",),
        comments=("mesh:",),
        sets=("mesh-*",),
        nft_tables=("mesh",),
    ),
    conflist="10-mesh.conflist",
    effects={
        "cni_manifest": network.applied("its objects are applied"),
        "cni_mtu": network.refused(),
        "cni_backend": network.refused(),
        "cni_interface": network.NOT_USED,
        "network_policy": network.nothing("it always enforces them"),
    },
    manifest=MeshManifest(
        project="meshnet",
        config_map="mesh",
        daemon_set="mesh",
        cni_config="mesh.conflist",
        brings=("mesh",),
        pinned=(Pinned("meshnet", "v1", "https://mesh.example.net/v1/mesh.yaml", "0" * 64, "1.20", run=("1.20",)),),
    ),
    bridge=False,
    finds_mtu=False,
    enforces=True,
    always_enforces=True,
)
