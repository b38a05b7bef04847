"""podnet's iptables rules among everybody else's: what is missing, doubled, out of order or stale. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv4Network

from agents.podnet.plan import forward_rules, postrouting_rules


def mend(present: Sequence[str], wanted: Sequence[str], stale: Sequence[str] = ()) -> list[str]:
    """Lines for iptables-restore --noflush that leave each wanted rule once and in order, and no stale one.

    ``present`` is a chain as ``iptables -S CHAIN`` writes it; rules of others are never touched. An empty list means
    that nothing is to be done. Everything is one transaction, so taking rules out and appending them anew leaves no
    moment without them.
    """
    ours = [line for line in present if line in wanted or line in stale]
    if ours == list(wanted):
        return []
    return [line.replace("-A ", "-D ", 1) for line in ours] + list(wanted)


def restore_text(table: str, lines: Sequence[str]) -> str:
    return "\n".join([f"*{table}", *lines, "COMMIT", ""])


def earlier_rules(subnet_env: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """FORWARD and POSTROUTING rules that belong to an earlier subnet.env; none if it cannot be read.

    With these, rules of an earlier pod CIDR or node subnet are recognised as podnet's own (or flannel's).
    """
    values = dict(line.partition("=")[::2] for line in subnet_env.splitlines())
    try:
        pod_cidr = IPv4Network(values["FLANNEL_NETWORK"])
        subnet = IPv4Interface(values["FLANNEL_SUBNET"]).network
    except (KeyError, ValueError):
        return (), ()
    return forward_rules(pod_cidr), postrouting_rules(pod_cidr, subnet)


def stale_returns(present: Sequence[str], pod_cidr: IPv4Network, subnet: IPv4Network) -> tuple[str, ...]:
    """RETURN rules for another subnet of the same pod CIDR: left from when this node had another podCIDR."""
    head, tail = f"-A POSTROUTING ! -s {pod_cidr} -d ", " -j RETURN"
    found = []
    for line in present:
        destination = line[len(head) : -len(tail)]
        if line.startswith(head) and line.endswith(tail) and destination != str(subnet):
            try:
                inside = IPv4Network(destination).subnet_of(pod_cidr)
            except ValueError:
                continue
            if inside:
                found.append(line)
    return tuple(found)
