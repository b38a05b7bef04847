"""podnet's agents away from the nodes, for what has to hold, or must not, without them."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.remote import kubectl

AGENTS_OFF = '{"spec":{"template":{"spec":{"nodeSelector":{"no-such-node":"true"}}}}}'
AGENTS_ON = '{"spec":{"template":{"spec":{"nodeSelector":{"no-such-node":null}}}}}'


@contextmanager
def no_agents() -> Iterator[None]:
    """No agent runs on any node; in the end they are back and ready."""
    kubectl(f"-n kube-system patch daemonset podnet --type merge -p '{AGENTS_OFF}'")
    try:
        kubectl("-n kube-system wait --for=delete pod -l app=podnet --timeout=180s")
        yield
    finally:
        kubectl(f"-n kube-system patch daemonset podnet --type merge -p '{AGENTS_ON}'")
        kubectl("-n kube-system rollout status daemonset/podnet --timeout=180s")
