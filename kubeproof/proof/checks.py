"""All checks, and which of them each pod network is held to, in the order in which a person reads them. Pure.

What was seen live is podnet. Those of flannel and Canal were tried on states written out by hand from what their
projects document (tests/unit/proof/test_networks.py).
"""

from collections.abc import Iterable

from kubeproof.config.settings import Settings
from kubeproof.networks.network import Backend
from kubeproof.proof import (
    checks_canal,
    checks_devices,
    checks_filters,
    checks_host,
    checks_host_gw,
    checks_paths,
    checks_pods,
    checks_policies,
    checks_rules,
)
from kubeproof.proof.checks_membership import MEMBERSHIP_CHECKS
from kubeproof.proof.checks_services import SERVICE_CHECKS
from kubeproof.proof.context import Check, Context
from kubeproof.proof.result import CheckResult

EVERY = "every"
BY_ASPECT: tuple[tuple[str, tuple[Check, ...]], ...] = (
    (EVERY, (checks_host.node_ready,)),
    ("subnet-env", (checks_host.subnet_env, checks_host.subnet_of_node_object)),
    (EVERY, (checks_host.sysctls, checks_host.swap_off, checks_host.iptables_variant, *MEMBERSHIP_CHECKS)),
    ("vxlan", (checks_devices.flannel_device, checks_devices.flannel_address, checks_devices.flannel_mtu)),
    ("node-routes", (checks_host_gw.no_tunnel,)),
    ("bridge", (checks_devices.cni0_address, checks_devices.cni0_mtu)),
    ("pod-links", (checks_canal.no_bridge, checks_canal.calico_links, checks_canal.pod_mtus)),
    (EVERY, (checks_devices.docker0_down,)),
    ("bridge", (checks_paths.route_to_own_pods,)),
    ("pod-links", (checks_canal.routes_to_pods,)),
    ("vxlan", (checks_paths.routes_to_other_nodes, checks_paths.arp_entries, checks_paths.fdb_entries)),
    ("node-routes", (checks_host_gw.routes_by_nodes,)),
    ("bridge", (checks_pods.pod_addresses, checks_pods.pod_default_routes, checks_pods.pod_veths)),
    ("pod-links", (checks_canal.pod_single_addresses, checks_canal.pod_link_local_gateways)),
    (EVERY, (checks_pods.pod_namespaces,)),
    ("rules-in-order", (checks_rules.forward_accepts, checks_rules.postrouting_order)),
    ("rules-by-effect", (checks_filters.forward_verdicts, checks_filters.postrouting_verdicts)),
    ("iptables-policies", (checks_filters.policy_chains_first,)),
    ("felix", (checks_filters.felix_chains, checks_filters.felix_first)),
    ("podnet-policies", (checks_policies.policies_in_force,)),
    (EVERY, SERVICE_CHECKS),
)
"""Checks by what a node has that they are about: see Backend.aspects."""
ALL_CHECKS: tuple[Check, ...] = tuple(check for _, checks in BY_ASPECT for check in checks)


def held_to(backend: Backend) -> tuple[Check, ...]:
    """What nodes with this backend of a network are held to."""
    return tuple(check for aspect, checks in BY_ASPECT if aspect in (EVERY, *backend.aspects) for check in checks)


def checks_of(settings: Settings) -> tuple[Check, ...]:
    """What a cluster with these settings is held to."""
    return held_to(settings.backend)


def run_all(contexts: Iterable[Context]) -> list[CheckResult]:
    """Every check of the pod network on every node that could be read."""
    return [check.run(context) for context in contexts for check in checks_of(context.cluster.settings)]


def by_name(name: str) -> Check:
    return next(check for check in ALL_CHECKS if check.name == name)
