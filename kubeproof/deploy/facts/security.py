"""Facts about what guards a host: SELinux and firewalld."""

from typing import TypedDict

from kubeproof.config.tables import paths
from kubeproof.deploy.facts.questions import Answers, Questions


class SelinuxState(TypedDict):
    """``now`` is Enforcing, Permissive or Disabled; ``at_boot`` the word of its file. Empty without SELinux."""

    now: str
    at_boot: str


class Selinux(Questions[SelinuxState]):
    def questions(self) -> dict[str, str]:
        return {"now": "getenforce", "at_boot": f"sed -n 's/^SELINUX=//p' {paths.SELINUX_CONFIG}"}

    def read(self, found: Answers) -> SelinuxState:
        return SelinuxState(now="".join(found["now"][:1]), at_boot="".join(found["at_boot"][:1]))


class FirewalldState(TypedDict):
    """``ports`` are those that the default zone opens, such as "6443/tcp"; ``sources`` the networks of zone trusted."""

    running: bool
    ports: list[str]
    sources: list[str]


class Firewalld(Questions[FirewalldState]):
    """Reads :class:`FirewalldState` of its permanent configuration."""

    def questions(self) -> dict[str, str]:
        return {
            "running": "firewall-cmd --state",
            "ports": "firewall-cmd --permanent --list-ports",
            "sources": "firewall-cmd --permanent --zone=trusted --list-sources",
        }

    def read(self, found: Answers) -> FirewalldState:
        ports, sources = (" ".join(found[name]).split() for name in ("ports", "sources"))
        return FirewalldState(running=found["running"] == ["running"], ports=ports, sources=sources)
