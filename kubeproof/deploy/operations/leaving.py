"""Takes a host out of its cluster: pods, kubelet's state and kubeadm's files, and nothing else on it."""

from pathlib import Path

from pyinfra.api.host import Host

from kubeproof.access.deadlines import KUBEADM_SECONDS
from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.deploy.operations.remote import NodeError, run, shell, try_run
from kubeproof.networks import artifacts
from kubeproof.node.kubeadm_config import reset_command
from kubeproof.state.hostfiles import SUBNET_ENV

ETCD_DATA = "/var/lib/etcd/member"
"""kubeadm finds it by etcd's manifest, and leaves it if an earlier reset has removed that; the next init refuses it."""
KUBELET_DATA = "/var/lib/kubelet"
"""kubeadm deletes what is in it, below mounts too if it could not unmount them, of which it only warns."""
UNMOUNT_BELOW = Path(__file__).with_name("unmount_below.sh").read_text()
REMOVE_CONTROL_GROUPS = "find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null"
"""kubelet makes them below kubepods or kubepods.slice; after it and its pods nobody takes them away. One with a process
in it stays."""
FORGET_NETWORK = Path(__file__).with_name("forget_network.sh").read_text()
"""A node that comes back has pods of its name at once, before its network's agent: kubelet would plug them in with the
configuration of its earlier subnet."""
MARKERS = (paths.INIT_MARKER, paths.JOIN_MARKER, paths.JOIN_CONFIG)


def leave_cluster(host: Host, settings: Settings) -> None:
    """Undo what `kubeadm init` or `join` did, finished or not. The host can join again."""
    # Before kubeadm does: it stops one container after the other, with up to ten seconds for each.
    try_run(host, ["systemctl", "stop", "kubelet.service"])
    try_run(host, shell(settings.runtime.remove_pods))
    unmount_below(host, KUBELET_DATA)
    if try_run(host, shell("command -v kubeadm"))[0]:
        run(host, reset_command(settings), exclusive=True, seconds=KUBEADM_SECONDS)
    try_run(host, shell(REMOVE_CONTROL_GROUPS))
    run(host, ["rm", "-rf", "--one-file-system", ETCD_DATA, *MARKERS])


def forget_network(host: Host) -> None:
    """Remove the pod network's configuration and links from a host that is no node (any more) and runs no pods."""
    run(host, [*shell(FORGET_NETWORK), "sh", *artifacts.CONFIGURATION_FILES, SUBNET_ENV, "--", *artifacts.LINKS])


def unmount_below(host: Host, *directories: str) -> None:
    """Unmount everything below directories that are to be emptied: volumes are not the directories' own."""
    done, output = try_run(host, [*shell(UNMOUNT_BELOW), "sh", *directories])
    if not done:
        said = " ".join(output.split())
        raise NodeError(f"what is mounted stays mounted ({said}): unmount it yourself and reset again")
