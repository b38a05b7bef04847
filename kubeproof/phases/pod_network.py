"""The pod network: an agent on every node, which starts there as soon as the node has joined."""

from pyinfra.api import deploy

from kubeproof.phases import manifests


@deploy("Pod network")
def apply() -> None:
    """Apply podnet's objects."""
    manifests.apply("podnet", "podnet.yaml.j2")
