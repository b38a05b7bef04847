"""Everything about a lab node that a cluster changes, for comparing it before the first deploy and after a reset.

Read from the lab's machine, so that it works alike on a node without any tools and on one full of them.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from lab import nodes, shell
from lab.paths import NODES, SSH_CONFIG

FOLDERS = ("etc", "opt", "root", "usr/local", "var/lib")
RUN = "run"

IGNORED = (
    # Databases and lists of the package manager: it has been used, which a reset does not undo.
    "var/lib/apt/",
    "var/lib/dpkg/",
    "var/lib/pam/",
    "etc/ld.so.cache",
    # State of init, the journal, the clock and of whoever is logged in.
    "run/log/",
    "run/systemd/",
    "run/user/",
    "run/utmp",
    "run/host/",
    "run/sudo/",
    "var/lib/systemd/",
    "run/dbus/",
    "run/motd.dynamic",
    "run/sshd.pid",
    # Locks of tools that were run; empty files.
    "run/xtables.lock",
    "run/ebtables.lock",
    "run/lock/",
    # Backups that useradd and groupadd make of what they change.
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/.pwd.lock",
    # Caches of known hosts and shells of the root user.
    "root/.bash_history",
)

Snapshot = dict[str, list[str]]


NETWORK = ("links", "addresses", "routes", "rules", "neighbours", "fdb", "nftables")
"""Sections that cost next to nothing to read."""


def take(name: str, sections: Sequence[str] | None = None, folders: tuple[str, ...] = FOLDERS) -> Snapshot:
    """Sections of a node's state, all by default, each a list of lines; sorted where order means nothing.

    ``folders`` are those whose files are read.
    """
    init = nodes.init_pid(name)
    readers: dict[str, Callable[[], Iterable[str]]] = {
        "links": lambda: sorted(_links(init)),
        "addresses": lambda: sorted(_addresses(init)),
        "routes": lambda: sorted(_lines(init, "ip", "-4", "route", "show", "table", "all")),
        "rules": lambda: sorted(_lines(init, "ip", "rule")),
        "neighbours": lambda: sorted(_lines(init, "ip", "neigh", "show", "nud", "permanent")),
        # Entries of bridges are learnt and age; those that say which node a MAC is on are set.
        "fdb": lambda: sorted(line for line in _lines(init, "bridge", "fdb", "show") if " dst " in line),
        # Counters and handles left out; what iptables-nft made is in here too.
        "nftables": lambda: _lines(init, "nft", "--stateless", "list", "ruleset"),
        "sysctls": lambda: sorted(_sysctls(name)),
        "mounts": lambda: sorted(_mounts(init)),
        "control groups": lambda: sorted(_control_groups(init)),
        "units": lambda: sorted(_units(name)),
        "files": lambda: sorted(_files(NODES / name / "root", folders)),
        "run": lambda: sorted(_files(Path(f"/proc/{init}/root"), (RUN,))),
    }
    return {section: list(readers[section]()) for section in sections or readers}


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """One line for each thing that came or went, led by its section."""
    lines = []
    for section, old in before.items():
        new = after[section]
        lines += [f"{section}: gone: {line}" for line in old if line not in set(new)]
        lines += [f"{section}: new: {line}" for line in new if line not in set(old)]
    return lines


def _in_network(init: int, *words: str) -> str:
    return shell.run(["nsenter", f"--target={init}", "--net", *words])


def _lines(init: int, *words: str) -> list[str]:
    return [line.strip() for line in _in_network(init, *words).splitlines() if line.strip()]


def _links(init: int) -> Iterator[str]:
    for link in json.loads(_in_network(init, "ip", "-json", "-details", "link")):
        yield f"{link['ifname']} {link.get('linkinfo', {}).get('info_kind', '-')} mtu {link['mtu']} {link['operstate']}"


def _addresses(init: int) -> Iterator[str]:
    for link in json.loads(_in_network(init, "ip", "-json", "addr")):
        for address in link["addr_info"]:
            yield f"{link['ifname']} {address['local']}/{address['prefixlen']}"


def _sysctls(name: str) -> list[str]:
    wanted = "net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables "
    wanted += "net.bridge.bridge-nf-filter-vlan-tagged"
    return _ssh(name, f"sysctl -e {wanted} net.ipv4.conf.all.forwarding net.ipv4.conf.all.route_localnet")


def _control_groups(init: int) -> Iterator[str]:
    """Those of kubelet, in whatever tree, once each."""
    tree = Path(f"/proc/{init}/root/sys/fs/cgroup")
    yield from {str(path.relative_to(tree)) for path in tree.glob("**/kubepods*")}


def _units(name: str) -> list[str]:
    return _ssh(name, "systemctl list-unit-files --no-legend --no-pager --plain --state=enabled,masked")


def _ssh(name: str, command: str) -> list[str]:
    return shell.run(["ssh", "-F", SSH_CONFIG, name, command]).splitlines()


def _mounts(init: int) -> Iterator[str]:
    for line in Path(f"/proc/{init}/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if not target.startswith(("/run/user/", "/run/credentials/")):
            yield f"{target} {kind}"


def _files(root: Path, folders: tuple[str, ...]) -> Iterator[str]:
    for folder in folders:
        for where, _, names in os.walk(root / folder):
            for path in [Path(where), *(Path(where, name) for name in names)]:
                inside = path.relative_to(root).as_posix()
                if not f"{inside}/".startswith(IGNORED) and not inside.startswith(IGNORED):
                    yield _describe(path, inside)


def _describe(path: Path, inside: str) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"{inside} -> {path.readlink()}"
    if stat.S_ISREG(mode) and not inside.startswith(RUN):
        return f"{inside} {stat.filemode(mode)} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    return f"{inside} {stat.filemode(mode)}"
