"""Facts about a host: what it is, what it was like before the first deploy, its swap, kernel settings, and guards."""

import json
from typing import TypedDict

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from kubeproof.config.tables import paths
from kubeproof.deploy.facts.questions import Answers, Lines, Questions, answers, script
from kubeproof.node.parts import parts
from kubeproof.node.record import Record
from kubeproof.state.hostfiles import parse_sysctls
from kubeproof.state.node import NodeState
from kubeproof.state.part import Asker, state_of, texts


class Host(FactBase[NodeState]):
    """What is known of a host before anything is changed on it; its state has no name."""

    asker = Asker.DEPLOY

    def command(self) -> str:
        return script(texts(parts(self.asker)))

    @staticmethod
    def default() -> NodeState:
        return NodeState("")

    def process(self, output: list[str]) -> NodeState:
        return state_of("", parts(self.asker), answers(output))


class Before(Host):
    """What the first deploy remembers of a host, see :class:`Record`."""

    asker = Asker.RECORD


class Remembered(FactBase[Record | None]):
    """The record of the first deploy, or None if there is none."""

    def command(self) -> str:
        return f"test ! -e {paths.RECORD} || cat {paths.RECORD}"

    def process(self, output: list[str]) -> Record | None:
        try:
            return Record(**json.loads("\n".join(output)))
        except (ValueError, TypeError) as error:
            raise FactProcessError(f"{paths.RECORD} is damaged ({error}): remove it") from error


class Swaps(Lines):
    """Devices and files in use as swap (proc(5), /proc/swaps)."""

    def command(self) -> str:
        return "tail -n +2 /proc/swaps | awk '{print $1}'"


class FstabSwaps(Lines):
    """Lines of fstab(5) that turn swap on at boot, or with ``disabled`` those that the deploy has disabled."""

    def command(self, disabled: bool = False) -> str:
        if disabled:
            return f"grep '^#kubeproof# ' {paths.FSTAB} || true"
        return f"awk '$1 !~ /^#/ && $3 == \"swap\"' {paths.FSTAB} 2>/dev/null || true"


class Sysctls(FactBase[dict[str, str]]):
    """Values of the kernel settings ``names``; those that the kernel does not have are left out."""

    def command(self, names: list[str]) -> str:
        return f"for name in {' '.join(names)}; do sysctl $name 2>/dev/null; done; true"

    default = dict

    def process(self, output: list[str]) -> dict[str, str]:
        return parse_sysctls("\n".join(output))


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
