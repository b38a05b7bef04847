"""All checks, and which of them each pod network is held to, in the order in which a person reads them. Pure.

What was seen live is podnet. Those of flannel and Canal were tried on states written out by hand from what their
projects document (tests/unit/proof/test_networks.py).
"""

from collections.abc import Iterable

from kubeproof.config.settings import Settings
from kubeproof.rules.canal import CANAL_DEVICE_CHECKS, CANAL_PATH_CHECKS, CANAL_POD_CHECKS
from kubeproof.rules.devices import (
    DEVICE_CHECKS,
    cni0_address,
    cni0_mtu,
    docker0_down,
    flannel_address,
    flannel_device,
    flannel_mtu,
)
from kubeproof.rules.filters import CANAL_RULE_CHECKS, FLANNEL_RULE_CHECKS
from kubeproof.rules.host import HOST_CHECKS, iptables_variant, node_ready, swap_off, sysctls
from kubeproof.rules.host_gw import HOST_GW_DEVICE_CHECKS, HOST_GW_PATH_CHECKS
from kubeproof.rules.membership import MEMBERSHIP_CHECKS
from kubeproof.rules.paths import (
    PATH_CHECKS,
    arp_entries,
    fdb_entries,
    route_to_own_pods,
    routes_to_other_nodes,
)
from kubeproof.rules.pods import POD_CHECKS, pod_namespaces
from kubeproof.rules.policies import POLICY_CHECKS
from kubeproof.rules.checks_rules import RULE_CHECKS
from kubeproof.rules.services import SERVICE_CHECKS
from kubeproof.rules.context import Check, Context
from kubeproof.rules.result import CheckResult

CHECKS: tuple[Check, ...] = (
    *HOST_CHECKS,
    *MEMBERSHIP_CHECKS,
    *DEVICE_CHECKS,
    *PATH_CHECKS,
    *POD_CHECKS,
    *RULE_CHECKS,
    *POLICY_CHECKS,
    *SERVICE_CHECKS,
)
"""Of podnet."""

BY_NETWORK: dict[tuple[str, str], tuple[Check, ...]] = {
    ("podnet", "vxlan"): CHECKS,
    ("flannel", "vxlan"): (
        *HOST_CHECKS,
        *MEMBERSHIP_CHECKS,
        *DEVICE_CHECKS,
        *PATH_CHECKS,
        *POD_CHECKS,
        *FLANNEL_RULE_CHECKS,
        *SERVICE_CHECKS,
    ),
    ("flannel", "host-gw"): (
        *HOST_CHECKS,
        *MEMBERSHIP_CHECKS,
        *HOST_GW_DEVICE_CHECKS,
        cni0_address,
        cni0_mtu,
        docker0_down,
        route_to_own_pods,
        *HOST_GW_PATH_CHECKS,
        *POD_CHECKS,
        *FLANNEL_RULE_CHECKS,
        *SERVICE_CHECKS,
    ),
    # Canal's flanneld has no /run/flannel of the host mounted: its subnet.env is nobody else's.
    ("canal", "vxlan"): (
        *(node_ready, sysctls, swap_off, iptables_variant),
        *MEMBERSHIP_CHECKS,
        *(flannel_device, flannel_address, flannel_mtu),
        *CANAL_DEVICE_CHECKS,
        docker0_down,
        *CANAL_PATH_CHECKS,
        *(routes_to_other_nodes, arp_entries, fdb_entries),
        *CANAL_POD_CHECKS,
        pod_namespaces,
        *CANAL_RULE_CHECKS,
        *SERVICE_CHECKS,
    ),
}
"""By the settings cni and cni_backend."""

ALL_CHECKS: tuple[Check, ...] = tuple({check.name: check for each in BY_NETWORK.values() for check in each}.values())


def checks_of(settings: Settings) -> tuple[Check, ...]:
    """What a cluster with these settings is held to."""
    return BY_NETWORK[settings.cni, settings.cni_backend]


def run_all(contexts: Iterable[Context]) -> list[CheckResult]:
    """Every check of the pod network on every node that could be read."""
    return [check.run(context) for context in contexts for check in checks_of(context.cluster.settings)]


def by_name(name: str) -> Check:
    return next(check for check in ALL_CHECKS if check.name == name)
