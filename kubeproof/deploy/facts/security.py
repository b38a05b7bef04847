"""Facts about what guards a host: SELinux and firewalld."""

from typing import TypedDict

from pyinfra.api.facts import FactBase

from kubeproof.deploy.facts import sections
from kubeproof.node import paths


class SelinuxState(TypedDict):
    """``now`` is Enforcing, Permissive or Disabled; ``at_boot`` the word of its file. Empty without SELinux."""

    now: str
    at_boot: str


class Selinux(FactBase[SelinuxState]):
    """Reads :class:`SelinuxState`."""

    def command(self) -> str:
        configured = f"sed -n 's/^SELINUX=//p' {paths.SELINUX_CONFIG}"
        return sections.script({"now": "getenforce", "at_boot": configured})

    @staticmethod
    def default() -> SelinuxState:
        return SelinuxState(now="", at_boot="")

    def process(self, output: list[str]) -> SelinuxState:
        found = sections.read(output)
        now, at_boot = (next(iter(found.get(name, ())), "") for name in ("now", "at_boot"))
        return SelinuxState(now=now, at_boot=at_boot)


class FirewalldState(TypedDict):
    """``ports`` are those that the default zone opens, such as "6443/tcp"; ``sources`` the networks of zone trusted."""

    running: bool
    ports: list[str]
    sources: list[str]


class Firewalld(FactBase[FirewalldState]):
    """Reads :class:`FirewalldState` of its permanent configuration."""

    def command(self) -> str:
        return sections.script(
            {
                "running": "firewall-cmd --state",
                "ports": "firewall-cmd --permanent --list-ports",
                "sources": "firewall-cmd --permanent --zone=trusted --list-sources",
            }
        )

    @staticmethod
    def default() -> FirewalldState:
        return FirewalldState(running=False, ports=[], sources=[])

    def process(self, output: list[str]) -> FirewalldState:
        found = sections.read(output)
        ports, sources = (" ".join(found.get(name, ())).split() for name in ("ports", "sources"))
        return FirewalldState(running=found.get("running") == ["running"], ports=ports, sources=sources)
