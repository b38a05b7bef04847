"""Which rules each pod network is held to, in the order in which a person reads them. Pure.

What was seen live is podnet and flannel, with kube-proxy in its mode iptables. Those of Canal and Calico were tried on
states written out by hand from what their projects document (tests/unit/proof/test_networks.py), Canal's on captures of
a patched build as well; those of kube-proxy's other modes on states made from its sources and from public captures
(tests/unit/proof/proxies.py).
"""

from collections.abc import Iterable

from kubeproof.config.settings import Settings
from kubeproof.networks.network import Backend
from kubeproof.rules import (
    devices,
    filters,
    host,
    identity,
    membership,
    paths,
    pods,
    policies,
    services,
    services_ipvs,
    services_nftables,
)
from kubeproof.rules.context import Context
from kubeproof.rules.result import CheckResult
from kubeproof.rules.rule import Rule

EVERY = "every"
BY_ASPECT: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    (EVERY, (membership.node_ready, host.node_address)),
    ("subnet-env", (membership.subnet_env, membership.subnet_of_node_object)),
    (EVERY, (host.bridge_netfilter, host.ip_forward, host.swap, host.iptables_mixed, host.clock_skew)),
    (EVERY, (identity.duplicate_hostname, identity.duplicate_machine_id, identity.duplicate_product_uuid)),
    (
        EVERY,
        (
            membership.containers_paused,
            membership.kubelet_healthy,
            membership.control_plane_healthy,
            membership.kubelet_reached,
        ),
    ),
    (EVERY, (membership.network_agent_ready, membership.kube_proxy_ready, membership.cni_order)),
    ("vxlan", (devices.flannel_device, devices.flannel_address)),
    ("ipip", (devices.ipip_device, devices.flannel_address)),
    ("tun", (devices.tun_device, devices.flannel_address)),
    ("node-routes", (devices.no_tunnel,)),
    ("bridge", (devices.cni0_address,)),
    (EVERY, (devices.cni_mtu,)),
    ("pod-links", (devices.no_bridge, pods.calico_links)),
    (EVERY, (devices.docker0_down,)),
    ("bridge", (paths.route_to_own_pods,)),
    ("pod-links", (paths.routes_to_pods,)),
    ("onlink-routes", (paths.routes_to_other_nodes,)),
    ("blocks", (paths.routes_to_blocks,)),
    ("tun", (paths.route_to_flanneld,)),
    ("vxlan", (paths.arp_entries, paths.fdb_entries)),
    ("node-routes", (paths.routes_by_nodes,)),
    ("bridge", (pods.pod_addresses, pods.pod_default_routes, pods.pod_veths)),
    ("pod-links", (pods.pod_single_addresses, pods.pod_link_local_gateways)),
    (EVERY, (pods.pod_namespaces,)),
    ("rules-in-order", (filters.forward_accepts, filters.postrouting_order)),
    ("rules-by-effect", (filters.forward_verdicts, filters.postrouting_verdicts)),
    ("iptables-policies", (policies.policy_chains_first,)),
    ("felix", (policies.felix_chains, policies.felix_first)),
    ("podnet-policies", (policies.policies_in_force,)),
    ("proxy-iptables", (services.service_chains,)),
    (EVERY, (services.endpoints_current,)),
    ("proxy-iptables", (services.service_endpoints, services.node_ports, services.service_masquerade)),
    (
        "proxy-ipvs",
        (
            services_ipvs.ipvs_addresses,
            services_ipvs.ipvs_servers,
            services_ipvs.ipvs_sets,
            services_ipvs.ipvs_masquerade,
        ),
    ),
    (
        "proxy-nftables",
        (
            services_nftables.nft_services,
            services_nftables.nft_endpoints,
            services_nftables.nft_node_ports,
            services_nftables.nft_masquerade,
        ),
    ),
)
"""Rules by what a node has that they are about: see Backend.aspects; of kube-proxy its mode."""
ALL_CHECKS: tuple[Rule, ...] = tuple(rule for _, rules in BY_ASPECT for rule in rules)


def held_to(backend: Backend, proxy_mode: str = "iptables") -> tuple[Rule, ...]:
    """What nodes with this backend of a network, and kube-proxy in this mode, are held to."""
    aspects = (EVERY, *backend.aspects, f"proxy-{proxy_mode}")
    return tuple(rule for aspect, rules in BY_ASPECT if aspect in aspects for rule in rules)


def checks_of(settings: Settings) -> tuple[Rule, ...]:
    return held_to(settings.backend, settings.kube_proxy_mode)


def run_all(contexts: Iterable[Context]) -> list[CheckResult]:
    """Every rule of the pod network on every node that could be read."""
    return [rule.check(context) for context in contexts for rule in checks_of(context.cluster.settings)]


def by_name(name: str) -> Rule:
    return next(rule for rule in ALL_CHECKS if rule.id == name)
