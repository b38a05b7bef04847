"""Container runtimes that are on a host already, and its iptables. Pure."""

from collections.abc import Iterator

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.config.tables.systems import system_of
from kubeproof.node import runtime_config
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.host import iptables_mixed
from kubeproof.rules.rule import either_rule, error_rule, warning_rule
from kubeproof.state.iptables import LEGACY
from kubeproof.state.node import NodeState

REPLACED = {
    "docker.io": ("docker-ce", "docker-ee", "containerd.io", "moby-engine"),
    "docker-ce": ("docker.io", "containerd", "moby-engine", "podman-docker"),
    "containerd": ("containerd.io", "docker-ce", "moby-engine"),
    "containerd.io": ("docker.io", "containerd", "moby-engine", "runc"),
}
"""Packages that the package manager would take away for another one (their Conflicts and Replaces). podman is none."""
FIGHTING = {
    "crio.service": "CRI-O, of which kubeadm would not know whether it is meant",
    "snap.docker.dockerd.service": "Docker as a snap, whose rules and containers mix with the other Docker's",
    "k3s.service": "k3s, which has the same ports and links",
    "k3s-agent.service": "k3s, which has the same ports and links",
    "rke2-server.service": "RKE2, which has the same ports and links",
    "rke2-agent.service": "RKE2, which has the same ports and links",
    "k0scontroller.service": "k0s, which has the same ports and links",
    "k0sworker.service": "k0s, which has the same ports and links",
    "snap.microk8s.daemon-kubelite.service": "MicroK8s, which has the same ports and links",
}
"""Services that run and do not go with a cluster of kubeadm's, and why."""

dockers_config = either_rule(
    "docker-config",
    "Docker's configuration can be read and added to, and goes with pods and with how Docker is started; a "
    "warning for what of it cannot stay",
    "Docker does not start, or not as kubelet needs it",
)
containerds_config = warning_rule(
    "containerd-config",
    "containerd has no settings of the host's own: the deploy writes them all",
    "which the deploy replaces as a whole",
)
runtime_conflict = error_rule(
    "runtime-conflict",
    "no other container runtime that the wanted one would replace or fight",
    "containers that are there would stop, or neither would work",
)
apparmor = error_rule(
    "apparmor",
    "where AppArmor is on, its parser is there or can be installed: runtimes run it",
    "so no container starts (`apparmor_parser`: executable file not found)",
)
iptables_variant = warning_rule(
    "iptables-variant",
    "iptables is nf_tables everywhere or legacy everywhere (kubernetes#71305)",
    "and agents in pods can use one of them only (kubernetes#71305)",
)


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Findings of each host by itself, and then what differs between hosts."""
    yield from _of_host(inspection)
    yield from _variants(inspection)


@of_each_host
def _of_host(inspection: Inspection, _: Node, facts: NodeState) -> Iterator[Finding]:
    settings = inspection.cluster.settings
    yield from _containerd_config(facts) if settings.runtime.name == "containerd" else _docker_config(facts)
    yield from _packages(settings, facts)
    yield from _services(facts)
    yield from _apparmor(facts)
    yield from _mixed(facts)


def _docker_config(facts: NodeState) -> Iterator[Finding]:
    if wrong := runtime_config.problem(facts.docker_config):
        yield dockers_config.finding(
            f"has a {paths.DOCKER_CONFIG} that Docker cannot read ({wrong})",
            "correct or remove it",
            breaks="so Docker does not start",
        )
    if twice := runtime_config.twice(facts.docker_config, facts.docker_flags):
        yield dockers_config.finding(
            f"is to have {', '.join(twice)} in {paths.DOCKER_CONFIG}, and Docker is started with that too",
            "leave one of the two (`systemctl cat docker.service` there shows how it is started, Debian's with "
            "/etc/default/docker)",
            breaks="which it refuses",
        )
    if runtime_config.keys(facts.docker_config).get("userns-remap"):
        yield dockers_config.finding(
            f"has userns-remap in {paths.DOCKER_CONFIG}",
            "remove it there",
            breaks="with which pods cannot have the host's network, as the control plane and the pod network do",
        )
    if not facts.remembered:
        for key, (now, then) in runtime_config.replaced(facts.docker_config).items():
            yield dockers_config.finding(
                f"has {key} {now} in {paths.DOCKER_CONFIG}, which becomes {then}",
                "nothing has to be done, unless something there needs the other",
                breaks="the one that kubelet works with",
                severity="warning",
            )


def _containerd_config(facts: NodeState) -> Iterator[Finding]:
    """The deploy writes this file as a whole; a copy of it is kept, and comes back with a reset."""
    if lost := runtime_config.own_settings(facts.containerd_config):
        yield containerds_config.finding(
            f"has {', '.join(lost)} in {paths.CONTAINERD_CONFIG}", "do without, or use another host"
        )


def _packages(settings: Settings, facts: NodeState) -> Iterator[Finding]:
    system = system_of(facts.system)
    if system is None:
        return
    wanted = settings.own_runtime_package or system.package(settings.runtime.name)
    others = [name for name in REPLACED.get(wanted, ()) if name in facts.packages]
    if others and wanted not in facts.packages:
        setting = "docker_package" if settings.runtime.name == "docker" else "containerd_package"
        yield runtime_conflict.finding(
            f"has {', '.join(others)} installed, which {wanted} takes the place of",
            f"set {setting} to the one that is there, or remove it first",
            breaks="and its containers would stop",
        )


def _services(facts: NodeState) -> Iterator[Finding]:
    for unit in facts.services:
        if unit in FIGHTING:
            yield runtime_conflict.finding(
                f"runs {FIGHTING[unit]}", f"run `systemctl disable --now {unit}` there", breaks="so neither would work"
            )
    if facts.others_pods:
        yield runtime_conflict.finding(
            "has containerd with pods of somebody else's (namespace k8s.io)",
            "end them (`ctr --namespace k8s.io containers list` there), or use another host",
            breaks="which would mix with the cluster's",
        )


def _apparmor(facts: NodeState) -> Iterator[Finding]:
    """Where a package has it the deploy installs that."""
    if facts.apparmor == "missing":
        yield apparmor.finding(
            "has AppArmor on, and neither apparmor_parser nor a package apparmor to install",
            "correct /etc/apt/sources.list there, or boot with apparmor=0 on the kernel's command line",
        )


def _mixed(facts: NodeState) -> Iterator[Finding]:
    tables = facts.other_iptables.used_tables
    if not facts.iptables.variant or not tables:
        return
    other = "nft" if facts.iptables.variant == LEGACY else "legacy"
    yield iptables_mixed.finding(
        f"has iptables {facts.iptables.variant}, and rules in tables of the other variant ({', '.join(tables)})",
        f"look at them with `iptables-{other}-save` there, and reboot without what makes them",
        breaks="which nobody sees and all packets pass (kubernetes#71305)",
    )


def _variants(inspection: Inspection) -> Iterator[Finding]:
    variants = {node.name: facts.iptables.variant for node, facts in inspection.answered()}
    known = {name: variant for name, variant in variants.items() if variant}
    if len(set(known.values())) > 1:
        shown = ", ".join(f"{name} {variant}" for name, variant in known.items())
        yield iptables_variant.finding(
            f"have different iptables ({shown})",
            "run `update-alternatives --set iptables /usr/sbin/iptables-nft` where it is legacy",
            host=", ".join(known),
        )
