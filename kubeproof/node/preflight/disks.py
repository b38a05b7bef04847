"""Whether there is room for what a node keeps. Pure."""

from collections.abc import Iterator

from kubeproof.cluster import Node
from kubeproof.node.finding import Finding
from kubeproof.node.host_facts import HostFacts, Room
from kubeproof.node.preflight.inspection import Inspection
from kubeproof.settings import Settings
from kubeproof.tables.runtimes import DIRECTORIES, Name

NEEDED_MIB = 3072
"""Packages, images and what is unpacked of them, and etcd: 2.4 GiB on the lab's control plane host (1.9 of images)."""
KUBELET = "/var/lib/kubelet"
ETCD = "/var/lib/etcd"
EVICTS_BELOW = {"images": 15, "pods": 10}
"""Percent of free space below which kubelet takes no pods and ends those it has: imagefs.available and
nodefs.available (pkg/kubelet/apis/config/v1beta1/defaults_linux.go, DefaultEvictionHard)."""


def directories(runtime: Name) -> tuple[str, ...]:
    """Where a node with this runtime keeps things that take room, those of images first."""
    return (*DIRECTORIES[runtime], KUBELET, ETCD)


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Findings of each host by itself."""
    settings = inspection.cluster.settings
    for node, facts in inspection.answered():
        for paths, rooms in _file_systems(settings, node, facts):
            yield from _space(settings, node, facts, paths, rooms)
        yield from _kind(settings, node, facts)


def _file_systems(settings: Settings, node: Node, facts: HostFacts) -> Iterator[tuple[list[str], Room]]:
    """Each file system once, with those of the directories that are on it."""
    wanted = [path for path in directories(settings.runtime.name) if path != ETCD or node.role == "control-plane"]
    rooms = [room for room in facts.rooms if room.path in wanted and room.size_mib > 0]
    for mount in dict.fromkeys(room.mount for room in rooms):
        here = [room for room in rooms if room.mount == mount]
        yield [room.path for room in here], here[0]


def _space(settings: Settings, node: Node, facts: HostFacts, paths: list[str], room: Room) -> Iterator[Finding]:
    images = any(path in DIRECTORIES[settings.runtime.name] for path in paths)
    percent = EVICTS_BELOW["images" if images else "pods"]
    free = 100 * room.free_mib / room.size_mib
    where = f"has {room.free_mib} MiB free of {room.size_mib} for {', '.join(paths)} (at {room.mount})"
    mend = f"make room (`du -xh --max-depth 2 {room.mount} | sort -h | tail` there shows what takes it)"
    if free < percent:
        breaks = f"and kubelet takes no pods with less than {percent} % free"
    elif images and not facts.kubelet and room.free_mib < NEEDED_MIB:
        breaks = f"and packages and images need {NEEDED_MIB}"
    else:
        return
    yield Finding("disk-space", node.name, where, breaks, mend, "warning" if facts.kubelet else "error")


def _kind(settings: Settings, node: Node, facts: HostFacts) -> Iterator[Finding]:
    stacked = [
        room for room in facts.rooms if room.path in DIRECTORIES[settings.runtime.name] and room.kind == "overlayfs"
    ]
    if stacked:
        yield Finding(
            "storage-driver",
            node.name,
            f"has {', '.join(room.path for room in stacked)} on an overlay file system",
            "on which the runtime's own overlays cannot be mounted",
            "mount a real file system there",
        )
