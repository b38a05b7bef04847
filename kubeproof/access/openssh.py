"""What ssh would do by its configuration: options (ssh -G), names and jumps that lead nowhere, changed host keys."""

import functools
import shlex
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubeproof.access import jumps, programs
from kubeproof.config.cluster import LoadedInventory, Node, SshAccess
from kubeproof.terminal.errors import UserError

SECONDS = 10
"""It connects to nobody, but a Match of its configuration may run a program."""


def effective(access: SshAccess) -> dict[str, str]:
    """Values by option in lower case, the first of each; empty if ssh cannot tell."""
    *words, name = access.command()
    try:
        done = programs.run([*words, "-G", name], seconds=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {} if done.returncode else dict(line.partition(" ")[::2] for line in reversed(done.stdout.splitlines()))


CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
"""OpenSSH's words (sshconnect.c)."""
DEFAULT_FILE = "~/.ssh/known_hosts"


def explanation(access: SshAccess) -> str:
    """One line, without the host's name."""
    name = access.hostname if access.port in (None, 22) else f"[{access.hostname}]:{access.port}"
    jump = effective(access).get("proxyjump", "none")
    who = (
        "it" if jump == "none" else f"it, or its jump host {jump} (`{shlex.join(access.command())} true` tells which),"
    )
    return (
        f"{who} answers with another host key than known_hosts has, so nothing was sent to it: the host was installed "
        "anew, or there is somebody in between. If it was installed anew, compare the fingerprint at its console "
        f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and replace the old key: ssh-keygen -R {name} -f "
        f"{_known_hosts(access)}"
    )


def _known_hosts(access: SshAccess) -> str:
    """The first of the files that ssh looks this host up in; "none" is a value that it has, too."""
    files = effective(access).get("userknownhostsfile", "").split()
    return files[0] if files else DEFAULT_FILE


RESOLVE_SECONDS = 10
"""A resolver gives up after three servers and two tries of 5 s each by default; most answer at once."""
AT_ONCE = 16
Options = Mapping[str, str]


def check(loaded: LoadedInventory, left_out: Collection[str] = ()) -> None:
    """Raise UserError with a line for each host, of those that are not left out, whose name leads ssh nowhere, or
    whose jump hosts lead in a circle."""
    _check(loaded, [node for node in loaded.cluster.nodes if node.name not in left_out], _problem)


def check_jumps(loaded: LoadedInventory, names: Collection[str] = ()) -> None:
    """Raise UserError with a line for each host of these names, all by default, whose jump hosts lead in a circle: ssh
    would start one process after the other."""
    _check(loaded, [node for node in loaded.cluster.nodes if not names or node.name in names], _circle)


def _check(loaded: LoadedInventory, nodes: Iterable[Node], problem: Callable[[Node, SshAccess, Options], str]) -> None:
    _jumps.cache_clear()

    def line(node: Node) -> str:
        access = loaded.ssh[node.name]
        return problem(node, access, effective(access))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        if problems := list(filter(None, pool.map(line, nodes))):
            raise UserError(problems)


def _problem(node: Node, access: SshAccess, options: Options) -> str:
    if wrong := _circle(node, access, options):
        return wrong
    connects_to = _connects_to(options)
    if not connects_to or _resolves(connects_to):
        return ""
    remedy = f'have it resolve (DNS, /etc/hosts, Host in ~/.ssh/config), or set "ssh_hostname": "{node.address}"'
    return f"{node.name}: ssh finds no address of {connects_to}, {remedy}"


def _circle(node: Node, access: SshAccess, options: Options) -> str:
    if "proxyjump" not in options:
        return ""
    wrong = jumps.circle(access.hostname, functools.partial(_jumps, access.config_file))
    return f"{node.name}: {wrong}" if wrong else ""


@functools.cache
def _jumps(config_file: Path | None, name: str) -> str:
    """The ProxyJump of a host by ssh's configuration, as it is used for another one."""
    return effective(SshAccess(name, config_file)).get("proxyjump", "none")


def _connects_to(options: Options) -> str:
    """What ssh looks up with its configuration; empty where that is not known, or another machine's task (a jump)."""
    goes_on = {options.get("proxyjump", "none"), options.get("proxycommand", "none")} != {"none"}
    return "" if goes_on else options.get("hostname", "")


def _resolves(name: str) -> bool:
    """Whether the system's resolver knows a name or takes it for an address; a resolver that hangs does not."""
    try:
        return programs.run(["getent", "ahosts", name], seconds=RESOLVE_SECONDS).returncode == 0
    except OSError:
        return True  # without the tool nobody can say
    except subprocess.TimeoutExpired:
        return False
