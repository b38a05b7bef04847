"""Facts about what a cluster leaves in a host's network."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from kubeproof.deploy.facts import sections
from kubeproof.deploy.facts.lines import Lines
from kubeproof.networks import artifacts
from kubeproof.networks.plugins import FOLDER
from kubeproof.node import paths
from kubeproof.node.network_artifacts import LinkAddress, NetworkTraces
from kubeproof.state.errors import ParseError
from kubeproof.state.iproute import parse_links


@dataclass(frozen=True)
class Rules:
    """iptables rules of both families, as iptables-save and ip6tables-save print them."""

    ipv4: str = ""
    ipv6: str = ""


class IptablesRules(FactBase[Rules]):
    """Reads :class:`Rules`; empty where there are no such tools."""

    def command(self) -> str:
        return sections.script({"ipv4": "iptables-save", "ipv6": "ip6tables-save"})

    default = staticmethod(Rules)

    def process(self, output: list[str]) -> Rules:
        found = sections.read(output)
        return Rules(*("\n".join(found.get(family, ())) for family in ("ipv4", "ipv6")))


class ForwardPolicy(FactBase[str]):
    """Default of iptables' FORWARD chain, "ACCEPT" or "DROP"; empty where there is no iptables yet."""

    def command(self) -> str:
        return "iptables --wait 30 --list-rules FORWARD 2>/dev/null | head -n 1; true"

    @staticmethod
    def default() -> str:
        return ""

    def process(self, output: list[str]) -> str:
        return output[0].rpartition(" ")[2] if output else ""


class ClusterLinks(Lines):
    """Network devices that a pod network leaves: those of ``names`` (patterns of the shell), and ports of cni0."""

    def command(self, names: list[str]) -> str:
        paths = " ".join(f"/sys/class/net/{name}" for name in names)
        return (
            f"for link in {paths}; do [ -e $link ] && echo ${{link##*/}}; done; "
            "ls /sys/class/net/cni0/brif 2>/dev/null; true"
        )


class NftTables(FactBase[dict[str, str]]):
    """nft tables by family and name (such as "ip filter"), each with its listing; empty where there is no nft."""

    def command(self) -> str:
        return "command -v nft >/dev/null && nft --stateless list ruleset || true"

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        tables: dict[str, list[str]] = {}
        current: list[str] = []
        for line in output:
            if line.startswith("table "):
                current = tables.setdefault(line.removeprefix("table ").removesuffix("{").strip(), [])
            current.append(line)
        return {name: "\n".join(lines) for name, lines in tables.items()}


class RoutesInto(Lines):
    """Routes by a gateway into ``networks`` or parts of them that are of no link of a pod network, as ip-route(8) takes
    them: ``10.244.1.0/24 via 192.0.2.12 dev eth0``."""

    def command(self, networks: list[str]) -> str:
        listed = "; ".join(f"ip -4 route show root {network}" for network in networks)
        by_gateway = '$2 == "via" {print $1, $2, $3, $4, $5}'
        return f"{{ {listed}; }} 2>/dev/null | awk '{by_gateway}'; true"

    def process(self, output: list[str]) -> list[str]:
        routes = dict.fromkeys(line.strip() for line in output if line.strip())
        return [route for route in routes if not artifacts.is_own_link(route.split()[-1])]


class AddressSets(Lines):
    """Names of the ipsets that a pod network's agent leaves; empty where there is no ipset(8)."""

    def command(self) -> str:
        listed = "for set in $(ipset list -name 2>/dev/null)"
        return f"{listed}; do case $set in {'|'.join(artifacts.SETS)}) echo $set;; esac; done; true"


class Plugins(Lines):
    """Names of the CNI plugins on a host."""

    def command(self) -> str:
        return f"ls {FOLDER} 2>/dev/null || true"


class Traces(FactBase[NetworkTraces]):
    """Reads :class:`NetworkTraces`."""

    def command(self) -> str:
        patterns = (*artifacts.LINKS, *artifacts.OTHERS_LINKS, *artifacts.SERVICE_LINKS)
        links = " ".join(f"/sys/class/net/{name}" for name in patterns)
        return sections.script(
            {
                "remembered": f"ls {paths.RECORD}",
                "configurations": f"ls {artifacts.CONFIGURATIONS}",
                "interfaces": "ls /sys/class/net",
                "links": f"for link in {links}; do [ -e $link ] && echo ${{link##*/}}; done; "
                # The kernel makes this one by itself; only with an address somebody uses it.
                f"ip -o -4 addr show dev {artifacts.KERNELS_LINK} | grep -q inet && echo {artifacts.KERNELS_LINK}",
                "files": f"ls -d {' '.join(artifacts.EVIDENCE)}",
                "plugins": f"ls {FOLDER}",
                "tunnels": "ip -j -d link show type vxlan",
                "udp": "ss -Hlun | awk '{print $4}'",
                "addresses": "ip -o -4 addr show | while read -r _ link _ address _; do "
                'echo "$link ${address%/*} $(cat /sys/class/net/$link/mtu)"; done',
                "tcp": "ss -Hltn | awk '{print $4}'",
                "routes": "ip -o -4 route show table all",
                "virtual_servers": "awk '$1 ~ /^(TCP|UDP|SCTP)$/ {print $2}' /proc/net/ip_vs",
            }
        )

    default = staticmethod(NetworkTraces)

    def process(self, output: list[str]) -> NetworkTraces:
        found = {name: tuple(lines) for name, lines in sections.read(output).items()}
        text = "\n".join(found.get("tunnels", ()))
        routes = tuple(line for line in found.get("routes", ()) if line.split()[0] not in _OTHER_TYPES)
        try:
            return NetworkTraces(
                remembered=bool(found.get("remembered")),
                configurations=found.get("configurations", ()),
                interfaces=found.get("interfaces", ()),
                links=found.get("links", ()),
                files=found.get("files", ()),
                plugins=found.get("plugins", ()),
                tunnels=parse_links(text, []),
                udp_ports=_ports(found.get("udp", ())),
                tcp_ports=_ports(found.get("tcp", ())),
                routes=tuple(dict.fromkeys(_route(line) for line in routes if _is_to_a_network(line))),
                unreachable=_unreachable(found.get("routes", ())),
                virtual_servers=_virtual_servers(found.get("virtual_servers", ())),
                default_link=next(
                    (_route(line)[1] for line in routes if not _is_to_a_network(line) and " table " not in line), ""
                ),
                addresses=tuple(
                    _address(words)
                    for words in map(str.split, found.get("addresses", ()))
                    if len(words) == 3 and words[2].isdecimal()
                ),
            )
        except (ParseError, ValueError) as error:
            raise FactProcessError(f"unexpected answer: {error}") from error


_NOWHERE = ("blackhole", "unreachable", "prohibit")
_OTHER_TYPES = (*_NOWHERE, "throw", "local", "broadcast", "multicast", "anycast", "nat")
"""Types of routes (ip-route(8)); those of type unicast are written without it."""


def _unreachable(lines: tuple[str, ...]) -> tuple[str, ...]:
    rows = (line.split() for line in lines)
    return tuple(dict.fromkeys(row[1] for row in rows if row[0] in _NOWHERE and row[1:] and row[1] != "default"))


def _virtual_servers(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses of lines such as 0A600001:01BB, once each; those of IPv6 are written in brackets."""
    found = (re.match(r"([0-9A-F]{8}):[0-9A-F]{4}$", line.strip()) for line in lines)
    return tuple(dict.fromkeys(str(IPv4Address(int(item[1], 16))) for item in found if item))


def _is_to_a_network(route: str) -> bool:
    return not route.startswith("default ")


def _route(line: str) -> tuple[str, str]:
    """Destination and link of a line of ip-route(8); one without a link has several ways."""
    words = line.split()
    return words[0], words[words.index("dev") + 1] if "dev" in words[:-1] else ""


def _address(words: list[str]) -> LinkAddress:
    link, address, mtu = words
    return LinkAddress(link, address, int(mtu))


def _ports(addresses: tuple[str, ...]) -> tuple[int, ...]:
    """Port of each "address:port" of ss(8), each once."""
    ports = (address.rpartition(":")[2] for address in addresses)
    return tuple(sorted({int(port) for port in ports if port.isdecimal()}))
