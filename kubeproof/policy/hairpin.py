"""A pod that reaches itself through its own Service, where the pod network does not see that it is itself. Pure."""

from dataclasses import replace

from kubeproof.policy.engine import PodEnd, judge
from kubeproof.policy.model import Judged, Pod, World


def shut_out_of_itself(world: World, pod: Pod, protocol: Judged, port: int) -> bool:
    """Whether policies would shut out another pod with the same namespace, labels and address."""
    twin = replace(pod, name=f"{pod.name}-by-its-service")
    return not judge(world, PodEnd(twin), PodEnd(pod), protocol, port).allowed
