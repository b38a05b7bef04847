"""Whether there is room for what a node keeps. Pure."""

import shlex
from collections.abc import Iterator

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables.runtimes import DIRECTORIES, Name
from kubeproof.node import runtime_config
from kubeproof.node.finding import Finding
from kubeproof.node.runtime_config import CONTAINERD_ROOT as CONTAINERD
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.rule import either_rule, error_rule
from kubeproof.state.hostfiles import DiskUsage
from kubeproof.state.node import NodeState

NEEDED_MIB = 3072
"""Packages, images and what is unpacked of them, and etcd: 2.4 GiB on the lab's control plane host (1.9 of images)."""
KUBELET = "/var/lib/kubelet"
ETCD = "/var/lib/etcd"
STACKED = ("overlayfs", "aufs", "ecryptfs", "nfs")
"""File systems that an overlay cannot have its upper layer on (Documentation/filesystems/overlayfs.rst)."""
FEW_INODES = 5
"""Percent of inodes, likewise (nodefs.inodesFree)."""
EVICTS_BELOW = {"images": 15, "pods": 10}
"""Percent of free space below which kubelet takes no pods and ends those it has: imagefs.available and
nodefs.available (pkg/kubelet/apis/config/v1beta1/defaults_linux.go, DefaultEvictionHard)."""

disk_space = either_rule(
    "disk-space",
    "room for images, pods and etcd, inodes too, and for kubelet to take pods at all; a warning on nodes",
    "packages or images do not fit, or kubelet takes no pods",
)
storage_driver = error_rule(
    "storage-driver",
    "images are on a file system that overlays can be mounted on",
    "on which the runtime's overlays cannot be mounted",
)


def directories(runtime: Name) -> tuple[str, ...]:
    """Where a node with this runtime keeps things that take room, those of images first."""
    return (*DIRECTORIES[runtime], KUBELET, ETCD)


@of_each_host
def findings(inspection: Inspection, node: Node, facts: NodeState) -> Iterator[Finding]:
    settings = inspection.cluster.settings
    for paths, rooms in _file_systems(settings, node, facts):
        yield from _space(settings, facts, paths, rooms)
    yield from _kind(settings, facts)


def _file_systems(settings: Settings, node: Node, facts: NodeState) -> Iterator[tuple[list[str], DiskUsage]]:
    """Each file system once, with those of the directories that are on it."""
    images = _images(settings, facts)
    wanted = {path for path in directories(settings.runtime.name) if path != ETCD or node.role == "control-plane"}
    wanted = {path for path in wanted if path != runtime_config.DATA_ROOT} | {images}
    rooms = [room for room in dict.fromkeys(facts.disks) if room.path in wanted and room.size_mib > 0]
    for mount in dict.fromkeys(room.mount for room in rooms):
        here = [room for room in rooms if room.mount == mount]
        # Where Docker keeps images itself, containerd's folder holds next to nothing.
        if images == CONTAINERD or [room.path for room in here] != [CONTAINERD]:
            yield [room.path for room in here], here[0]


def _images(settings: Settings, facts: NodeState) -> str:
    return runtime_config.data_root(facts.docker_config) if settings.runtime.name == "docker" else CONTAINERD


def _space(settings: Settings, facts: NodeState, paths: list[str], room: DiskUsage) -> Iterator[Finding]:
    images = _images(settings, facts) in paths
    percent = EVICTS_BELOW["images" if images else "pods"]
    free = 100 * room.free_mib / room.size_mib
    where = f"has {room.free_mib} MiB free of {room.size_mib} for {', '.join(paths)} (at {room.mount})"
    quoted = shlex.quote(room.mount)
    remedy = f"make room (`du -xh --max-depth 2 {quoted} | sort -h | tail` there shows what takes it)"
    if free < percent:
        breaks = f"and kubelet takes no pods with less than {percent} % free"
    elif images and not facts.kubelet_version and room.free_mib < NEEDED_MIB:
        breaks = f"and packages and images need {NEEDED_MIB}"
    elif room.inodes and 100 * room.free_inodes < FEW_INODES * room.inodes:
        where = f"has {room.free_inodes} inodes free of {room.inodes} for {', '.join(paths)} (at {room.mount})"
        breaks = f"and kubelet takes no pods with less than {FEW_INODES} % free"
        remedy = f"remove small files (`du --inodes -xd 2 {quoted} | sort -n | tail` there shows where they are)"
    else:
        return
    yield disk_space.finding(where, remedy, breaks=breaks, severity="warning" if facts.kubelet_version else "error")


def _kind(settings: Settings, facts: NodeState) -> Iterator[Finding]:
    stacked = [room for room in facts.disks if room.path == _images(settings, facts) and room.kind in STACKED]
    if stacked:
        yield storage_driver.finding(
            f"has {stacked[0].path} on a file system of kind {stacked[0].kind}", "mount a real file system there"
        )
