"""Whether a host is a machine that Kubernetes runs on. Pure."""

from collections.abc import Iterator

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables import systems
from kubeproof.config.tables.systems import system_of
from kubeproof.node.finding import Finding
from kubeproof.node.preflight.inspection import Inspection
from kubeproof.state.node import NodeState

MEMORY_MIB = 1700
"""kubeadm refuses a control plane with less (constants.ControlPlaneMem; 1.20's preflight check Mem). Its documentation
asks 2 GB of every machine, of which firmware and kernel take a part."""
CORES = 2
"""Likewise (constants.ControlPlaneNumCPU, preflight check NumCPU)."""
CONTROLLERS_V1 = ("cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
"""kubelet refuses without cpu, cpuset and memory (pkg/kubelet/cm/container_manager_linux.go,
validateSystemRequirements); the runtimes need devices and freezer, and kubelet pids for its limit of them."""
CONTROLLERS_V2 = ("cpu", "cpuset", "memory", "pids")
"""Version 2 has no devices and freezer of its own (pkg/kubelet/cm/helpers_linux.go)."""


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Findings of each host by itself."""
    settings = inspection.cluster.settings
    for node, facts in inspection.answered():
        yield from _machine(node, facts)
        yield from _size(node, facts)
        yield from _swap(node, facts)
        yield from _cgroups(settings, node, facts)


def _machine(node: Node, facts: NodeState) -> Iterator[Finding]:
    if system_of(facts.system) is None:
        yield Finding(
            "os",
            node.name,
            f"runs {_title(facts)}",
            "which is none of the systems that Kubeproof knows packages and services of",
            f"install one of {systems.titles()}",
        )
    if facts.architecture and facts.architecture not in systems.ARCHITECTURES.values():
        known = ", ".join(systems.ARCHITECTURES.values())
        yield Finding(
            "architecture",
            node.name,
            f"is a {facts.architecture}",
            "for which there are no packages",
            f"use a machine that is one of {known}",
        )
    if facts.uid != 0:
        yield Finding(
            "root",
            node.name,
            "is not entered as root",
            "so nothing can be installed",
            "set ssh_user = 'root', or _sudo = True in inventory/group_data/all.py",
        )
    if facts.init and facts.init != "systemd":
        yield Finding(
            "init",
            node.name,
            f"has {facts.init} as process 1",
            "and services of kubelet and the runtime are systemd's",
            "boot it with systemd",
        )


def _title(facts: NodeState) -> str:
    """Its name for people, and what decides; releases in the making have no version."""
    identity = facts.system.strip()
    shown = f"{facts.system_title} ({identity})" if facts.system_title and identity else identity
    return shown or facts.system_title or "an unknown system"


def _size(node: Node, facts: NodeState) -> Iterator[Finding]:
    leads = node.role == "control-plane"
    if 0 < facts.memory_mib < MEMORY_MIB:
        ignoring = ", or ignore this and kubeadm's Mem (ignore_findings, ignore_preflight_errors)" if leads else ""
        yield Finding(
            "memory",
            node.name,
            f"has {facts.memory_mib} MiB of memory, less than {MEMORY_MIB}",
            "which kubeadm refuses on a control plane" if leads else "which leaves next to nothing for pods",
            f"give it 2 GiB{ignoring}",
            "error" if leads else "warning",
        )
    if leads and 0 < facts.cores < CORES:
        yield Finding(
            "cores",
            node.name,
            f"has {facts.cores} core",
            f"and kubeadm refuses a control plane with less than {CORES}",
            "give it one more, or ignore this and kubeadm's NumCPU (ignore_findings, ignore_preflight_errors)",
        )


def _swap(node: Node, facts: NodeState) -> Iterator[Finding]:
    if facts.swaps and facts.identity.container:
        yield Finding(
            "swap",
            node.name,
            f"is a container ({facts.identity.container}) on a machine with swap",
            "with which kubelet does not start",
            "run `swapoff -a` on that machine",
        )


def _cgroups(settings: Settings, node: Node, facts: NodeState) -> Iterator[Finding]:
    unified = facts.cgroups == systems.CGROUP_V2
    if facts.cgroups and not unified and settings.era.needs_cgroup_v2:
        yield Finding(
            "cgroups",
            node.name,
            "has cgroup v1",
            f"which kubelet {settings.era.minor} refuses",
            "boot it with systemd.unified_cgroup_hierarchy=1, or use an older Kubernetes",
        )
    if unified and settings.cgroup_driver == "cgroupfs" and facts.init == "systemd" and not facts.identity.container:
        yield Finding(
            "cgroup-driver",
            node.name,
            "has systemd and one tree of control groups, and cgroup_driver is cgroupfs",
            "so two managers of the same tree fight (kubernetes#43805)",
            "set cgroup_driver = 'systemd'",
            "warning",
        )
    wanted = CONTROLLERS_V2 if unified else CONTROLLERS_V1
    missing = [name for name in wanted if name not in facts.controllers]
    if facts.cgroups and facts.controllers and missing:
        version = "v2" if unified else "v1"
        yield Finding(
            "cgroups",
            node.name,
            f"lacks the controllers {', '.join(missing)} of cgroup {version}",
            "without which kubelet does not start or cannot limit pods",
            "remove cgroup_disable= from the kernel's command line and reboot"
            if not facts.identity.container
            else "give them to the container",
        )
