"""Objects in the cluster, from the control plane host."""

import shlex
from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host

from kubeproof.facts.kubernetes import KUBECTL, ManifestDiffers, Objects
from kubeproof.node.readiness import Expectation, unready
from kubeproof.operations.remote import on_host, wait_until


@operation()
def apply(path: str) -> Generator[str, None, None]:
    """Apply the objects in a file on the host, if that changes any of them."""
    if not host.get_fact(ManifestDiffers, path=path):
        host.noop("the cluster has these objects")
        return
    yield f"{KUBECTL} apply --filename {shlex.quote(path)}"


@operation()
def wait_ready(expected: Expectation, seconds: float) -> Generator[PyinfraCommand, None, None]:
    """Wait until what is expected is ready. Fails after ``seconds``, naming what is not and why."""
    expected = expected.without(_failed_nodes(host))
    objects: list[dict[str, Any]] = host.get_fact(Objects)
    if not unready(objects, expected):
        host.noop("all is ready")
        return
    yield on_host(_wait_ready, expected, seconds)


def _wait_ready(host: Host, expected: Expectation, seconds: float) -> None:
    def problem() -> str:
        objects: list[dict[str, Any]] = host.get_fact(Objects)
        return "; ".join(unready(objects, expected))

    wait_until(problem, seconds)


def _failed_nodes(host: Host) -> frozenset[str]:
    """Hosts that already failed in this run and have been reported: waiting for them would only add a second error."""
    return frozenset(failed.name for failed in host.state.failed_hosts)
