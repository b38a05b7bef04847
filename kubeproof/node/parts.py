"""What can be known of a node: each part once, how it is asked for, who reads it, and who wants it. Pure."""

import re

from kubeproof.access.patience import patient
from kubeproof.config.tables import runtimes
from kubeproof.config.tables.systems import ARCHITECTURES
from kubeproof.networks import artifacts
from kubeproof.networks.plugins import FOLDER
from kubeproof.node import paths, record
from kubeproof.state import foreign
from kubeproof.state.collector import shell
from kubeproof.state.containers import DOCKER, Tool, parse_containers
from kubeproof.state.hostfiles import (
    SUBNET_ENV,
    ipv4_of,
    parse_clock,
    parse_disks,
    parse_identity,
    parse_kubelet,
    parse_line,
    parse_lines,
    parse_log_lines,
    parse_number,
    parse_paused,
    parse_ports,
    parse_subnet_env,
    parse_swaps,
    parse_sysctls,
    parse_truth,
    parse_values,
    parse_virtual_servers,
    parse_words,
)
from kubeproof.state.iproute import parse_addresses, parse_fdb, parse_links, parse_neighbours, parse_routes
from kubeproof.state.iptables import Ruleset, parse_iptables_save
from kubeproof.state.node import CONTROL_PLANE
from kubeproof.state.part import Asker, Part
from kubeproof.state.policies import POLICIES_FILE, parse_nft_tables, parse_policies

DEPLOY, RECORD, PROOF, DOCTOR = Asker.DEPLOY, Asker.RECORD, Asker.PROOF, Asker.DOCTOR
NAME_SECONDS = 3
"""How long a host may take to resolve its own name."""

_OS_RELEASE = "(file=/etc/os-release; [ -e $file ] || file=/usr/lib/os-release; . $file; echo {}); true"
"""In a shell of its own, which would end with a file that is not there, or is none for a shell."""
_CONTROLLERS = """if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/cgroup.controllers
else awk '$3 == "cgroup" {print $4}' /proc/mounts; fi"""
"""Of version 2 a line of words; of version 1 the options of each mount, such as "rw,relatime,cpu,cpuacct"."""
_PACKAGES = """{ dpkg-query --show --showformat '${db:Status-Status} ${Package}\\n'
rpm --query --all --queryformat 'installed %{NAME}\\n'; } | awk '$1 == "installed" {print $2}'"""
_ENDPOINT = 'container-?[rR]untime-?[eE]ndpoint[=:] ?[^ ]*unix:[^" ]*'
_KUBELET_FILES = f"{paths.KUBELET_FLAGS} /var/lib/kubelet/instance-config.yaml"
"""Where kubeadm tells kubelet its runtime's socket: in the flags, and since 1.34 in a configuration of its own."""
_OTHERS_PODS = f"""[ -e {paths.RECORD} ] || [ ! -S {runtimes.CONTAINERD_SOCKET.removeprefix("unix://")} ] ||
{runtimes.CTR} containers list --quiet"""
_FIREWALLD = """firewall-cmd --state; firewall-cmd --permanent --list-ports
firewall-cmd --permanent --zone=trusted --list-sources; true"""
_KUBELET_WORDS = """journalctl -u kubelet --no-pager -o cat -n 200 |
grep -E 'Failed to run kubelet|failed to run Kubelet' | tail -n 1"""
_TOKENS = f"""cat {paths.KUBERNETES}/bootstrap-kubelet.conf {paths.JOIN_CONFIG} |
sed -n 's/.*token: *"\\{{0,1\\}}\\([a-z0-9]\\{{6\\}}\\)\\.[a-z0-9]\\{{16\\}}.*/\\1/p'"""
"""Only what is no secret: the first half of a token names it."""
_NFT_RULES = f"""nft list tables | while read -r _ family name; do
  case "$family $name" in {"|".join(f'"{table}"' for table in foreign.OWN_TABLES)}|"ip6 "*) continue;; esac
  nft -j list table "$family" "$name"; done"""
_DIRECTORIES = sorted({*(path for name in runtimes.NAMES for path in runtimes.DIRECTORIES[name]), *paths.GROWING})


def parts(asker: Asker, tool: Tool = DOCKER) -> tuple[Part, ...]:
    """Those that somebody asks for, the runtime's by its tool."""
    return tuple(part for part in (*_of_machine(), *_of_network(), *_of_cluster(tool)) if part.askers & asker)


def _of_machine() -> tuple[Part, ...]:
    own_addresses = f"timeout {patient(NAME_SECONDS)} getent ahostsv4 \"$(uname -n)\" | awk '{{print $1}}'"
    owned = " ".join((*record.OWNED_PATHS, *record.SHARED_DIRECTORIES))
    return (
        Part("identity", shell("identity"), parse_identity, DEPLOY | PROOF),
        Part("uid", "id -u", parse_number, DEPLOY),
        Part("system", _OS_RELEASE.format('"$ID $VERSION_ID"'), parse_line, DEPLOY),
        Part("system_title", _OS_RELEASE.format('"$PRETTY_NAME"'), parse_line, DEPLOY),
        Part("architecture", "uname -m", _architecture, DEPLOY),
        Part("kernel", "uname -r", parse_line, DEPLOY),
        Part("init", "cat /proc/1/comm", parse_line, DEPLOY),
        Part("memory_mib", "awk '$1 == \"MemTotal:\" {print $2}' /proc/meminfo", _mib, DEPLOY),
        Part("cores", "nproc", parse_number, DEPLOY),
        Part(
            "disks",
            shell("disks", DIRECTORIES=" ".join(_DIRECTORIES), DOCKER_CONFIG=paths.DOCKER_CONFIG),
            parse_disks,
            DEPLOY,
        ),
        Part("swaps", "cat /proc/swaps", parse_swaps, DEPLOY | RECORD | PROOF, may_be_missing=True),
        Part("clock", "date +%s.%N", parse_clock, PROOF),
        Part("cgroups", "stat --file-system --format %T /sys/fs/cgroup", parse_line, DEPLOY),
        Part("controllers", _CONTROLLERS, _controllers, DEPLOY),
        Part("sysctls", shell("sysctls", NAMES=" ".join(record.SYSCTLS)), parse_sysctls, RECORD | PROOF),
        Part("modules", "lsmod | awk '{print $1}'", parse_words, RECORD),
        Part("apparmor", f"{shell('apparmor')}\ntrue", parse_line, DEPLOY),
        Part("selinux", "getenforce", parse_line, RECORD),
        Part("packages", _PACKAGES, parse_lines, DEPLOY),
        Part(
            "services",
            "systemctl list-units --type service --state active --plain --no-legend | awk '{print $1}'",
            parse_lines,
            DEPLOY,
        ),
        Part("groups", f"getent group {record.DOCKER_GROUP} | cut -d : -f 1", parse_lines, RECORD),
        Part("owned_paths", f"for path in {owned}; do [ ! -e $path ] || echo $path; done", parse_lines, RECORD),
        Part("own_addresses", own_addresses, parse_lines, DEPLOY),
        Part("hosts_file", f"cat {paths.HOSTS}", str, DEPLOY, may_be_missing=True),
        Part("resolvers", "awk '$1 == \"nameserver\" {print $2}' /etc/resolv.conf", parse_lines, DEPLOY),
    )


def _of_network() -> tuple[Part, ...]:
    evidence = " ".join(artifacts.EVIDENCE)
    ip_vs = "/proc/net/ip_vs"
    return (
        Part("network-links", "ip -j -d link show", parse_links, DEPLOY | PROOF, each=True),
        Part("network-addresses", "ip -4 -j addr show", parse_addresses, DEPLOY | PROOF, each=True),
        Part("network-routes", "ip -4 -j -d route show table all", parse_routes, DEPLOY | PROOF, each=True),
        Part("network-neighbours", "ip -4 -j neigh show", parse_neighbours, PROOF, each=True),
        Part("fdb", "bridge -j fdb show", parse_fdb, PROOF, each=True),
        Part("iptables", shell("iptables"), _rules, DEPLOY | RECORD | PROOF, each=True),
        Part("other_iptables", shell("other_iptables"), _rules, DEPLOY | PROOF, each=True),
        Part("nft_tables", "nft list tables", parse_nft_tables, RECORD | PROOF),
        Part("nft_rules", _NFT_RULES, foreign.parse_nft, DOCTOR),
        Part("ip_rules", "ip -4 -j rule", foreign.parse_ip_rules, DOCTOR),
        Part("shaped", "tc -j qdisc show; true", foreign.parse_shaped, DOCTOR),
        Part("not_forwarding", "grep -H . /proc/sys/net/ipv4/conf/*/forwarding", _not_forwarding, DOCTOR),
        Part("firewalld", _FIREWALLD, parse_words, RECORD | DOCTOR),
        Part("udp_ports", "ss -Hlun | awk '{print $4}'", parse_ports, DEPLOY),
        Part("tcp_ports", "ss -Hltn | awk '{print $4}'", parse_ports, DEPLOY),
        Part(
            "virtual_servers",
            f"[ ! -e {ip_vs} ] || awk '$1 ~ /^(TCP|UDP|SCTP)$/ {{print $2}}' {ip_vs}",
            parse_virtual_servers,
            DEPLOY,
        ),
        Part("cni_files", f"ls -1 {artifacts.CONFIGURATIONS}", parse_lines, DEPLOY | PROOF, may_be_missing=True),
        Part("plugins", f"ls -1 {FOLDER}", parse_lines, DEPLOY, may_be_missing=True),
        Part("network_files", f"ls -d {evidence}; true", parse_lines, DEPLOY),
        Part("subnet_env", f"cat {SUBNET_ENV}", parse_subnet_env, PROOF, may_be_missing=True),
        Part("policies", f"cat {POLICIES_FILE}", parse_policies, PROOF, may_be_missing=True),
    )


def _of_cluster(tool: Tool) -> tuple[Part, ...]:
    control_plane = " ".join(f"{name}={url}" for name, url in CONTROL_PLANE.items())
    return (
        Part("docker_config", f"cat {paths.DOCKER_CONFIG}", str, DEPLOY, may_be_missing=True),
        Part("docker_flags", shell("docker_flags"), parse_words, DEPLOY),
        Part(
            "containerd_config",
            f"[ -e {paths.RECORD} ] || cat {paths.CONTAINERD_CONFIG}",
            str,
            DEPLOY,
            may_be_missing=True,
        ),
        Part("runtime", f"systemctl is-active {tool.name}; true", lambda text: parse_line(text) or "active", DOCTOR),
        Part("runtime_driver", f"{tool.driver}; true", parse_line, DOCTOR),
        Part("containers", tool.script, lambda text, odd: parse_containers(text, tool, odd), PROOF, each=True),
        Part("paused", tool.paused, parse_paused, DOCTOR),
        Part("others_pods", _OTHERS_PODS, parse_truth, DEPLOY),
        Part("remembered", f"ls {paths.RECORD}; true", parse_truth, DEPLOY),
        Part("foreign", f"test -e {paths.RECORD} || ls -d {' '.join(paths.REMAINS)}; true", parse_lines, DEPLOY),
        Part("joined", f"ls {paths.KUBELET_CONF}; true", parse_truth, DOCTOR),
        Part("token_ids", _TOKENS, parse_lines, DOCTOR),
        Part("kubelet", shell("kubelet"), parse_kubelet, PROOF),
        Part("kubelet_version", f"[ ! -e {paths.KUBELET_CONF} ] || kubelet --version", _version, DEPLOY),
        Part("kubelet_words", _KUBELET_WORDS, _words_of_kubelet, DOCTOR),
        Part(
            "kubelet_driver",
            f"sed -n 's/^cgroupDriver: *//p' {paths.KUBELET_CONFIG}",
            parse_line,
            DOCTOR,
            may_be_missing=True,
        ),
        Part(
            "node_ip",
            f"sed -n 's/.*--node-ip=\\([^ \"]*\\).*/\\1/p' {paths.KUBELET_FLAGS}",
            lambda text: ipv4_of(parse_line(text)),
            DOCTOR,
            may_be_missing=True,
        ),
        Part(
            "cri_socket",
            f"[ ! -e {paths.KUBELET_CONF} ] || grep -hoE '{_ENDPOINT}' {_KUBELET_FILES}; true",
            lambda text: parse_line(text).rpartition("unix:")[2],
            DEPLOY,
        ),
        Part("manifests", f"ls -1 {paths.KUBERNETES}/manifests", _static_pods, DOCTOR, may_be_missing=True),
        Part(
            "control_plane",
            shell("control_plane", ADMIN_CONF=paths.ADMIN_CONF, PARTS=control_plane),
            parse_values,
            PROOF,
        ),
        Part("last_lines", f"{shell('last_lines')}\ntrue", parse_log_lines, DOCTOR),
    )


def _architecture(text: str) -> str:
    machine = parse_line(text)
    return ARCHITECTURES.get(machine, machine)


def _controllers(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def _mib(text: str) -> int:
    return parse_number(text) // 1024


def _rules(text: str, odd: list[str]) -> Ruleset:
    found = parse_iptables_save(text)
    odd.extend(found.odd)
    return found


def _not_forwarding(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"conf/([^/]+)/forwarding:0$", text, re.MULTILINE))


def _version(text: str) -> str:
    return parse_line(text).rpartition(" v")[2]


def _words_of_kubelet(text: str) -> str:
    """Without klog's time and place."""
    return re.sub(r"^[A-Z]\d{4} .*?\] ", "", parse_line(text))


def _static_pods(text: str) -> tuple[str, ...]:
    return tuple(name.removesuffix(".yaml") for name in parse_words(text))
