"""Swap, kernel settings, SELinux and firewalld, as they are now and at the next boot."""

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation

from kubeproof.config.tables import paths
from kubeproof.deploy.facts.hosts import Firewalld, FirewalldState, FstabSwaps, Selinux, Swaps, Sysctls
from kubeproof.deploy.facts.network import ForwardPolicy
from kubeproof.deploy.run_events import because
from kubeproof.node.texts import named
from kubeproof.state.hostfiles import parse_sysctls

DISABLED = "#kubeproof# "
"""Put before the lines of fstab that are about swap; a reset takes it away again."""
SWAP_LINE = r"^[^#[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]]"
"""A line of fstab(5) whose third field is swap, as an extended regular expression."""
BRIDGE_SYSCTL = "net.bridge.bridge-nf-call-iptables"


@operation()
def swap_off() -> Generator[str, None, None]:
    """Turn all swap off and keep it off; kubelet refuses to start otherwise."""
    swaps, configured = host.get_fact(Swaps), host.get_fact(FstabSwaps)
    if not swaps and not configured:
        host.noop("there is no swap")
        return
    because(named("swap in use or set in fstab:", swaps or configured))
    if swaps:
        yield "swapoff --all"
    if configured:
        yield f"sed -E -i 's/{SWAP_LINE}/{DISABLED}&/' {paths.FSTAB}"


@operation()
def swap_on(devices: Sequence[str]) -> Generator[str, None, None]:
    """Give back the swap that was turned off: the lines in fstab, and the ``devices`` that were in use."""
    swaps = host.get_fact(Swaps)
    disabled = host.get_fact(FstabSwaps, disabled=True)
    off = [device for device in devices if device not in swaps]
    if not disabled and not off:
        host.noop("swap is as it was")
        return
    if disabled:
        yield f"sed -i 's/^{DISABLED}//' {paths.FSTAB}"
    for device in off:
        yield f"swapon {device}"


@operation()
def bridge_netfilter() -> Generator[str, None, None]:
    """Make the kernel show bridged packets to iptables.

    It may do so without modprobe's knowledge: built into the kernel, or loaded by the machine around a container. What
    counts is that its sysctl is there.
    """
    if BRIDGE_SYSCTL in host.get_fact(Sysctls, names=[BRIDGE_SYSCTL]):
        host.noop("bridge netfilter is there")
        return
    because(f"the kernel has no {BRIDGE_SYSCTL}: the module br_netfilter is not loaded")
    yield "modprobe br_netfilter"


@operation()
def sysctls(text: str) -> Generator[str, None, None]:
    """Set kernel settings now, given in the form of sysctl.conf(5)."""
    wanted = parse_sysctls(text)
    now = host.get_fact(Sysctls, names=list(wanted))
    different = {name: value for name, value in wanted.items() if now.get(name) != value}
    if not different:
        host.noop("sysctls are set")
        return
    because(*(f"{name} is {now.get(name, 'not there')}, not {value}" for name, value in different.items()))
    for name, value in different.items():
        yield f"sysctl --write '{name}={value}'"


@operation()
def drop_forwarded() -> Generator[str, None, None]:
    """Set the default of the FORWARD chain to DROP, so that a node forwards only what rules accept."""
    now = host.get_fact(ForwardPolicy)
    if now == "DROP":
        host.noop("forwarded packets are dropped by default")
        return
    because(f"the default of iptables' FORWARD is {now or 'not known'}, not DROP")
    yield "iptables --wait 30 --policy FORWARD DROP"


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
