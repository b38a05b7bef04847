"""What can be known of a node: each part once, how it is asked for, who reads it, and who wants it. Pure."""

import re
from collections.abc import Callable
from typing import Any

from kubeproof.config.patience import patient
from kubeproof.config.tables import paths, runtimes
from kubeproof.config.tables.systems import ARCHITECTURES
from kubeproof.networks import artifacts
from kubeproof.networks.plugins import FOLDER
from kubeproof.networks.registry import NETWORKS
from kubeproof.node import record
from kubeproof.state import foreign, hostfiles, iproute, ipvs, nftables, plaintext
from kubeproof.state.collector import CTR, shell
from kubeproof.state.containers import DOCKER, Tool, parse_containers
from kubeproof.state.iptables import Ruleset, parse_iptables_save
from kubeproof.state.node import CONTROL_PLANE
from kubeproof.state.part import Asker, Part
from kubeproof.state.policies import POLICIES_FILE, parse_nft_tables, parse_policies

DEPLOY, RECORD, PROOF, DOCTOR, PAGE = Asker
NAME_SECONDS = 3
HEALTH_SECONDS = 5

_OS_RELEASE = "(file=/etc/os-release; [ -e $file ] || file=/usr/lib/os-release; . $file; echo {}); true"
"""In a shell of its own, which would end with a file that is not there, or is none for a shell."""
_CONTROLLERS = """if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/cgroup.controllers
else awk '$3 == "cgroup" {print $4}' /proc/mounts; fi"""
"""Of version 2 a line of words; of version 1 the options of each mount, such as "rw,relatime,cpu,cpuacct"."""
_PACKAGES = """{ dpkg-query --show --showformat '${db:Status-Status} ${Package}\\n'
rpm --query --all --queryformat 'installed %{NAME}\\n'; } | awk '$1 == "installed" {print $2}'"""
_SERVICES = "systemctl list-units --type service --state active --plain --no-legend | awk '{print $1}'"
_ENDPOINT = 'container-?[rR]untime-?[eE]ndpoint[=:] ?[^ ]*unix:[^" ]*'
_KUBELET_FILES = f"{paths.KUBELET_FLAGS} /var/lib/kubelet/instance-config.yaml"
"""Where kubeadm tells kubelet its runtime's socket: in the flags, and since 1.34 in a configuration of its own."""
_OTHERS_PODS = f"""[ -e {paths.RECORD} ] || [ ! -S {runtimes.CONTAINERD_SOCKET.removeprefix("unix://")} ] ||
{CTR} containers list --quiet"""
_FIREWALLD = """firewall-cmd --state; firewall-cmd --permanent --list-ports
firewall-cmd --permanent --zone=trusted --list-sources; true"""
_KUBELET_WORDS = """journalctl -u kubelet --no-pager -o cat -n 200 |
grep -E 'Failed to run kubelet|failed to run Kubelet' | tail -n 1"""
_TOKENS = f"""cat {paths.KUBERNETES}/bootstrap-kubelet.conf {paths.JOIN_CONFIG} |
sed -n 's/.*token: *"\\{{0,1\\}}\\([a-z0-9]\\{{6\\}}\\)\\.[a-z0-9]\\{{16\\}}.*/\\1/p'"""
"""Only what is no secret: the first half of a token names it."""
_OWN_TABLES = (*foreign.OWN_TABLES, *(f"{family} {name}" for name in artifacts.NFT_TABLES for family in ("ip", "inet")))
_NFT_RULES = shell("nft", LEFT_OUT=f"({'|'.join(_OWN_TABLES)})$|ip6 |inet {foreign.TRACE_TABLE}")
_PROXY_TABLE = f"nft -j list table ip {artifacts.PROXY_TABLE}"
_DIRECTORIES = sorted({*(path for name in runtimes.NAMES for path in runtimes.DIRECTORIES[name]), *paths.GROWING})


def parts(asker: Asker, tool: Tool = DOCKER) -> tuple[Part, ...]:
    """Those that somebody asks for, the runtime's by its tool."""
    return tuple(part for part in (*_of_machine(), *_of_network(), *_of_cluster(tool)) if part.askers & asker)


def _file(field: str, path: str, parse: Callable[[str], Any], askers: Asker) -> Part:
    return Part(field, f"cat {path}", parse, askers, may_be_missing=True)


def _of_machine() -> tuple[Part, ...]:
    own_addresses = f"timeout {patient(NAME_SECONDS)} getent ahostsv4 \"$(uname -n)\" | awk '{{print $1}}'"
    disks = shell("disks", DIRECTORIES=" ".join(_DIRECTORIES), DOCKER_CONFIG=paths.DOCKER_CONFIG)
    owned = " ".join((*record.OWNED_PATHS, *record.SHARED_DIRECTORIES))
    return (
        Part("identity", shell("identity"), hostfiles.parse_identity, DEPLOY | PROOF),
        Part("uid", "id -u", plaintext.number, DEPLOY),
        Part("system", _OS_RELEASE.format('"$ID $VERSION_ID"'), plaintext.line, DEPLOY),
        Part("system_title", _OS_RELEASE.format('"$PRETTY_NAME"'), plaintext.line, DEPLOY),
        Part("architecture", "uname -m", _architecture, DEPLOY),
        Part("kernel", "uname -r", plaintext.line, DEPLOY),
        Part("init", "cat /proc/1/comm", plaintext.line, DEPLOY),
        Part("memory_mib", "awk '$1 == \"MemTotal:\" {print $2}' /proc/meminfo", _mib, DEPLOY),
        Part("cores", "nproc", plaintext.number, DEPLOY),
        Part("disks", disks, hostfiles.parse_disks, DEPLOY),
        _file("swaps", "/proc/swaps", hostfiles.parse_swaps, DEPLOY | RECORD | PROOF),
        Part("clock", "date +%s.%N", hostfiles.parse_clock, PROOF),
        Part("cgroups", "stat --file-system --format %T /sys/fs/cgroup", plaintext.line, DEPLOY),
        Part("controllers", _CONTROLLERS, _controllers, DEPLOY),
        Part("sysctls", shell("sysctls", NAMES=" ".join(record.SYSCTLS)), hostfiles.parse_sysctls, RECORD | PROOF),
        Part("modules", "lsmod | awk '{print $1}'", plaintext.words, RECORD),
        Part("apparmor", f"{shell('apparmor')}\ntrue", plaintext.line, DEPLOY),
        Part("selinux", "getenforce", plaintext.line, RECORD),
        Part("packages", _PACKAGES, plaintext.lines, DEPLOY),
        Part("services", _SERVICES, plaintext.lines, DEPLOY),
        Part("groups", f"getent group {record.DOCKER_GROUP} | cut -d : -f 1", plaintext.lines, RECORD),
        Part("owned_paths", f"for path in {owned}; do [ ! -e $path ] || echo $path; done", plaintext.lines, RECORD),
        Part("own_addresses", own_addresses, plaintext.lines, DEPLOY),
        _file("hosts_file", paths.HOSTS, str, DEPLOY),
        Part("resolvers", "awk '$1 == \"nameserver\" {print $2}' /etc/resolv.conf", plaintext.lines, DEPLOY),
    )


def _of_network() -> tuple[Part, ...]:
    evidence = " ".join((*artifacts.EVIDENCE, *artifacts.OTHERS_EVIDENCE))
    return (
        Part("network-links", "ip -j -d link show", iproute.parse_links, DEPLOY | PROOF, each=True),
        Part("network-addresses", "ip -4 -j addr show", iproute.parse_addresses, DEPLOY | PROOF, each=True),
        Part("network-routes", "ip -4 -j -d route show table all", iproute.parse_routes, DEPLOY | PROOF, each=True),
        Part("network-neighbours", "ip -4 -j neigh show", iproute.parse_neighbours, PROOF, each=True),
        Part("fdb", "bridge -j fdb show", iproute.parse_fdb, PROOF, each=True),
        Part("iptables", shell("iptables"), _rules, DEPLOY | RECORD | PROOF, each=True),
        Part("other_iptables", shell("other_iptables"), _rules, DEPLOY | PROOF, each=True),
        Part("nft_tables", "nft list tables", parse_nft_tables, RECORD | PROOF),
        Part("nft_rules", _NFT_RULES, foreign.parse_nft, DOCTOR),
        Part("ip_rules", "ip -4 -j rule", foreign.parse_ip_rules, DOCTOR),
        Part("shaped", "tc -j qdisc show; true", foreign.parse_shaped, DOCTOR),
        Part("not_forwarding", "grep -H . /proc/sys/net/ipv4/conf/*/forwarding", _not_forwarding, DOCTOR),
        Part("firewalld", _FIREWALLD, plaintext.words, RECORD | DOCTOR),
        Part("udp_ports", "ss -Hlun | awk '{print $4}'", hostfiles.parse_ports, DEPLOY),
        Part("tcp_ports", "ss -Hltn | awk '{print $4}'", hostfiles.parse_ports, DEPLOY),
        _file("virtual_servers", "/proc/net/ip_vs", ipvs.parse_virtual_servers, DEPLOY | PROOF),
        Part("ipsets", "! command -v ipset >/dev/null || ipset save", ipvs.parse_ipsets, PROOF),
        Part("proxy_table", f"{_PROXY_TABLE} 2>/dev/null; true", nftables.parse_proxy_table, PROOF),
        Part("cni_files", f"ls -1 {artifacts.CONFIGURATIONS}", plaintext.lines, DEPLOY | PROOF, may_be_missing=True),
        Part("plugins", f"ls -1 {FOLDER}", plaintext.lines, DEPLOY, may_be_missing=True),
        Part("network_files", f"ls -d {evidence}; true", plaintext.lines, DEPLOY),
        _file("subnet_env", hostfiles.SUBNET_ENV, hostfiles.parse_subnet_env, PROOF),
        _file("policies", POLICIES_FILE, parse_policies, PROOF),
    )


def _of_cluster(tool: Tool) -> tuple[Part, ...]:
    ports = " ".join(f"{name}={url}" for name, url in CONTROL_PLANE.items())
    namespaces = dict.fromkeys(name for network in NETWORKS.values() for name in network.agent.namespaces)
    last_lines = shell("last_lines", NAMESPACES=" ".join(namespaces))
    certificates = shell("certificates", KUBERNETES=paths.KUBERNETES, KUBELET=paths.KUBELET_PKI)
    control_plane = shell(
        "control_plane", WITHIN=str(patient(HEALTH_SECONDS)), ADMIN_CONF=paths.ADMIN_CONF, PARTS=ports
    )
    return (
        _file("docker_config", paths.DOCKER_CONFIG, str, DEPLOY),
        Part("docker_flags", shell("docker_flags"), plaintext.words, DEPLOY),
        Part(
            "containerd_config",
            f"[ -e {paths.RECORD} ] || cat {paths.CONTAINERD_CONFIG}",
            str,
            DEPLOY,
            may_be_missing=True,
        ),
        Part(
            "runtime", f"systemctl is-active {tool.name}; true", lambda text: plaintext.line(text) or "active", DOCTOR
        ),
        Part("runtime_driver", f"{tool.driver}; true", plaintext.line, DOCTOR),
        Part("containers", tool.script, lambda text, odd: parse_containers(text, tool, odd), PROOF, each=True),
        Part("paused", tool.paused, hostfiles.parse_paused, PROOF),
        Part("others_pods", _OTHERS_PODS, plaintext.is_there, DEPLOY),
        Part("remembered", f"ls {paths.RECORD}; true", plaintext.is_there, DEPLOY),
        Part("foreign", f"test -e {paths.RECORD} || ls -d {' '.join(paths.REMAINS)}; true", plaintext.lines, DEPLOY),
        Part("joined", f"ls {paths.KUBELET_CONF}; true", plaintext.is_there, DOCTOR),
        Part("token_ids", _TOKENS, plaintext.lines, DOCTOR),
        Part("kubelet", shell("kubelet", WITHIN=str(patient(HEALTH_SECONDS))), hostfiles.parse_kubelet, PROOF),
        Part("kubelet_version", f"[ ! -e {paths.KUBELET_CONF} ] || kubelet --version", _version, DEPLOY),
        Part("kubelet_words", _KUBELET_WORDS, _words_of_kubelet, DOCTOR),
        Part(
            "kubelet_driver",
            f"sed -n 's/^cgroupDriver: *//p' {paths.KUBELET_CONFIG}",
            plaintext.line,
            DOCTOR,
            may_be_missing=True,
        ),
        Part(
            "node_ip",
            f"sed -n 's/.*--node-ip=\\([^ \"]*\\).*/\\1/p' {paths.KUBELET_FLAGS}",
            lambda text: hostfiles.ipv4_of(plaintext.line(text)),
            DOCTOR,
            may_be_missing=True,
        ),
        Part(
            "cri_socket",
            f"[ ! -e {paths.KUBELET_CONF} ] || grep -hoE '{_ENDPOINT}' {_KUBELET_FILES}; true",
            lambda text: plaintext.line(text).rpartition("unix:")[2],
            DEPLOY,
        ),
        Part("manifests", f"ls -1 {paths.KUBERNETES}/manifests", _static_pods, DOCTOR, may_be_missing=True),
        Part("control_plane", control_plane, hostfiles.parse_values, PROOF),
        Part("certificates", certificates, hostfiles.parse_certificates, PAGE),
        Part("last_lines", f"{last_lines}\ntrue", hostfiles.parse_log_lines, DOCTOR),
    )


def _architecture(text: str) -> str:
    machine = plaintext.line(text)
    return ARCHITECTURES.get(machine, machine)


def _controllers(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def _mib(text: str) -> int:
    return plaintext.number(text) // 1024


def _rules(text: str, odd: list[str]) -> Ruleset:
    found = parse_iptables_save(text)
    odd.extend(found.odd)
    return found


def _not_forwarding(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"conf/([^/]+)/forwarding:0$", text, re.MULTILINE))


def _version(text: str) -> str:
    return plaintext.line(text).rpartition(" v")[2]


def _words_of_kubelet(text: str) -> str:
    """Without klog's time and place."""
    return re.sub(r"^[A-Z]\d{4} .*?\] ", "", plaintext.line(text))


def _static_pods(text: str) -> tuple[str, ...]:
    return tuple(name.removesuffix(".yaml") for name in plaintext.words(text))
