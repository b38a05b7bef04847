"""The lab's network on its machine: one bridge with the gateway's address, and guards that keep lab traffic on it.

Guards are of two kinds. An `unreachable` route of the highest metric for each of the lab's ranges decides when no
better route exists, so that nothing addressed to the lab follows the machine's default route while the lab is down.
An nftables table of the lab's own forbids forwarding between the bridge and any other interface, whatever the
machine's ip_forward says, and lets nodes reach only the mirror on the gateway.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from kubeproof.terminal.console import say
from lab import shell
from lab.settings import LabSettings

TABLE = "kubeproof_lab"
MARK = "kubeproof-lab"
"""Alias of the lab's bridge and comment of its iptables rule: what the lab made, and may take away."""
GUARD_METRIC = 4294967295
"""The least preferred metric there is: any real route wins."""
PROC_ROUTES = Path("/proc/net/route")
PROC_LOCAL = Path("/proc/net/fib_trie")
REJECTING_ROUTE = 0x200
"""RTF_REJECT of linux/route.h."""


@dataclass(frozen=True)
class Route:
    """Where this machine sends packets to a network."""

    to: IPv4Network
    device: str


def up(lab: LabSettings) -> int:
    """Make the bridge, its address and the guards; return how many of them were missing."""
    changes = sum(_ensure_guard(network) for network in guarded(lab))
    changes += _ensure_bridge(lab)
    changes += _ensure_table(lab)
    changes += _ensure_bridged_passes(lab)
    if changes:
        say(f"lab network {lab.node_network} on bridge {lab.bridge}, gateway {lab.gateway}")
    return changes


def down(lab: LabSettings) -> int:
    """Take the bridge and the rules away. The unreachable routes stay: see :func:`remove_guards`."""
    changes = 0
    for bridge in _own_bridges():
        if shutil.which("iptables") and _bridged_passes(bridge):
            shell.run(["iptables", "--wait", "30", "--delete", "FORWARD", *_bridged(bridge)])
            changes += 1
        shell.run(["ip", "link", "delete", bridge])
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
    """Links and ranges of the lab that this machine already uses otherwise; one line each."""
    own = _own_bridges()
    problems = [
        f"{other}: is the bridge of a lab with other settings; run `./inv lab.down` first"
        for other in own
        if other != lab.bridge
    ]
    if _link_exists(lab.bridge) and lab.bridge not in own:
        problems.append(f"{lab.bridge}: is a network device of this machine; set another bridge in lab/lab.toml")
    routes = parse_routes(PROC_ROUTES.read_text())
    return [*problems, *overlaps(lab, routes), *_taken(lab, routes, PROC_LOCAL.read_text())]


def _own_bridges() -> list[str]:
    """Links that bear the lab's mark, whatever the settings call them."""
    aliases = Path("/sys/class/net").glob("*/ifalias")
    return sorted(file.parent.name for file in aliases if file.read_text().strip() == MARK)


def overlaps(lab: LabSettings, routes: Iterable[Route]) -> list[str]:
    """A line for each route of the machine that leads to addresses of the lab, but the lab's own. Pure."""
    return [
        f"{network} of the lab overlaps this machine's route to {route.to} (dev {route.device}); "
        "set another range in lab/lab.toml"
        for route in routes
        for network in guarded(lab)
        if route.device != lab.bridge and network.overlaps(route.to)
    ]


def _taken(lab: LabSettings, routes: Iterable[Route], local: str) -> list[str]:
    """A line for each address of this machine that is one of the lab's and that no route tells of, as on lo. Pure."""
    networks = [route.to for route in routes]
    return [
        f"{network} of the lab has an address of this machine in it ({address}); set another range in lab/lab.toml"
        for address in parse_local(local)
        for network in guarded(lab)
        if address in network and address != lab.gateway and not any(address in other for other in networks)
    ]


def parse_local(text: str) -> list[IPv4Address]:
    """This machine's own addresses from /proc/net/fib_trie, which shows some twice."""
    found = re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", text)
    return [IPv4Address(word) for word in dict.fromkeys(found)]


def parse_routes(text: str) -> list[Route]:
    """Routes from /proc/net/route, without the default route and those that lead nowhere.

    Addresses are hexadecimal there, in the byte order of the machine (proc(5)). It needs no package.
    """
    routes = []
    for line in text.splitlines()[1:]:
        device, destination, _, flags, _, _, _, mask, *_ = line.split()
        if int(mask, 16) and not int(flags, 16) & REJECTING_ROUTE:
            address, netmask = (IPv4Address(bytes.fromhex(word)[::-1]) for word in (destination, mask))
            routes.append(Route(IPv4Network(f"{address}/{netmask}"), device))
    return routes


def _ensure_bridge(lab: LabSettings) -> int:
    if is_up(lab):
        return 0
    if not _link_exists(lab.bridge):
        shell.run(["ip", "link", "add", lab.bridge, "type", "bridge"])
        shell.run(["ip", "link", "set", lab.bridge, "alias", MARK])
    # The lab is IPv4 only; without this the machine would announce itself to the nodes by IPv6.
    ipv6 = Path(f"/proc/sys/net/ipv6/conf/{lab.bridge}/disable_ipv6")
    if ipv6.exists():
        ipv6.write_text("1")
    shell.run(["ip", "addr", "replace", f"{lab.gateway}/{lab.node_network.prefixlen}", "dev", lab.bridge])
    shell.run(["ip", "link", "set", lab.bridge, "up"])
    return 1


def _ensure_bridged_passes(lab: LabSettings) -> int:
    """Let packets between nodes pass this machine's own firewall, where it has one.

    With br_netfilter they go through its FORWARD chain although it only bridges them, and Docker makes that drop.
    """
    if not shutil.which("iptables") or _bridged_passes(lab.bridge):
        return 0
    shell.run(["iptables", "--wait", "30", "--insert", "FORWARD", *_bridged(lab.bridge)])
    return 1


def _bridged_passes(bridge: str) -> bool:
    return shell.succeeds(["iptables", "--wait", "30", "--check", "FORWARD", *_bridged(bridge)])


def _bridged(bridge: str) -> list[str]:
    match = ["--in-interface", bridge, "--out-interface", bridge]
    return [*match, "--match", "comment", "--comment", MARK, "--jump", "ACCEPT"]


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
    chains = _render_chains(lab)
    version = hashlib.sha256(chains.encode()).hexdigest()[:16]
    return f"""\
table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
    comment "rules of the kubeproof lab, version {version}"
{chains}}}
"""


def _render_chains(lab: LabSettings) -> str:
    ranges = ", ".join(str(network) for network in guarded(lab))
    return f"""\
    chain forward {{
        type filter hook forward priority -10; policy accept;
        iifname "{lab.bridge}" oifname != "{lab.bridge}" counter drop
        oifname "{lab.bridge}" iifname != "{lab.bridge}" counter drop
    }}
    chain input {{
        type filter hook input priority -10; policy accept;
        iifname != {{ "lo", "{lab.bridge}" }} ip daddr {{ {ranges} }} counter drop
        iifname != "{lab.bridge}" accept
        ct state established,related accept
        ip daddr {lab.gateway} tcp dport {{ {lab.registry_port}, {lab.apt_port} }} accept
        ip daddr {lab.gateway} icmp type echo-request accept
        counter drop
    }}
    chain output {{
        type filter hook output priority -10; policy accept;
        oifname != {{ "lo", "{lab.bridge}" }} ip daddr {{ {ranges} }} counter drop
    }}
"""


def _link_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _addresses(link: str) -> list[str]:
    listing = json.loads(shell.run(["ip", "-json", "-4", "addr", "show", "dev", link]) or "[]")
    return [info["local"] for entry in listing for info in entry.get("addr_info", [])]
