"""What kind of machine a host is, for deploy code: found out once for all hosts, before anything is changed."""

from collections.abc import Mapping

from pyinfra import host, state
from pyinfra.api.exceptions import DeployError

from kubeproof.config.tables.systems import System, system_of
from kubeproof.deploy.roles import cluster
from kubeproof.state.node import NodeState

_known: dict[int, dict[str, NodeState]] = {}


def remember(hosts: Mapping[str, NodeState]) -> None:
    """Keep what preflight has found out of the hosts of the current pyinfra run."""
    _known[id(state.inventory)] = dict(hosts)


def machine() -> NodeState:
    """What is known of the host that deploy code is being prepared for. Raises DeployError if it was not asked."""
    try:
        return _known[id(state.inventory)][host.name]
    except KeyError:
        raise DeployError(f"{host.name}: was not asked what it is; preflight has to come first") from None


def enforcing() -> bool:
    """Whether SELinux is to hold on that host for containers too."""
    return system().selinux and cluster().settings.selinux == "enforcing"


def system() -> System:
    """Its operating system. Raises DeployError if that is not supported."""
    written = machine().system
    found = system_of(written)
    if found is None:
        raise DeployError(f"{host.name}: runs {written or 'an unknown system'}, which is not supported")
    return found
