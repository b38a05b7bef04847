"""All causes that the doctor knows: what has to run, what goes wrong in the field, the kernel. Pure."""

from kubeproof.doctor import (
    causes_between,
    causes_carriers,
    causes_foreign,
    causes_host,
    causes_network,
    causes_running,
)
from kubeproof.doctor.diagnosis import Cause

CAUSES: tuple[Cause, ...] = (
    causes_running.container_runtime_stopped,
    causes_running.paused,
    causes_running.control_plane_down,
    causes_running.not_joined,
    causes_running.kubelet_stopped,
    causes_network.bridge_of_another_subnet,
    causes_running.network_pods_down,
    causes_running.kube_proxy_down,
    causes_running.cluster_dns_down,
    causes_running.demo_down,
    causes_host.swap_on,
    causes_host.cgroup_driver_mismatch,
    causes_between.vxlan_port_blocked,
    causes_carriers.carrier_refused,
    causes_between.underlay_mtu_too_large,
    causes_between.vxlan_checksum_offload,
    causes_network.pod_cidr_mismatch,
    causes_network.policies_not_enforced,
    causes_host.wrong_node_address,
    causes_host.join_token_expired,
    causes_network.leftovers_of_a_reset,
    causes_between.reset_lost_ssh,
    causes_foreign.ip_rule_in_the_way,
    causes_foreign.route_in_the_way,
    causes_foreign.neighbour_wrong,
    causes_foreign.address_taken,
    causes_foreign.forwarding_off_on_a_device,
)
SUSPECTS: tuple[Cause, ...] = (
    causes_foreign.packets_refused_by_a_rule,
    causes_foreign.translated_before_services,
    causes_foreign.traffic_control,
)
"""What may be in the way of packets: looked for only where some are lost, and nothing else accounts for it."""


def by_name(name: str) -> Cause:
    return next(cause for cause in (*CAUSES, *SUSPECTS) if cause.name == name)
