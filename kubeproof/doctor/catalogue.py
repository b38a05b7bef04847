"""All causes that the doctor knows, in the order of the table "What goes wrong in the field". Pure."""

from kubeproof.doctor import causes_between, causes_host, causes_joining, causes_network
from kubeproof.doctor.diagnosis import Cause

CAUSES: tuple[Cause, ...] = (
    causes_host.br_netfilter_off,
    causes_host.ip_forward_off,
    causes_host.swap_on,
    causes_host.cgroup_driver_mismatch,
    causes_network.forward_policy_drop,
    causes_between.vxlan_port_blocked,
    causes_network.mtu_too_large,
    causes_between.underlay_mtu_too_large,
    causes_between.vxlan_checksum_offload,
    causes_network.pod_cidr_mismatch,
    causes_network.stale_cni0,
    causes_network.stale_cni_configuration,
    causes_network.policies_not_enforced,
    causes_network.policies_after_accept,
    causes_host.wrong_node_address,
    causes_joining.join_token_expired,
    causes_host.clock_skew,
    causes_host.same_hostname,
    causes_host.same_machine_id,
    causes_host.same_product_uuid,
    causes_host.mixed_iptables_variants,
    causes_network.leftovers_of_a_reset,
    causes_between.reset_lost_ssh,
)
ROWS = 13
"""Lines of that table; each has a cause here."""


def by_name(name: str) -> Cause:
    return next(cause for cause in CAUSES if cause.name == name)


def table() -> str:
    """The README's list."""
    rows = ["| Diagnosis | What people see | Known from |", "| --- | --- | --- |"]
    rows += [f"| `{cause.name}` | {cause.symptom} | {', '.join(cause.references)} |" for cause in CAUSES]
    return "".join(f"{row}\n" for row in rows)
