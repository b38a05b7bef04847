"""Facts about a host as such: what it is, and what it was like before the first deploy."""

import json
import re
from collections.abc import Iterable

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from kubeproof.access.patience import patient
from kubeproof.config.tables import runtimes as kinds
from kubeproof.config.tables.systems import ARCHITECTURES
from kubeproof.deploy.facts.kubernetes import REMAINS
from kubeproof.deploy.facts.questions import Lines, Questions
from kubeproof.node import paths
from kubeproof.node.host_facts import HostFacts, Room
from kubeproof.node.preflight import disks, runtimes
from kubeproof.node.preflight.udp_paths import FIREWALLD
from kubeproof.node.record import DOCKER_GROUP, OWNED_PATHS, SHARED_DIRECTORIES, SYSCTLS, Record

NAME_SECONDS = 3
"""How long a host may take to resolve its own name."""
POD_SECONDS = 10
"""How long containerd may take to list containers."""

_PATHS = " ".join((*OWNED_PATHS, *SHARED_DIRECTORIES))
_ENDPOINT = 'container-?[rR]untime-?[eE]ndpoint[=:] ?[^ ]*unix:[^" ]*'
_KUBELET_FILES = "/var/lib/kubelet/kubeadm-flags.env /var/lib/kubelet/instance-config.yaml"
"""Where kubeadm tells kubelet its runtime's socket: in the flags, and since 1.34 in a configuration of its own."""

_ROOMS = " ".join(sorted({path for name in kinds.NAMES for path in disks.directories(name)}))
_ROOM = f"""own=$(sed -nE 's/.*"(data-root|graph)"[ \t]*:[ \t]*"([^" ]*)".*/\\2/p' {paths.DOCKER_CONFIG} | tail -n 1)
for path in {_ROOMS} ${{own%/}}; do
    there=$path
    while [ ! -e "$there" ]; do there=$(dirname "$there"); done
    echo "$path $(stat --file-system --format '%T %c %d' "$there") $(df -Pk "$there" | tail -n 1)"
done"""
"""A directory that is not there yet will be on the file system of the nearest one above it."""
_DOCKER_FLAGS = """started=$(systemctl show --property ExecStart --value docker.service)
printf '%s\\n' "$started" | sed -nE 's/.*argv\\[\\]=[^ ;]* *([^;]*) ;.*/\\1/p'
case $started in *DOCKER_OPTS*) (. /etc/default/docker; echo "$DOCKER_OPTS");; esac"""
"""Debian's unit reads a file of a variable, Docker's own has all words in it."""
_CONTROLLERS = """if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/cgroup.controllers
else awk '$3 == "cgroup" {print $4}' /proc/mounts; fi"""
_MATTERING = (*runtimes.FIGHTING, FIREWALLD)
_RUNTIME_PACKAGES = " ".join(runtimes.PACKAGES)
_PACKAGES = f"""{{ dpkg-query --show --showformat '${{db:Status-Status}} ${{Package}}\\n' {_RUNTIME_PACKAGES}
rpm --query --queryformat 'installed %{{NAME}}\\n' {_RUNTIME_PACKAGES}; }} | awk '$1 == "installed" {{print $2}}'"""
_SERVICES = "systemctl list-units --type service --state active --plain --no-legend | awk '{print $1}'"
_OWN_ADDRESSES = "timeout {} getent ahostsv4 \"$(uname -n)\" | awk '{{print $1}}'"
_NO_OTHERS = f"[ -e {paths.RECORD} ] || [ ! -S {kinds.CONTAINERD_SOCKET.removeprefix('unix://')} ]"
_OS_RELEASE = "(file=/etc/os-release; [ -e $file ] || file=/usr/lib/os-release; . $file; echo {})"
"""In a shell of its own, which would end with a file that is not there, or is none for a shell."""
_APPARMOR = """if grep -q Y /sys/module/apparmor/parameters/enabled && [ -e /sys/kernel/security/apparmor ]; then
    if [ -x /sbin/apparmor_parser ] || [ -x /usr/sbin/apparmor_parser ]; then echo ready
    elif ! command -v apt-cache >/dev/null; then echo missing
    elif ! ls /var/lib/apt/lists/*_Packages* >/dev/null || apt-cache show apparmor | grep -q .; then echo installable
    else echo missing; fi
fi"""
"""Runtimes ask the same two things (runc, libcontainer/apparmor). A host that has no package lists yet gets them."""
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


class Host(Questions[HostFacts]):
    """Reads :class:`HostFacts`."""

    def questions(self) -> dict[str, str]:
        return {
            "system": _OS_RELEASE.format('"$ID $VERSION_ID"'),
            "system_title": _OS_RELEASE.format('"$PRETTY_NAME"'),
            "uid": "id -u",
            "addresses": "ip -o -4 addr show | awk '{print $4}'",
            "swaps": "tail -n +2 /proc/swaps | awk '{print $1}'",
            "container": "systemd-detect-virt --container | grep -v none",
            "machine_id": "cat /etc/machine-id",
            "docker_config": f"cat {paths.DOCKER_CONFIG}",
            "docker_flags": _DOCKER_FLAGS,
            "containerd_config": f"[ -e {paths.RECORD} ] || cat {paths.CONTAINERD_CONFIG}",
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
            "own_addresses": _OWN_ADDRESSES.format(patient(NAME_SECONDS)),
            "product_uuid": "cat /sys/class/dmi/id/product_uuid",
            "hosts_file": f"cat {paths.HOSTS}",
            "resolvers": "awk '$1 == \"nameserver\" {print $2}' /etc/resolv.conf",
            "packages": _PACKAGES,
            "services": _SERVICES,
            "others_pods": f"{_NO_OTHERS} || timeout {patient(POD_SECONDS)} {kinds.CTR} containers list --quiet",
            "iptables": "iptables --version",
            "apparmor": _APPARMOR,
            "other_rules": _OTHER_RULES,
        }

    @staticmethod
    def default() -> HostFacts:
        return HostFacts()

    def read(self, found: Lines) -> HostFacts:
        return HostFacts(
            system=_first(found, "system"),
            system_title=_first(found, "system_title"),
            uid=_number(_first(found, "uid"), -1),
            addresses=tuple(line.partition("/")[0] for line in found.get("addresses", ())),
            swaps=tuple(found.get("swaps", ())),
            container=_first(found, "container"),
            machine_id=_first(found, "machine_id"),
            docker_config="\n".join(found.get("docker_config", ())),
            docker_flags=tuple(" ".join(found.get("docker_flags", ())).split()),
            containerd_config="\n".join(found.get("containerd_config", ())),
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
            apparmor=_first(found, "apparmor"),
            other_rules=tuple(found.get("other_rules", ())),
        )


class Before(Questions[Record]):
    """The host as it is now, in the form in which the first deploy remembers it."""

    def questions(self) -> dict[str, str]:
        return {
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

    @staticmethod
    def default() -> Record:
        return Record()

    def read(self, found: Lines) -> Record:
        return Record.from_sections(found)


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


_ROOM_LINE = re.compile(
    r"(?P<path>\S+) (?P<kind>\S+) (?P<inodes>\d+) (?P<free_inodes>\d+) .*?"
    r"\s(?P<size>\d+)\s+\S+\s+(?P<free>\d+)\s+\S+\s(?P<mount>.+)"
)
"""Path, kind and inodes, and then the last line of df: device, KiB in all, used, free, percent, where it is mounted."""


def _room(line: str) -> Room | None:
    """None for a line that is not like it, as of a file system that does not tell its size."""
    found = _ROOM_LINE.fullmatch(line)
    if not found:
        return None
    size, free, inodes, left = (int(found[name]) for name in ("size", "free", "inodes", "free_inodes"))
    return Room(found["path"], found["kind"], size // 1024, free // 1024, found["mount"], inodes, left)


def _number(text: str, otherwise: int = 0) -> int:
    return int(text) if text.isdecimal() else otherwise


def _variant(version: str) -> str:
    """Of what iptables --version prints, such as "iptables v1.8.9 (nf_tables)"; before 1.8 there was legacy alone."""
    if not version:
        return ""
    return "nf_tables" if "nf_tables" in version else "legacy"


def _first(found: Lines, name: str) -> str:
    return next(iter(found.get(name, ())), "")
