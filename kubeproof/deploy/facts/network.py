"""Facts about what a cluster leaves in a host's network."""

from pyinfra.api.facts import FactBase

from kubeproof.deploy.facts.questions import Answers, Lines, Questions
from kubeproof.networks import artifacts
from kubeproof.networks.plugins import FOLDER


class IptablesRules(Questions[dict[str, str]]):
    """Rules by tool, as iptables-save and ip6tables-save print them; empty where there are no such tools."""

    def questions(self) -> dict[str, str]:
        return {"iptables": "iptables-save", "ip6tables": "ip6tables-save"}

    def read(self, found: Answers) -> dict[str, str]:
        return {tool: "\n".join(found[tool]) for tool in self.questions()}


class ForwardPolicy(FactBase[str]):
    """Default of iptables' FORWARD chain, "ACCEPT" or "DROP"; empty where there is no iptables yet."""

    def command(self) -> str:
        return "iptables --wait 30 --list-rules FORWARD 2>/dev/null | head -n 1; true"

    default = str

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


class KernelsLink(Lines):
    """The kernel's own link of IP in IP, where it has an address in one of ``networks``."""

    def command(self, networks: list[str]) -> str:
        shown = "; ".join(f"ip -4 -o addr show dev {artifacts.KERNELS_LINK} to {network}" for network in networks)
        return f"{{ {shown}; }} 2>/dev/null | awk '{{print $2; exit}}'; true"


class NftTables(FactBase[dict[str, str]]):
    """nft tables by family and name (such as "ip filter"), each with its listing; empty where there is no nft."""

    def command(self) -> str:
        return "command -v nft >/dev/null && nft --stateless list ruleset || true"

    default = dict

    def process(self, output: list[str]) -> dict[str, str]:
        tables: dict[str, list[str]] = {}
        current: list[str] = []
        for line in output:
            if line.startswith("table "):
                current = tables.setdefault(line.removeprefix("table ").removesuffix("{").strip(), [])
            current.append(line)
        return {name: "\n".join(lines) for name, lines in tables.items()}


class RoutesInto(Lines):
    """Routes into ``networks`` or parts of them that go with no link of a pod network, as ip-route(8) takes them: by a
    gateway (``10.244.1.0/24 via 192.0.2.12 dev eth0``), or nowhere (``blackhole 10.244.1.0/26``)."""

    def command(self, networks: list[str]) -> str:
        listed = "; ".join(f"ip -4 route show root {network}" for network in networks)
        kinds = '$2 == "via" {print $1, $2, $3, $4, $5} $1 == "blackhole" {print $1, $2}'
        return f"{{ {listed}; }} 2>/dev/null | awk '{kinds}'; true"

    def process(self, output: list[str]) -> list[str]:
        routes = dict.fromkeys(super().process(output))
        devices = {route: route.split()[-1] for route in routes}
        return [
            route
            for route, device in devices.items()
            if device != artifacts.KERNELS_LINK and not artifacts.is_own_link(device)
        ]


class AddressSets(Lines):
    """Names of the ipsets that a pod network's agent and kube-proxy leave; empty where there is no ipset(8)."""

    def command(self) -> str:
        listed = "for set in $(ipset list -name 2>/dev/null)"
        return f"{listed}; do case $set in {'|'.join(artifacts.SETS)}) echo $set;; esac; done; true"


class VirtualServers(Lines):
    """/proc/net/ip_vs; empty where the kernel has none."""

    def command(self) -> str:
        return "cat /proc/net/ip_vs 2>/dev/null || true"


class Plugins(Lines):
    def command(self) -> str:
        return f"ls {FOLDER} 2>/dev/null || true"
