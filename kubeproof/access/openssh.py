"""What ssh itself would do by its configuration: its options (ssh -G), names that lead nowhere, changed host keys."""

import shlex
import subprocess
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from kubeproof.access import programs
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


def check(loaded: LoadedInventory, left_out: Collection[str] = ()) -> None:
    """Raise UserError with a line for each host, of those that are not left out, whose name leads ssh nowhere."""
    nodes = [node for node in loaded.cluster.nodes if node.name not in left_out]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lines = pool.map(lambda node: _problem(node, loaded.ssh[node.name]), nodes)
        if problems := [line for line in lines if line]:
            raise UserError(problems)


def _problem(node: Node, access: SshAccess) -> str:
    connects_to = _connects_to(access)
    if not connects_to or _resolves(connects_to):
        return ""
    remedy = f'have it resolve (DNS, /etc/hosts, Host in ~/.ssh/config), or set "ssh_hostname": "{node.address}"'
    return f"{node.name}: ssh finds no address of {connects_to}, {remedy}"


def _connects_to(access: SshAccess) -> str:
    """What ssh looks up with its configuration; empty where that is not known, or another machine's task (a jump)."""
    options = effective(access)
    jumps = {options.get("proxyjump", "none"), options.get("proxycommand", "none")} != {"none"}
    return "" if jumps else options.get("hostname", "")


def _resolves(name: str) -> bool:
    """Whether the system's resolver knows a name or takes it for an address; a resolver that hangs does not."""
    try:
        return programs.run(["getent", "ahosts", name], seconds=RESOLVE_SECONDS).returncode == 0
    except OSError:
        return True  # without the tool nobody can say
    except subprocess.TimeoutExpired:
        return False
