"""Checks of a node as a host: Ready, subnet.env, sysctls, swap, one iptables variant."""

from ipaddress import IPv4Interface

from kubeproof.proof.context import Context, Finding, UndecidedError, check, same
from kubeproof.state.hostfiles import SUBNET_ENV, SubnetEnv

SYSCTLS = (
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-filter-vlan-tagged",
    "net.ipv4.ip_forward",
)
"""All must be 1 (Kubernetes documentation, "Container runtimes"; the second one for podnet's policies)."""


@check("the API says that the node is Ready", look="journalctl -u kubelet --no-pager -n 30")
def node_ready(context: Context) -> Finding:
    """Node Ready."""
    found = context.api.node(context.node.name)
    if found is None:
        raise UndecidedError(f"the API has no node {context.node.name}: it has not joined the cluster")
    addressed = found.internal_ip == context.node.address
    return Finding(
        found.ready == "True" and addressed,
        f"Ready=True, InternalIP {context.node.address}",
        f"Ready={found.ready}, InternalIP {found.internal_ip}"
        + ("" if found.ready == "True" else f" ({found.ready_message})"),
    )


@check(
    f"{SUBNET_ENV} holds pod CIDR, first address of S, MTU and masquerading",
    needs=("subnet_env", "network"),
    look=f"cat {SUBNET_ENV}",
)
def subnet_env(context: Context) -> Finding:
    """The file that the agent leaves for CNI plugins."""
    first = IPv4Interface((context.gateway, context.subnet.prefixlen))
    expected = SubnetEnv(context.cluster.settings.pod_cidr, first, context.network_mtu, masquerade=True)
    return same(expected, context.state.subnet_env)


@check(
    "the subnet in subnet.env is the podCIDR of the node object, and a part of the pod CIDR",
    needs=("subnet_env",),
    look=f"cat {SUBNET_ENV}; hostname",
)
def subnet_of_node_object(context: Context) -> Finding:
    """S equals .spec.podCIDR, lies in the cluster's pod CIDR, has the node mask and belongs to no other node."""
    settings = context.cluster.settings
    found = _file(context).subnet.network
    inside = found.subnet_of(settings.pod_cidr) and found.prefixlen == settings.pod_subnet_bits
    sharing = [node.name for node in context.api.nodes if node.pod_cidr == found and node.name != context.node.name]
    return Finding(
        found == context.subnet and inside and not sharing,
        f"{context.subnet} (podCIDR of {context.node.name}), a /{settings.pod_subnet_bits} of {settings.pod_cidr}",
        str(found) + (f", which is also the podCIDR of {', '.join(sharing)}" if sharing else ""),
    )


def _file(context: Context) -> SubnetEnv:
    if context.state.subnet_env is None:
        raise UndecidedError(f"there is no {SUBNET_ENV}")
    return context.state.subnet_env


@check("bridged packets pass iptables, and IPv4 is forwarded", needs=("sysctls",), look=f"sysctl {' '.join(SYSCTLS)}")
def sysctls(context: Context) -> Finding:
    """bridge-nf-call-iptables=1 and ip_forward=1 (kubernetes#127593, flannel#2068); tagged frames must not pass by."""
    found = {name: context.state.sysctls.get(name, "not there") for name in SYSCTLS}
    return Finding(
        all(value == "1" for value in found.values()),
        ", ".join(f"{name}=1" for name in SYSCTLS),
        ", ".join(f"{name}={value}" for name, value in found.items()),
    )


@check("no swap is in use", needs=("swaps",), look="cat /proc/swaps; grep swap /etc/fstab")
def swap_off(context: Context) -> Finding:
    """Kubelet refuses to start with swap on (kubernetes#43805)."""
    return Finding(not context.state.swaps, "none", ", ".join(context.state.swaps) or "none")


@check(
    "all iptables rules are in one variant (nf_tables or legacy)",
    needs=("iptables", "other_iptables"),
    look="iptables --version; iptables-legacy-save | head; iptables-nft-save | head",
)
def iptables_variant(context: Context) -> Finding:
    """Rules of the other variant are in force too, but seen by nobody (kubernetes#71305)."""
    ruleset, other = context.state.iptables, context.state.other_iptables
    hidden = f"{other.rule_count} rules in {other.variant or 'the other variant'} too" if other.rule_count else ""
    unseen = f"rules that nothing here can show: {', '.join(other.incompatible)}" if other.incompatible else ""
    native = f"tables that iptables cannot show: {', '.join(ruleset.incompatible)}" if ruleset.incompatible else ""
    found = "; ".join(
        text for text in (ruleset.variant or ruleset.version or "no variant", hidden, unseen, native) if text
    )
    ok = bool(ruleset.variant or ruleset.version) and not (hidden or unseen or native)
    return Finding(ok, f"{ruleset.variant or 'nf_tables or legacy'}, and no rule elsewhere", found)
