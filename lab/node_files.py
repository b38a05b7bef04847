"""A node's files: a copy of the root filesystem, and what makes it this node and no other."""

import hashlib
import shutil
import uuid
from pathlib import Path

from lab import shell, ssh, trees
from lab.mirror import apt
from lab.paths import APT_ROOT, NODES, RESTORING, SHARED
from lab.settings import LabNode, LabSettings

KUBELET_CONF = "etc/kubernetes/kubelet.conf"
"""There from a host's join to its reset (kubeproof/config/tables/paths.py, below the node's root)."""

APT_KEY = "etc/apt/kubeproof-lab.asc"
"""Key of the mirror's repositories, below the node's root. The deploy brings it again, for Kubernetes' alone."""

CLOUD_METADATA = "169.254.169.254"
"""Where machines of clouds find what their cloud tells them."""


def root_of(name: str) -> Path:
    return NODES / name / "root"


def mounts(name: str) -> list[str]:
    """Options of systemd-nspawn for what the node does not have in its own root."""
    if not is_prepared(name):
        return []
    return [f"--overlay={SHARED / _key_file(name).read_text() / 'usr'}:{NODES / name / 'usr'}:/usr"]


def is_prepared(name: str) -> bool:
    return _key_file(name).exists()


def disk_of(name: str) -> Path:
    """A virtual machine's disk; its ``root_of`` has only what makes it this node. Containers have none."""
    return NODES / name / "disk.qcow2"


def is_vm(name: str) -> bool:
    """Only root may look; to others there is none."""
    try:
        return disk_of(name).exists()
    except PermissionError:
        return False


def _key_file(name: str) -> Path:
    return NODES / name / "shared"


def create(lab: LabSettings, node: LabNode, base: Path) -> None:
    """Copy the root filesystem, plain or prepared, and make it this node's.

    What an interrupted call left is made anew.
    """
    making = begin(node.name)
    prepared = (base / "shared").exists()
    trees.copy(base / "root" if prepared else base, making)
    if prepared:
        (NODES / node.name / "usr").mkdir(exist_ok=True)
        _key_file(node.name).write_text(base.name)
        # Layers of images, which Docker and containerd write once and then only read.
        shell.run(["cp", "--archive", "--link", SHARED / base.name / "var", making])
    identify(lab, node, making)
    authorize(making / "root")
    finish(lab, node)


def begin(name: str) -> Path:
    """The folder in which the node's files are made; it is not there yet. What an interrupted call left is removed."""
    making = NODES / name / "making"
    shell.run(["rm", "-rf", "--one-file-system", making, disk_of(name)])
    making.parent.mkdir(parents=True, exist_ok=True)
    making.parent.chmod(0o700)
    return making


def identify(lab: LabSettings, node: LabNode, making: Path) -> None:
    """Write what makes a root filesystem this node's and no other's, but for who may log in."""
    _write(making, {**identity(lab, node), "etc/machine-id": f"{uuid.uuid4().hex}\n"})
    (making / "etc/ssh").mkdir(exist_ok=True)
    ssh.ensure_host_key(making, node.name)
    shutil.copy(APT_ROOT / node.system.repository / apt.KEY_FILE, making / APT_KEY)


def authorize(home: Path) -> None:
    """Let the lab's key log in as the user of a home directory."""
    authorized = home / ".ssh/authorized_keys"
    authorized.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    authorized.write_text(ssh.ensure_key())
    authorized.chmod(0o600)


def finish(lab: LabSettings, node: LabNode) -> None:
    """From now on the node exists."""
    _fingerprint_file(node.name).write_text(fingerprint(lab, node))
    (NODES / node.name / "making").rename(root_of(node.name))


def exists(name: str) -> bool:
    """Whether the node has been made. Only root may look; to others there is none."""
    try:
        return root_of(name).exists()
    except PermissionError:
        return False


def existing() -> list[str]:
    """Names of all nodes that have files on this machine, also of those that the settings no longer name."""
    return sorted(folder.name for folder in NODES.iterdir()) if NODES.exists() else []


def problems(lab: LabSettings) -> list[str]:
    """Nodes that were made for other settings than the present ones; one line each.

    One that the settings no longer name is not among them once it has left the cluster: it is only to be removed.
    """
    wanted = {node.name: node for node in lab.nodes}
    mend = "run `./inv lab.down` first, or take the settings back"
    lines = unfinished()
    lines += [_still_a_node(lab, name) for name in surplus(lab) if (root_of(name) / KUBELET_CONF).exists()]
    # Nobody looks into its disk.
    lines += [f"{name}: is a virtual machine and maybe still a node; {mend}" for name in surplus(lab) if is_vm(name)]
    for name, node in wanted.items():
        if exists(name) and _made_for(name) != fingerprint(lab, node):
            lines.append(f"{name}: was made with another system, other addresses or sources than are set now; {mend}")
    return lines


def unfinished() -> list[str]:
    """A line if an interrupted restore has left files that are of no use."""
    if not RESTORING.exists():
        return []
    return [f"nodes: their files are half restored; `./inv lab.restore {RESTORING.read_text()}` completes it"]


def surplus(lab: LabSettings) -> list[str]:
    """Names of nodes that exist and that the settings no longer name."""
    wanted = {node.name for node in lab.nodes}
    return [name for name in existing() if name not in wanted]


def _still_a_node(lab: LabSettings, name: str) -> str:
    number = name.removeprefix(lab.worker_prefix)
    mend = (
        f"run `KUBEPROOF_LAB_WORKERS={number} ./inv node.remove {name}`" if number.isdecimal() else "run `./inv reset`"
    )
    what = f"{name}: is a node of the cluster, but lab/lab.toml no longer names it"
    return f"{what}; {mend} first, or take the settings back"


def apt_source(lab: LabSettings, repository: str) -> str:
    """The line by which a node's apt takes packages of one of the mirror's repositories."""
    return f"deb [signed-by=/{APT_KEY}] {lab.apt_url}/{repository}/ /\n"


def identity(lab: LabSettings, node: LabNode) -> dict[str, str]:
    """Text of the files that differ from node to node, by path below the root."""
    link = "eth0" if node.vm else "host0"
    return {
        "etc/hostname": f"{node.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{node.address} {node.name}\n",
        # No resolver: the lab has none, and names of nodes come from /etc/hosts.
        "etc/resolv.conf": "",
        "etc/apt/sources.list": apt_source(lab, node.system.repository),
        # The default route exists because flanneld takes the interface that has it; the gateway forwards nothing.
        "etc/network/interfaces": (
            "auto lo\niface lo inet loopback\n\n"
            f"auto {link}\niface {link} inet static\n"
            f"    address {node.address}/{lab.node_network.prefixlen}\n"
            f"    gateway {lab.gateway}\n"
            # kubelet asks there for credentials whenever it starts (its provider for Amazon's registries), and would
            # wait six seconds for an answer.
            f"    up ip route add unreachable {CLOUD_METADATA}\n"
        ),
    }


def fingerprint(lab: LabSettings, node: LabNode) -> str:
    """Hash over what the settings decide about a node's files."""
    return hashlib.sha256(repr(identity(lab, node)).encode()).hexdigest()


def _made_for(name: str) -> str:
    file = _fingerprint_file(name)
    return file.read_text() if file.exists() else ""


def _fingerprint_file(name: str) -> Path:
    return NODES / name / "made-for"


def _write(root: Path, files: dict[str, str]) -> None:
    for file, text in files.items():
        target = root / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
