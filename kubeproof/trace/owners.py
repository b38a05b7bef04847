"""Whose a rule is, told by its chain or table, and a rule in words of its tool. Pure."""

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

from kubeproof.state.iptables import Rule

BY_HAND = "by hand"
_CHAINS = {
    "KUBE-FIREWALL": "kubelet",
    "KUBE-MARK-DROP": "kubelet",
    "KUBE-ROUTER": "kube-router",
    "KUBE-": "kube-proxy",
    "cali-": "Calico",
    "DOCKER": "Docker",
    "FLANNEL-": "flannel",
    "PODNET-": "podnet",
    "CNI-": "CNI plugin",
    "CILIUM_": "Cilium",
    "WEAVE": "Weave",
    "ISTIO_": "Istio",
    "LIBVIRT_": "libvirt",
    "ufw-": "ufw",
}
"""By beginnings of names of chains, the longer ones first."""


def owner_of(rule: Rule, pod_cidr: IPv4Network | None, network: str) -> str:
    """Whose an iptables rule is; in the kernel's own chains those about all pods are the pod network's."""
    for name in (rule.chain, rule.target):
        found = next((owner for beginning, owner in _CHAINS.items() if name.startswith(beginning)), "")
        if found:
            return found
    if "docker0" in (part.value for part in (rule.in_interface, rule.out_interface) if part):
        return "Docker"
    ends = [part.value for part in (rule.source, rule.destination) if part]
    if pod_cidr is not None and pod_cidr in ends:
        return network
    if any(end.is_private and end.prefixlen == 16 and str(end).startswith("172.") for end in ends):
        return "Docker"
    return BY_HAND


def owner_of_table(name: str) -> str:
    """Whose a table of nftables is."""
    return {"podnet": "podnet", "firewalld": "firewalld", "kube-proxy": "kube-proxy"}.get(name, BY_HAND)


def rule_text(table: str, rule: Rule) -> str:
    return f"iptables -t {table} {rule.text or rule}"


def nft_text(rule: Mapping[str, Any], what: str) -> str:
    comment = f' comment "{rule["comment"]}"' if rule.get("comment") else ""
    return f"nft {rule['family']} {rule['table']} {rule['chain']} (handle {rule['handle']}): {what}{comment}"
