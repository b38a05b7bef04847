"""Facts about what guards a host: SELinux and firewalld."""

from dataclasses import dataclass

from pyinfra.api.facts import FactBase

from kubeproof.facts import sections
from kubeproof.node import paths


@dataclass(frozen=True)
class SelinuxState:
    """``now`` is Enforcing, Permissive or Disabled; ``at_boot`` the word of its file. Empty without SELinux."""

    now: str = ""
    at_boot: str = ""


class Selinux(FactBase[SelinuxState]):
    """Reads :class:`SelinuxState`."""

    def command(self) -> str:
        configured = f"sed -n 's/^SELINUX=//p' {paths.SELINUX_CONFIG}"
        return sections.script({"now": "getenforce", "at_boot": configured})

    @staticmethod
    def default() -> SelinuxState:
        return SelinuxState()

    def process(self, output: list[str]) -> SelinuxState:
        found = sections.read(output)
        return SelinuxState(*(next(iter(found.get(name, ())), "") for name in ("now", "at_boot")))


@dataclass(frozen=True)
class FirewalldState:
    """``ports`` are those that the default zone opens, such as "6443/tcp"; ``sources`` the networks of zone trusted."""

    running: bool = False
    ports: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


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
        return FirewalldState()

    def process(self, output: list[str]) -> FirewalldState:
        found = sections.read(output)
        ports, sources = (tuple(" ".join(found.get(name, ())).split()) for name in ("ports", "sources"))
        return FirewalldState(found.get("running") == ["running"], ports, sources)
