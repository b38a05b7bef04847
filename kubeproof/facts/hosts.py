"""Facts about a host as such: what it is, and what it was like before the first deploy."""

import json
import re
from collections.abc import Iterable

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from kubeproof.facts import sections
from kubeproof.facts.kubernetes import REMAINS
from kubeproof.node import paths
from kubeproof.node.host_facts import HostFacts, Room
from kubeproof.node.preflight import disks, runtimes
from kubeproof.node.preflight.udp_paths import FIREWALLD
from kubeproof.node.record import DOCKER_GROUP, OWNED_PATHS, SHARED_DIRECTORIES, SYSCTLS, Record
from kubeproof.tables import runtimes as kinds
from kubeproof.tables.systems import ARCHITECTURES

NAME_SECONDS = 3
"""How long a host may take to resolve its own name."""
POD_SECONDS = 10
"""How long containerd may take to list containers."""

_PATHS = " ".join((*OWNED_PATHS, *SHARED_DIRECTORIES))
_ENDPOINT = 'container-?[rR]untime-?[eE]ndpoint[=:] ?[^ ]*unix:[^" ]*'
_KUBELET_FILES = "/var/lib/kubelet/kubeadm-flags.env /var/lib/kubelet/instance-config.yaml"
"""Where kubeadm tells kubelet its runtime's socket: in the flags, and since 1.34 in a configuration of its own."""

_ROOMS = " ".join(sorted({path for name in kinds.NAMES for path in disks.directories(name)}))
_ROOM = f"""for path in {_ROOMS}; do
    there=$path
    while [ ! -e "$there" ]; do there=$(dirname "$there"); done
    echo "$path $(stat --file-system --format %T "$there") $(df -Pk "$there" | tail -n 1)"
done"""
"""A directory that is not there yet will be on the file system of the nearest one above it."""
_CONTROLLERS = """if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/cgroup.controllers
else awk '$3 == "cgroup" {print $4}' /proc/mounts; fi"""
_MATTERING = (*runtimes.FIGHTING, FIREWALLD)
_RUNTIME_PACKAGES = " ".join(runtimes.PACKAGES)
_PACKAGES = f"""{{ dpkg-query --show --showformat '${{db:Status-Status}} ${{Package}}\\n' {_RUNTIME_PACKAGES}
rpm --query --queryformat 'installed %{{NAME}}\\n' {_RUNTIME_PACKAGES}; }} | awk '$1 == "installed" {{print $2}}'"""
_SERVICES = "systemctl list-units --type service --state active --plain --no-legend | awk '{print $1}'"
_OTHERS_PODS = (
    f"[ -e {paths.RECORD} ] || [ ! -S {kinds.CONTAINERD_SOCKET.removeprefix('unix://')} ] || "
    f"timeout {POD_SECONDS} {kinds.CTR} containers list --quiet"
)
_WITH_RULES = """awk '/^[*]/ {table = substr($1, 2)} /^-A/ || (/^:/ && $2 !~ /^(ACCEPT|-)$/) {print table}' | uniq"""
_OTHER_RULES = f"""case $(iptables --version) in
*nf_tables*)
  if ! grep -q . /proc/net/ip_tables_names; then :
  elif command -v iptables-legacy-save >/dev/null; then iptables-legacy-save | {_WITH_RULES}
  else cat /proc/net/ip_tables_names; fi;;
*) nft list tables ip | awk '$3 ~ /^(raw|mangle|nat|filter|security)$/ {{print $3}}';;
esac"""
"""Nothing is asked of a variant that has no tables, which would make them. iptables-nft has legacy's names.

Legacy tables stay for as long as the host runs, rules or none; those that hold none do nothing.
"""


class Host(FactBase[HostFacts]):
    """Reads :class:`HostFacts`."""

    def command(self) -> str:
        return sections.script(
            {
                # A file that is missing would end the shell, and with it all further questions.
                "system": '(. /etc/os-release; echo "$ID $VERSION_ID")',
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
                "remembered": f"ls {paths.RECORD}",
                "memory": "awk '$1 == \"MemTotal:\" {print $2}' /proc/meminfo",
                "cores": "nproc",
                "init": "cat /proc/1/comm",
                "controllers": _CONTROLLERS,
                "rooms": _ROOM,
                "hostname": "uname -n",
                "own_addresses": f"timeout {NAME_SECONDS} getent ahostsv4 \"$(uname -n)\" | awk '{{print $1}}'",
                "product_uuid": "cat /sys/class/dmi/id/product_uuid",
                "hosts_file": f"cat {paths.HOSTS}",
                "resolvers": "awk '$1 == \"nameserver\" {print $2}' /etc/resolv.conf",
                "packages": _PACKAGES,
                "services": _SERVICES,
                "others_pods": _OTHERS_PODS,
                "iptables": "iptables --version",
                "other_rules": _OTHER_RULES,
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
                uid=_number(_first(found, "uid"), -1),
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
                remembered=bool(found.get("remembered")),
                memory_mib=_number(_first(found, "memory")) // 1024,
                cores=_number(_first(found, "cores")),
                init=_first(found, "init"),
                controllers=_controllers(found.get("controllers", ())),
                rooms=tuple(room for line in found.get("rooms", ()) if (room := _room(line))),
                hostname=_first(found, "hostname"),
                own_addresses=tuple(dict.fromkeys(found.get("own_addresses", ()))),
                product_uuid=_first(found, "product_uuid"),
                hosts_file="".join(f"{line}\n" for line in found.get("hosts_file", ())),
                resolvers=tuple(found.get("resolvers", ())),
                packages=tuple(found.get("packages", ())),
                services=tuple(unit for unit in found.get("services", ()) if unit in _MATTERING),
                others_pods=bool(found.get("others_pods")),
                iptables=_variant(_first(found, "iptables")),
                other_rules=tuple(found.get("other_rules", ())),
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


def _controllers(lines: Iterable[str]) -> tuple[str, ...]:
    """Of version 2 a line of words; of version 1 the options of each mount, such as "rw,relatime,cpu,cpuacct"."""
    return tuple(dict.fromkeys(" ".join(lines).replace(",", " ").split()))


def _room(line: str) -> Room | None:
    """Path and kind, and then the last line of df: device, KiB in all, used and free, percent, where it is mounted.

    None where df does not know the sizes, for which it writes "-".
    """
    words = re.fullmatch(r"(\S+) (\S+) .*\s([0-9]+)\s+\S+\s+([0-9]+)\s+\S+\s+(\S.*)", line)
    return Room(words[1], words[2], int(words[3]) // 1024, int(words[4]) // 1024, words[5]) if words else None


def _number(text: str, otherwise: int = 0) -> int:
    return int(text) if text.isdecimal() else otherwise


def _variant(version: str) -> str:
    """Of what iptables --version prints, such as "iptables v1.8.9 (nf_tables)"; before 1.8 there was legacy alone."""
    if not version:
        return ""
    return "nf_tables" if "nf_tables" in version else "legacy"


def _first(found: dict[str, list[str]], name: str) -> str:
    return next(iter(found.get(name, ())), "")
