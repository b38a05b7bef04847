"""The pod networks that a cluster can have: another one is a module and a line here. Pure."""

from kubeproof.networks import calico, canal, flannel, podnet
from kubeproof.networks.network import Network

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        podnet.NETWORK,
        flannel.NETWORK,
        canal.NETWORK,
        calico.NETWORK,
    )
}
"""By the value of the setting cni."""
BACKENDS = tuple(dict.fromkeys(backend.name for network in NETWORKS.values() for backend in network.backends))
"""Values of the setting cni_backend."""
