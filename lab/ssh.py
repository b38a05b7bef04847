"""One SSH configuration for everything that talks to lab nodes: pyinfra, testinfra and people.

Host keys are made on this machine and put into the nodes, so known_hosts is complete before the first connection and
checking is strict from the start.
"""

from collections.abc import Iterable
from pathlib import Path

from lab import shell
from lab.paths import SSH_CONFIG, SSH_DIR, SSH_KEY, SSH_KNOWN_HOSTS
from lab.settings import LabNode

VM_USER = "admin"
"""Who logs in to virtual machines, which have sudo; to containers it is root."""


def ensure_key() -> str:
    """Make the lab's own key pair if there is none; return the public key's line."""
    SSH_DIR.mkdir(parents=True, exist_ok=True)
    SSH_DIR.chmod(0o700)
    _ensure_pair(SSH_KEY, "kubeproof-lab")
    return SSH_KEY.with_suffix(".pub").read_text()


def ensure_host_key(root: Path, name: str) -> str:
    """Give a node's root filesystem its own host key if it has none; return the public key's line."""
    key = root / "etc/ssh/ssh_host_ed25519_key"
    _ensure_pair(key, f"root@{name}")
    return key.with_suffix(".pub").read_text()


def write_config(nodes: Iterable[LabNode], host_keys: dict[str, str]) -> bool:
    """Write the configuration and known_hosts for these nodes; return whether anything changed."""
    nodes = tuple(nodes)
    known = "".join(f"{node.name},{node.address} {' '.join(host_keys[node.name].split()[:2])}\n" for node in nodes)
    changed = _write(SSH_KNOWN_HOSTS, known)
    return _write(SSH_CONFIG, render(nodes)) or changed


def render(nodes: Iterable[LabNode]) -> str:
    return "".join(
        f"Host {node.name} {node.address}\n"
        f"    HostName {node.address}\n"
        f"    User {VM_USER if node.vm else 'root'}\n"
        f"    IdentityFile {SSH_KEY}\n"
        "    IdentitiesOnly yes\n"
        f"    UserKnownHostsFile {SSH_KNOWN_HOSTS}\n"
        "    GlobalKnownHostsFile /dev/null\n"
        "    StrictHostKeyChecking yes\n"
        # Which the exchange of keys has to be done in too.
        f"    ConnectTimeout {30 if node.vm else 10}\n"
        "    LogLevel ERROR\n\n"
        for node in nodes
    )


def _ensure_pair(key: Path, comment: str) -> None:
    if not (key.exists() and key.with_suffix(".pub").exists()):
        key.unlink(missing_ok=True)
        shell.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key])


def _write(file: Path, text: str) -> bool:
    if file.exists() and file.read_text() == text:
        return False
    file.write_text(text)
    file.chmod(0o600)
    return True
