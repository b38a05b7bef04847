"""Whether ssh finds the hosts of an inventory by their names, asked before anybody connects."""

import subprocess
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from kubeproof.access import ssh_options
from kubeproof.config.cluster import LoadedInventory, Node, SshAccess
from kubeproof.terminal.errors import UserError

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
    options = ssh_options.effective(access)
    jumps = {options.get("proxyjump", "none"), options.get("proxycommand", "none")} != {"none"}
    return "" if jumps else options.get("hostname", "")


def _resolves(name: str) -> bool:
    """Whether the system's resolver knows a name or takes it for an address; a resolver that hangs does not."""
    try:
        done = subprocess.run(
            ["getent", "ahosts", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=RESOLVE_SECONDS,
        )
    except OSError:
        return True  # without the tool nobody can say
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
