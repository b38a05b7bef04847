"""Faults of every kind, done to the lab's nodes: each function does one and returns when it has happened.

What it returns is the time (seconds since the epoch) from which the recovery counts: when the fault began, or, where it
has to be taken back from outside, when that was done.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kubeproof.config.cluster import Cluster
from lab import shell
from lab.settings import load
from lab.wait import wait_until
from tests.lab import traffic
from tests.lab.commands import succeed
from tests.lab.remote import kubectl, ssh

RESTART_SECONDS = 60
UNREACHABLE_SECONDS = 90
"""The node controller gives a node up 40 seconds after its last word (node-monitor-grace-period)."""
EVICTION_SECONDS = 90
RECENT_SECONDS = 4
PRESSURE = "node.kubernetes.io/disk-pressure"
FILLER = "disk-filler"
DEMO = "deployment/httpd deployment/kuard"
DISK_MIB = 64


@dataclass(frozen=True)
class Ground:
    """Where faults happen: the control plane, the worker that the client runs on, and the worker that suffers."""

    cluster: Cluster
    leader: str
    observer: str
    victim: str


def ground(cluster: Cluster) -> Ground:
    leader, *workers = (node.name for node in load().nodes)
    assert len(workers) > 1, "faults need two workers: one for the client, one to suffer"
    return Ground(cluster, leader, workers[0], workers[-1])


# Reboots --------------------------------------------------------------------------------------------------------------


def reboot_worker(lab: Ground) -> float:
    began = time.time()
    succeed("lab.reboot", lab.victim)
    return began


def reboot_leader(lab: Ground) -> float:
    began = time.time()
    succeed("lab.reboot", lab.leader)
    return began


# Killed ---------------------------------------------------------------------------------------------------------------


def kill_service(unit: str) -> Callable[[Ground], float]:
    """SIGKILL for the main process of a unit of systemd, which starts it again."""

    def happen(lab: Ground) -> float:
        return _killed(lab.victim, f"systemctl show --property=MainPID --value {unit}", f"systemctl is-active {unit}")

    return happen


def kill_runtime(lab: Ground) -> float:
    return kill_service(lab.cluster.settings.container_runtime)(lab)


def kill_container(pattern: str) -> Callable[[Ground], float]:
    """SIGKILL for the process of a container, which kubelet starts again."""

    def happen(lab: Ground) -> float:
        return _killed(lab.victim, f"pgrep --full --oldest '{pattern}' || true", "true")

    return happen


def _killed(name: str, pid_of: str, is_well: str) -> float:
    before = ssh(name, pid_of)
    assert before.isdigit(), f"{name}: nothing to kill: {pid_of} says {before!r}"
    assert before != "0", f"{name}: {pid_of} names no process"
    began = time.time()
    ssh(name, f"kill -KILL {before}")

    def is_back() -> bool:
        now = ssh(name, f"{pid_of}; {is_well} || true").split()
        return bool(now) and now[0] not in ("0", before) and now[0].isdigit() and "inactive" not in now

    wait_until(is_back, seconds=RESTART_SECONDS, what=f"{pid_of} on {name} to name a new process")
    return began


# Cut off --------------------------------------------------------------------------------------------------------------


def cut_off(lab: Ground) -> float:
    """Take the worker off the lab's network for as long as the cluster takes to go on without it."""
    port = _bridge_port(lab.victim)
    shell.run(["ip", "link", "set", port, "down"])
    try:
        wait_until(
            lambda: _ready(lab.victim) == "Unknown", seconds=UNREACHABLE_SECONDS, what=f"{lab.victim} to be given up"
        )
        wait_until(_nothing_fails, seconds=RESTART_SECONDS, what="requests to go to the other worker only")
    finally:
        shell.run(["ip", "link", "set", port, "up"])
    return time.time()


def _bridge_port(name: str) -> str:
    """The machine's end of the pair of links that connects a node to the bridge."""
    index = ssh(name, "cat /sys/class/net/host0/iflink")
    return next(
        str(link["ifname"]) for link in json.loads(shell.run(["ip", "-json", "link"])) if str(link["ifindex"]) == index
    )


def _ready(name: str) -> str:
    return kubectl(f"get node {name} -o jsonpath='{{.status.conditions[?(@.type==\"Ready\")].status}}'")


def _nothing_fails() -> bool:
    """Whether all requests of the last three seconds that have ended were answered."""
    recent = _recent_requests()
    return len(recent) > traffic.REQUESTS_PER_SECOND and not any(item.failed for item in recent)


def _recent_requests() -> list[traffic.Request]:
    return [item for item in traffic.requests() if item.started > time.time() - RECENT_SECONDS]


# A full disk ----------------------------------------------------------------------------------------------------------


def fill_disk(lab: Ground) -> float:
    """Let a pod fill the worker's disk until kubelet evicts it.

    kubelet looks at the disk every ten seconds, but counts what volumes hold once a minute only: until then it does not
    know who filled the disk, and evicts pods that have nothing to do with it.

    kubelet's folder becomes a file system of its own, of few MiB: that is the disk kubelet watches (nodefs), and the
    machine's stays as it is. At the end it is gone, and kubelet, started anew, no longer remembers the pressure, which
    it would otherwise go on telling for five minutes (eviction-pressure-transition-period).
    """
    with _small_disk(lab.victim):
        kubectl("apply -f -", stdin=json.dumps(_filler(lab)))
        try:
            wait_until(_is_evicted, seconds=EVICTION_SECONDS, what="kubelet to evict the pod that filled the disk")
            wait_until(lambda: _has_pressure(lab.victim), seconds=RESTART_SECONDS, what=f"{lab.victim} to be tainted")
            # What of the demo was evicted runs on the other worker by now, and no agent of the node was touched.
            _wait_for_demo()
            assert kubectl("-n kube-system get pods --field-selector=status.phase=Failed -o name") == ""
        finally:
            evicted = kubectl("get pods --field-selector=status.phase=Failed -o name").split()
            print(f"evicted: {evicted}")
            kubectl(f"delete pods --field-selector=status.phase=Failed --timeout={RESTART_SECONDS}s")
            kubectl(f"delete pod {FILLER} --ignore-not-found --timeout={RESTART_SECONDS}s")
    began = time.time()
    wait_until(lambda: not _has_pressure(lab.victim), seconds=RESTART_SECONDS, what=f"{lab.victim} to be untainted")
    # Nothing brings pods back to a node that is well again: spread them anew.
    kubectl(f"rollout restart {DEMO}")
    _wait_for_demo()
    return began


def _wait_for_demo() -> None:
    for deployment in DEMO.split():
        kubectl(f"rollout status {deployment} --timeout={RESTART_SECONDS}s")


@contextmanager
def _small_disk(name: str) -> Iterator[None]:
    """kubelet's folder on a file system of DISK_MIB, with what kubelet needs to be the node that it is."""
    ssh(
        name,
        "set -e; systemctl stop kubelet; cd /var/lib/kubelet; "
        "tar -cf /run/kubelet-of-node.tar config.yaml kubeadm-flags.env pki; "
        f"mount -t tmpfs -o size={DISK_MIB}m,mode=750 small-disk /var/lib/kubelet; "
        "tar -C /var/lib/kubelet -xf /run/kubelet-of-node.tar; rm /run/kubelet-of-node.tar; systemctl start kubelet",
    )
    try:
        yield
    finally:
        ssh(
            name,
            "set -e; systemctl stop kubelet; cd /; umount --recursive /var/lib/kubelet; systemctl start kubelet",
        )


def _filler(lab: Ground) -> dict[str, object]:
    container = {
        "name": "filler",
        "image": lab.cluster.settings.httpd_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "dd if=/dev/zero of=/data/fill bs=64k; exec sleep 600"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": FILLER, "namespace": "default"},
        "spec": {
            "nodeName": lab.victim,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }


def _is_evicted() -> bool:
    return kubectl(f"get pod {FILLER} -o jsonpath='{{.status.reason}}'") == "Evicted"


def _has_pressure(name: str) -> bool:
    return PRESSURE in kubectl(f"get node {name} -o jsonpath='{{.spec.taints[*].key}}'")


# Deleted by hand ------------------------------------------------------------------------------------------------------


def by_hand(command: Callable[[Ground], str]) -> Callable[[Ground], float]:
    """A command on the worker that suffers."""

    def happen(lab: Ground) -> float:
        words = command(lab)
        began = time.time()
        ssh(lab.victim, words)
        return began

    return happen


def observers_subnet(lab: Ground) -> str:
    return kubectl(f"get node {lab.observer} -o jsonpath='{{.spec.podCIDR}}'")


def observers_vtep(lab: Ground) -> str:
    return ssh(lab.observer, "cat /sys/class/net/flannel.1/address")


def delete_rule_of_service(lab: Ground) -> float:
    """Delete kube-proxy's rule that sends the client's requests to the endpoints, and start kube-proxy anew.

    kube-proxy looks each 30 seconds whether its tables were flushed, not whether a rule is gone: that it sets again
    when a Service or an endpoint changes, or after an hour (pkg/proxy/iptables/proxier.go, NewBoundedFrequencyRunner).
    """
    address = kubectl(f"get service {traffic.SERVICE} -o jsonpath='{{.spec.clusterIP}}'")
    ssh(
        lab.observer,
        f"rule=$(iptables -t nat -S KUBE-SERVICES | grep -e '-d {address}/32 .*-j KUBE-SVC-'); "
        'eval iptables -t nat "$(echo "$rule" | sed "s/^-A/-D/")"',
    )
    wait_until(_everything_fails, seconds=RESTART_SECONDS, what="requests to the Service to fail without its rule")
    began = time.time()
    chosen = f"-l k8s-app=kube-proxy --field-selector=spec.nodeName={lab.observer}"
    kubectl(f"-n kube-system delete pod {chosen} --grace-period=1 --timeout={RESTART_SECONDS}s")
    return began


def _everything_fails() -> bool:
    recent = _recent_requests()
    return len(recent) > traffic.REQUESTS_PER_SECOND and all(item.failed for item in recent)
