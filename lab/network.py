"""The lab's network on its machine: one bridge with the gateway's address, and guards that keep lab traffic on it.

Guards are of two kinds. An `unreachable` route of the highest metric for each of the lab's ranges decides when no
better route exists, so that nothing addressed to the lab follows the machine's default route while the lab is down.
An nftables table of the lab's own forbids forwarding between the bridge and any other interface, whatever the
machine's ip_forward says, and lets nodes reach only the mirror on the gateway.
"""

import ipaddress
import json
from ipaddress import IPv4Network
from pathlib import Path

from kubeproof.console import say
from lab import shell
from lab.settings import LabSettings

PACKAGES = ("iproute2", "nftables")

TABLE = "kubeproof_lab"
GUARD_METRIC = 4294967295
"""The least preferred metric there is: any real route wins."""


def up(lab: LabSettings) -> int:
    """Make the bridge, its address and the guards; return how many of them were missing."""
    changes = sum(_ensure_guard(network) for network in guarded(lab))
    changes += _ensure_bridge(lab)
    changes += _ensure_table(lab)
    if changes:
        say(f"lab network {lab.node_network} on bridge {lab.bridge}, gateway {lab.gateway}")
    return changes


def down(lab: LabSettings) -> int:
    """Take the bridge and the nftables table away. The unreachable routes stay: see :func:`remove_guards`."""
    changes = 0
    if _link_exists(lab.bridge):
        shell.run(["ip", "link", "delete", lab.bridge])
        changes += 1
    if _table() is not None:
        shell.run(["nft", "delete", "table", "inet", TABLE])
        changes += 1
    return changes


def remove_guards(lab: LabSettings) -> int:
    """Remove the unreachable routes too; from then on the lab's addresses are ordinary ones to this machine."""
    present = [network for network in guarded(lab) if _guard_exists(network)]
    for network in present:
        shell.run(["ip", "route", "del", *_guard(network)])
    return len(present)


def is_up(lab: LabSettings) -> bool:
    """Whether the bridge exists, is up and has the gateway's address."""
    return _link_exists(lab.bridge) and str(lab.gateway) in _addresses(lab.bridge)


def guarded(lab: LabSettings) -> tuple[IPv4Network, ...]:
    """Ranges whose addresses exist in the lab only."""
    return (lab.node_network, lab.pod_cidr, lab.service_cidr)


def check(lab: LabSettings) -> list[str]:
    """Ranges of the lab that this machine already uses otherwise; one line each."""
    problems = []
    for route in json.loads(shell.run(["ip", "-json", "-4", "route", "show"]) or "[]"):
        if route["dst"] == "default" or route.get("type") == "unreachable" or route.get("dev") == lab.bridge:
            continue
        used = ipaddress.ip_network(route["dst"], strict=False)
        problems += [
            f"{network} of the lab overlaps this machine's route to {used} (dev {route.get('dev', '-')}); "
            "set another range in lab/lab.toml"
            for network in guarded(lab)
            if network.overlaps(used)
        ]
    return problems


def _ensure_bridge(lab: LabSettings) -> int:
    if is_up(lab):
        return 0
    if not _link_exists(lab.bridge):
        shell.run(["ip", "link", "add", lab.bridge, "type", "bridge"])
    # The lab is IPv4 only; without this the machine would announce itself to the nodes by IPv6.
    Path(f"/proc/sys/net/ipv6/conf/{lab.bridge}/disable_ipv6").write_text("1")
    shell.run(["ip", "addr", "replace", f"{lab.gateway}/{lab.node_network.prefixlen}", "dev", lab.bridge])
    shell.run(["ip", "link", "set", lab.bridge, "up"])
    return 1


def _ensure_guard(network: IPv4Network) -> int:
    if _guard_exists(network):
        return 0
    shell.run(["ip", "route", "add", *_guard(network)])
    return 1


def _guard(network: IPv4Network) -> list[str]:
    return ["unreachable", str(network), "metric", str(GUARD_METRIC)]


def _guard_exists(network: IPv4Network) -> bool:
    return bool(shell.run(["ip", "route", "show", "type", "unreachable", "exact", str(network)]).strip())


def _ensure_table(lab: LabSettings) -> int:
    wanted = render_table(lab)
    if _table() == _comment(wanted):
        return 0
    shell.run(["nft", "-f", "-"], stdin=wanted)
    return 1


def _table() -> str | None:
    """The comment of the table in the kernel, which tells what text it was loaded from."""
    if not shell.succeeds(["nft", "list", "table", "inet", TABLE]):
        return None
    return _comment(shell.run(["nft", "list", "table", "inet", TABLE]))


def _comment(text: str) -> str:
    return text.partition('comment "')[2].partition('"')[0]


def render_table(lab: LabSettings) -> str:
    """The nftables rules, replacing what an earlier version loaded in one transaction."""
    ranges = ", ".join(str(network) for network in guarded(lab))
    ports = f"{lab.registry_port}, {lab.apt_port}"
    return f"""\
table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
    comment "kubeproof lab: bridge {lab.bridge}, ranges {ranges}, mirror ports {ports}"
    chain forward {{
        type filter hook forward priority -10; policy accept;
        iifname "{lab.bridge}" oifname != "{lab.bridge}" counter drop
        oifname "{lab.bridge}" iifname != "{lab.bridge}" counter drop
    }}
    chain input {{
        type filter hook input priority -10; policy accept;
        iifname != "{lab.bridge}" accept
        ct state established,related accept
        ip daddr {lab.gateway} tcp dport {{ {ports} }} accept
        ip daddr {lab.gateway} icmp type echo-request accept
        counter drop
    }}
    chain output {{
        type filter hook output priority -10; policy accept;
        oifname != {{ "lo", "{lab.bridge}" }} ip daddr {{ {ranges} }} counter drop
    }}
}}
"""


def _link_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _addresses(link: str) -> list[str]:
    listing = json.loads(shell.run(["ip", "-json", "-4", "addr", "show", "dev", link]) or "[]")
    return [info["local"] for entry in listing for info in entry.get("addr_info", [])]
