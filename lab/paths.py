"""Where the lab keeps things on its machine."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

STATE = Path("/var/lib/kubeproof")
"""What the running lab consists of; `lab.down` removes it."""
CACHE = Path("/var/cache/kubeproof")
"""What was built or downloaded, by content; safe to delete, costs only time."""
RUN = Path("/run/kubeproof")
"""Process ids and locks; gone after a reboot of the machine, as the processes are."""
LOG_FILE = Path("/var/log/kubeproof/lab.log")

SSH_DIR = STATE / "ssh"
SSH_CONFIG = SSH_DIR / "config"
SSH_KEY = SSH_DIR / "id_ed25519"
SSH_KNOWN_HOSTS = SSH_DIR / "known_hosts"

MIRROR = STATE / "mirror"
APT_ROOT = MIRROR / "apt"
"""What nodes can ask for by HTTP: the repositories."""
APT_REPOSITORY = APT_ROOT / "kubernetes"
APT_KEY = APT_REPOSITORY / "Release.key"
NODES = STATE / "nodes"
SHARED = STATE / "shared"
"""Folders that prepared nodes have in common, by the key of what they were made from; nobody writes there."""
SNAPSHOTS = STATE / "snapshots"
RESTORING = STATE / "restoring"
"""Names the snapshot of a restore that has not ended: the nodes' files are of no use until it has."""
