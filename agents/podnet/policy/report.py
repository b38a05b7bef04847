"""What is in force on this node, as a file that others can wait for."""

import json

from agents.podnet.policy.objects import World, labels_hash


def in_force(world: World, rules: int, seconds: float, *, enforced: bool = True) -> str:
    """JSON: policies by resourceVersion, pods with an address and namespaces by their labels (see labels_hash).

    ``seconds`` is how long it took to compute and load the rules, ``rules`` how many they are. ``enforced`` is whether
    policies have any effect on this node.
    """
    document = {
        "enforced": enforced,
        "policies": {name: policy.version for name, policy in sorted(world.policies.items())},
        "pods": {
            name: {"ip": str(pod.address), "labels": labels_hash(pod.labels)}
            for name, pod in sorted(world.pods.items())
            if pod.address is not None
        },
        "namespaces": {name: labels_hash(namespace.labels) for name, namespace in sorted(world.namespaces.items())},
        "inexpressible": {
            name: "; ".join(policy.inexpressible)
            for name, policy in sorted(world.policies.items())
            if policy.inexpressible
        },
        "rules": rules,
        "seconds": round(seconds, 3),
    }
    return json.dumps(document, indent=1) + "\n"
