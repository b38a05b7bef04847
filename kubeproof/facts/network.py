"""Facts about what a cluster leaves in a host's network."""

from dataclasses import dataclass

from pyinfra.api.facts import FactBase

from kubeproof.facts import sections


@dataclass(frozen=True)
class Rules:
    """iptables rules of both families, as iptables-save and ip6tables-save print them."""

    ipv4: str = ""
    ipv6: str = ""


class IptablesRules(FactBase[Rules]):
    """Reads :class:`Rules`; empty where there are no such tools."""

    def command(self) -> str:
        return sections.script({"ipv4": "iptables-save", "ipv6": "ip6tables-save"})

    @staticmethod
    def default() -> Rules:
        return Rules()

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


class ClusterLinks(FactBase[list[str]]):
    """Network devices that a pod network leaves: the named ones and whatever is plugged into the bridge cni0."""

    def command(self, names: list[str]) -> str:
        return (
            f"for link in {' '.join(names)}; do [ -e /sys/class/net/$link ] && echo $link; done; "
            "ls /sys/class/net/cni0/brif 2>/dev/null; true"
        )

    @staticmethod
    def default() -> list[str]:
        return []

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


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
