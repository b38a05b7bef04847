"""Which rules each pod network is held to, in the order in which a person reads them. Pure.

What was seen live is podnet. Those of flannel and Canal were tried on states written out by hand from what their
projects document (tests/unit/proof/test_networks.py).
"""

from collections.abc import Iterable

from kubeproof.config.settings import Settings
from kubeproof.rules import devices, filters, host, identity, membership, paths, pods, policies, services
from kubeproof.rules.context import Context
from kubeproof.rules.result import CheckResult
from kubeproof.rules.rule import Rule

ANY_HOST = (
    membership.node_ready,
    host.node_address,
    host.bridge_netfilter,
    host.ip_forward,
    host.swap,
    host.iptables_mixed,
    host.clock_skew,
    identity.duplicate_hostname,
    identity.duplicate_machine_id,
    identity.duplicate_product_uuid,
    membership.kubelet_healthy,
    membership.control_plane_healthy,
    membership.kubelet_reached,
    membership.network_agent_ready,
    membership.kube_proxy_ready,
    membership.cni_order,
)
SUBNET_ENV = (membership.subnet_env, membership.subnet_of_node_object)
TUNNEL = (devices.flannel_device, devices.flannel_address)
BRIDGE = (devices.cni0_address, devices.cni_mtu, devices.docker0_down, paths.route_to_own_pods)
THROUGH_TUNNEL = (paths.routes_to_other_nodes, paths.arp_entries, paths.fdb_entries)
PODS_ON_BRIDGE = (pods.pod_addresses, pods.pod_default_routes, pods.pod_veths, pods.pod_namespaces)
VERDICTS = (filters.forward_verdicts, filters.postrouting_verdicts)
SERVICES = (
    services.service_chains,
    services.service_endpoints,
    services.node_ports,
    services.service_masquerade,
)

CHECKS: tuple[Rule, ...] = (
    *(*ANY_HOST, *SUBNET_ENV, *TUNNEL, *BRIDGE, *THROUGH_TUNNEL, *PODS_ON_BRIDGE),
    *(filters.forward_accepts, filters.postrouting_order, policies.policy_chains_first, policies.policies_in_force),
    *SERVICES,
)
"""Of podnet."""

BY_NETWORK: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("podnet", "vxlan"): CHECKS,
    ("flannel", "vxlan"): (
        *(*ANY_HOST, *SUBNET_ENV, *TUNNEL, *BRIDGE, *THROUGH_TUNNEL, *PODS_ON_BRIDGE),
        *(*VERDICTS, policies.policy_chains_first, *SERVICES),
    ),
    ("flannel", "host-gw"): (
        *(*ANY_HOST, *SUBNET_ENV, devices.no_tunnel, *BRIDGE, paths.routes_by_nodes, *PODS_ON_BRIDGE),
        *(*VERDICTS, policies.policy_chains_first, *SERVICES),
    ),
    # Canal's flanneld has no /run/flannel of the host mounted: its subnet.env is nobody else's.
    ("canal", "vxlan"): (
        *(*ANY_HOST, *TUNNEL, devices.cni_mtu, devices.no_bridge, pods.calico_links, devices.docker0_down),
        *(paths.routes_to_pods, *THROUGH_TUNNEL),
        *(pods.pod_single_addresses, pods.pod_link_local_gateways, pods.pod_namespaces),
        *(*VERDICTS, policies.felix_chains, policies.felix_first, *SERVICES),
    ),
}
"""By the settings cni and cni_backend."""

ALL_CHECKS: tuple[Rule, ...] = tuple({rule.id: rule for each in BY_NETWORK.values() for rule in each}.values())


def checks_of(settings: Settings) -> tuple[Rule, ...]:
    """What a cluster with these settings is held to."""
    return BY_NETWORK[settings.cni, settings.cni_backend]


def run_all(contexts: Iterable[Context]) -> list[CheckResult]:
    """Every rule of the pod network on every node that could be read."""
    return [rule.check(context) for context in contexts for rule in checks_of(context.cluster.settings)]


def by_name(name: str) -> Rule:
    return next(rule for rule in ALL_CHECKS if rule.id == name)
