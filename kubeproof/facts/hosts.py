"""Facts about a host as such: what it is, and what it was like before the first deploy."""

import json

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from kubeproof.facts import sections
from kubeproof.facts.kubernetes import REMAINS
from kubeproof.node import paths
from kubeproof.node.findings import HostFacts
from kubeproof.node.record import DOCKER_GROUP, OWNED_PATHS, SHARED_DIRECTORIES, SYSCTLS, Record
from kubeproof.tables.systems import ARCHITECTURES

_PATHS = " ".join((*OWNED_PATHS, *SHARED_DIRECTORIES))
_ENDPOINT = 'container-?[rR]untime-?[eE]ndpoint[=:] ?[^ ]*unix:[^" ]*'
_KUBELET_FILES = "/var/lib/kubelet/kubeadm-flags.env /var/lib/kubelet/instance-config.yaml"
"""Where kubeadm tells kubelet its runtime's socket: in the flags, and since 1.34 in a configuration of its own."""


class Host(FactBase[HostFacts]):
    """Reads :class:`HostFacts`."""

    def command(self) -> str:
        return sections.script(
            {
                "system": '. /etc/os-release; echo "$ID $VERSION_ID"',
                "uid": "id -u",
                "addresses": "ip -o -4 addr show | awk '{print $4}'",
                "swaps": "tail -n +2 /proc/swaps | awk '{print $1}'",
                "container": "systemd-detect-virt --container | grep -v none",
                "machine_id": "cat /etc/machine-id",
                "docker_config": f"cat {paths.DOCKER_CONFIG}",
                "machine": "uname -m",
                "kernel": "uname -r",
                "cgroups": "stat --file-system --format %T /sys/fs/cgroup",
                "kubelet": f"test -e {paths.KUBELET_CONF} && kubelet --version",
                "cri_socket": f"test -e {paths.KUBELET_CONF} && grep -hoE '{_ENDPOINT}' {_KUBELET_FILES}",
                "foreign": f"test -e {paths.RECORD} || ls -d {' '.join(REMAINS)}",
            }
        )

    @staticmethod
    def default() -> HostFacts:
        return HostFacts()

    def process(self, output: list[str]) -> HostFacts:
        found = sections.read(output)
        try:
            return HostFacts(
                system=_first(found, "system"),
                uid=int(_first(found, "uid")),
                addresses=tuple(line.partition("/")[0] for line in found.get("addresses", ())),
                swaps=tuple(found.get("swaps", ())),
                container=_first(found, "container"),
                machine_id=_first(found, "machine_id"),
                docker_config="\n".join(found.get("docker_config", ())),
                architecture=ARCHITECTURES.get(_first(found, "machine"), _first(found, "machine")),
                kernel=_first(found, "kernel"),
                cgroups=_first(found, "cgroups"),
                kubelet=_first(found, "kubelet").rpartition(" v")[2],
                cri_socket=_first(found, "cri_socket").rpartition("unix:")[2],
                foreign=tuple(found.get("foreign", ())),
            )
        except ValueError as error:
            raise FactProcessError(f"unexpected answer: {error}") from error


class Before(FactBase[Record]):
    """The host as it is now, in the form in which the first deploy remembers it."""

    def command(self) -> str:
        return sections.script(
            {
                "paths": f"for path in {_PATHS}; do [ -e $path ] && echo $path; done",
                "sysctls": "; ".join(f"sysctl {name}" for name in SYSCTLS),
                "swaps": "tail -n +2 /proc/swaps | awk '{print $1}'",
                "nft_tables": "nft list tables",
                "policies": "iptables-save | grep -E '^[*:]'",
                "modules": "lsmod | awk '{print $1}'",
                "groups": f"getent group {DOCKER_GROUP} | cut -d : -f 1",
                "selinux": "getenforce",
                "firewalld": "firewall-cmd --state; firewall-cmd --permanent --list-ports; "
                "firewall-cmd --permanent --zone=trusted --list-sources",
            }
        )

    @staticmethod
    def default() -> Record:
        return Record()

    def process(self, output: list[str]) -> Record:
        return Record.from_sections(sections.read(output))


class Remembered(FactBase[Record | None]):
    """The record of the first deploy, or None if there is none."""

    def command(self) -> str:
        return f"test ! -e {paths.RECORD} || cat {paths.RECORD}"

    def process(self, output: list[str]) -> Record | None:
        try:
            return Record(**json.loads("\n".join(output)))
        except (ValueError, TypeError) as error:
            raise FactProcessError(f"{paths.RECORD} is damaged ({error}): remove it") from error


def _first(found: dict[str, list[str]], name: str) -> str:
    return next(iter(found.get(name, ())), "")
