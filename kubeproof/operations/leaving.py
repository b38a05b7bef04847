"""Takes a host out of its cluster: pods, kubelet's state and kubeadm's files, and nothing else on it."""

from pyinfra.api.host import Host

from kubeproof.node import paths
from kubeproof.operations.remote import run, shell, try_run

REMOVE_PODS = "docker ps --all --quiet --filter name=k8s_ | xargs -r docker rm --force --volumes"
"""dockershim names the containers of pods k8s_* (pkg/kubelet/dockershim/naming.go)."""
RESET = (
    "kubeadm",
    "reset",
    "--force",
    # The whole cluster goes: there is no one left to be told, and asking a dead API server costs a minute.
    "--skip-phases",
    "update-cluster-status",
    "--kubeconfig",
    f"{paths.STATE}/none",
    "--cri-socket",
    "/var/run/dockershim.sock",
)
ETCD_DATA = "/var/lib/etcd/member"
"""kubeadm finds it by etcd's manifest, and leaves it if an earlier reset has removed that; the next init refuses it."""
MARKERS = (paths.INIT_MARKER, paths.JOIN_MARKER, paths.JOIN_CONFIG)


def leave_cluster(host: Host) -> None:
    """Undo what `kubeadm init` or `join` did, finished or not. The host can join again."""
    # Before kubeadm does: it stops one container after the other, with up to ten seconds for each.
    try_run(host, ["systemctl", "stop", "kubelet.service"])
    try_run(host, shell(REMOVE_PODS))
    if try_run(host, shell("command -v kubeadm"))[0]:
        run(host, RESET, exclusive=True)
    run(host, ["rm", "-rf", ETCD_DATA, *MARKERS])
