"""SELinux and firewalld, where there are any."""

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation

from kubeproof.config.tables import paths
from kubeproof.deploy.facts.security import Firewalld, FirewalldState, Selinux
from kubeproof.deploy.run_events import because
from kubeproof.node.differences import named

ENFORCING, PERMISSIVE = "Enforcing", "Permissive"


@operation()
def permissive() -> Generator[str, None, None]:
    """Have SELinux write down what it would refuse, and refuse nothing, now and at boot."""
    state = host.get_fact(Selinux)
    if state["now"] != ENFORCING and state["at_boot"] != ENFORCING.lower():
        host.noop("SELinux enforces nothing")
        return
    because(f"SELinux is {state['now']}, and {state['at_boot']} at boot")
    if state["now"] == ENFORCING:
        yield "setenforce 0"
    if state["at_boot"] == ENFORCING.lower():
        yield f"sed -i 's/^SELINUX=enforcing/SELINUX=permissive/' {paths.SELINUX_CONFIG}"


@operation()
def enforce_again(before: str) -> Generator[str, None, None]:
    """Have SELinux enforce, if it did ``before`` the first deploy and was only made permissive."""
    if before != ENFORCING or host.get_fact(Selinux)["now"] != PERMISSIVE:
        host.noop("SELinux is as it was")
        return
    yield "setenforce 1"


@operation()
def open_ports(ports: Sequence[str], sources: Sequence[str]) -> Generator[str, None, None]:
    """Have firewalld let in packets to these ("6443/tcp") and all from these networks, now and at boot."""
    state = host.get_fact(Firewalld)
    closed = [port for port in ports if port not in state["ports"]]
    unknown = [source for source in sources if source not in state["sources"]]
    if state["running"] and (closed or unknown):
        because(named("firewalld does not let in:", [*closed, *unknown]))
    yield from _permanently(state, "add", closed, unknown)


@operation()
def turn_firewalld_off() -> Generator[str, None, None]:
    if not host.get_fact(Firewalld)["running"]:
        host.noop("firewalld does not run")
        return
    because("firewalld runs")
    yield "systemctl disable --now firewalld.service"


@operation()
def turn_firewalld_on(before: bool) -> Generator[str, None, None]:
    """Start firewalld, now and at boot, if it ran ``before`` the first deploy."""
    if not before or host.get_fact(Firewalld)["running"]:
        host.noop("firewalld is as it was")
        return
    yield "systemctl enable --now firewalld.service"


@operation()
def close_ports(ports: Sequence[str], sources: Sequence[str], kept: Sequence[str]) -> Generator[str, None, None]:
    """Take out of firewalld what a deploy has put there; what is among ``kept`` was there before it."""
    state = host.get_fact(Firewalld)
    opened = [port for port in ports if port in state["ports"] and port not in kept]
    known = [source for source in sources if source in state["sources"] and source not in kept]
    yield from _permanently(state, "remove", opened, known)


def _permanently(
    state: FirewalldState, verb: str, ports: Sequence[str], sources: Sequence[str]
) -> Generator[str, None, None]:
    """Add or remove ports, and sources of zone trusted, now and at boot."""
    trusted = [f"--zone=trusted --{verb}-source={source}" for source in sources]
    changes = [*([" ".join(f"--{verb}-port={port}" for port in ports)] if ports else []), *trusted]
    if not state["running"] or not changes:
        host.noop("firewalld is as it shall be" if state["running"] else "firewalld does not run")
        return
    for change in changes:
        yield f"firewall-cmd --quiet --permanent {change}"
    yield "firewall-cmd --quiet --reload"
