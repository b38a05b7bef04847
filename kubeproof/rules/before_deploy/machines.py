"""Whether a host is a machine that Kubernetes runs on. Pure."""

from collections.abc import Iterator

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables import systems
from kubeproof.config.tables.systems import system_of
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.host import cgroup_driver, swap
from kubeproof.rules.rule import either_rule, error_rule
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

os = error_rule(
    "os",
    "operating system and its version are ones that this project knows",
    "which is none of the systems that Kubeproof knows packages and services of",
)
architecture = error_rule("architecture", "amd64 or arm64", "for which there are no packages")
root = error_rule("root", "commands run as root, by ssh or by sudo", "so nothing can be installed")
init = error_rule("init", "systemd is the host's init", "and services of kubelet and the runtime are systemd's")
memory = either_rule(
    "memory",
    "kubeadm's minimum of a control plane (error), and the same of a worker (warning)",
    "kubeadm refuses a control plane with less, and a worker has next to nothing for pods",
)
cores = error_rule("cores", "kubeadm's minimum of a control plane", "kubeadm refuses the control plane")
cgroups = error_rule(
    "cgroups",
    "the layout of control groups is one that kubelet of this version takes, all controllers there",
    "kubelet does not start, or cannot limit pods",
)


@of_each_host
def findings(inspection: Inspection, node: Node, facts: NodeState) -> Iterator[Finding]:
    yield from _machine(facts)
    if inspection.cluster.settings.cni_backend == "udp" and facts.architecture not in ("", "amd64"):
        # flannel, pkg/backend/udp/udp_network_amd64.go
        found = f"is an {facts.architecture}, for which flannel has no udp"
        yield architecture.finding(found, "use another cni_backend", breaks="so its pods do not start")
    yield from _size(node, facts)
    yield from _swap(facts)
    yield from _cgroups(inspection.cluster.settings, facts)


def _machine(facts: NodeState) -> Iterator[Finding]:
    if system_of(facts.system) is None:
        yield os.finding(f"runs {_title(facts)}", f"install one of {systems.titles()}")
    if facts.architecture and facts.architecture not in systems.ARCHITECTURES.values():
        known = ", ".join(systems.ARCHITECTURES.values())
        yield architecture.finding(f"is a {facts.architecture}", f"use a machine that is one of {known}")
    if facts.uid != 0:
        yield root.finding(
            "is not entered as root", "set ssh_user = 'root', or _sudo = True in inventory/group_data/all.py"
        )
    if facts.init and facts.init != "systemd":
        yield init.finding(f"has {facts.init} as process 1", "boot it with systemd")


def _title(facts: NodeState) -> str:
    """Its name for people, and what decides; releases in the making have no version."""
    identity = facts.system.strip()
    shown = f"{facts.system_title} ({identity})" if facts.system_title and identity else identity
    return shown or facts.system_title or "an unknown system"


def _size(node: Node, facts: NodeState) -> Iterator[Finding]:
    leads = node.role == "control-plane"
    if 0 < facts.memory_mib < MEMORY_MIB:
        ignoring = ", or ignore this and kubeadm's Mem (ignore_findings, ignore_preflight_errors)" if leads else ""
        yield memory.finding(
            f"has {facts.memory_mib} MiB of memory, less than {MEMORY_MIB}",
            f"give it 2 GiB{ignoring}",
            breaks="which kubeadm refuses on a control plane" if leads else "which leaves next to nothing for pods",
            severity="error" if leads else "warning",
        )
    if leads and 0 < facts.cores < CORES:
        yield cores.finding(
            f"has {facts.cores} core",
            "give it one more, or ignore this and kubeadm's NumCPU (ignore_findings, ignore_preflight_errors)",
            breaks=f"and kubeadm refuses a control plane with less than {CORES}",
        )


def _swap(facts: NodeState) -> Iterator[Finding]:
    if facts.swaps and facts.identity.container:
        yield swap.finding(
            f"is a container ({facts.identity.container}) on a machine with swap",
            "run `swapoff -a` on that machine",
            breaks="with which kubelet does not start",
        )


def _cgroups(settings: Settings, facts: NodeState) -> Iterator[Finding]:
    unified = facts.cgroups == systems.CGROUP_V2
    if facts.cgroups and not unified and settings.era.needs_cgroup_v2:
        yield cgroups.finding(
            "has cgroup v1",
            "boot it with systemd.unified_cgroup_hierarchy=1, or use an older Kubernetes",
            breaks=f"which kubelet {settings.era.minor} refuses",
        )
    if unified and settings.cgroup_driver == "cgroupfs" and facts.init == "systemd" and not facts.identity.container:
        yield cgroup_driver.finding(
            "has systemd and one tree of control groups, and cgroup_driver is cgroupfs",
            "set cgroup_driver = 'systemd'",
            breaks="so two managers of the same tree fight (kubernetes#43805)",
        )
    wanted = CONTROLLERS_V2 if unified else CONTROLLERS_V1
    missing = [name for name in wanted if name not in facts.controllers]
    if facts.cgroups and facts.controllers and missing:
        version = "v2" if unified else "v1"
        yield cgroups.finding(
            f"lacks the controllers {', '.join(missing)} of cgroup {version}",
            "remove cgroup_disable= from the kernel's command line and reboot"
            if not facts.identity.container
            else "give them to the container",
            breaks="without which kubelet does not start or cannot limit pods",
        )
