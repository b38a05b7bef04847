"""What the doctor asks beside the proof, in the same round trip, and how the answers become evidence. Pure."""

import base64
import json
import re
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from kubeproof.config.cluster import Cluster, LoadedInventory, Node
from kubeproof.config.tables.runtimes import CTR
from kubeproof.doctor import foreign, paths_between
from kubeproof.doctor.causes_host import KUBELET_CONFIG, KUBELET_FLAGS
from kubeproof.doctor.evidence import ControlPlane, Host, Paused, Token
from kubeproof.doctor.paths_between import Journey
from kubeproof.networks import artifacts
from kubeproof.networks.network import Network
from kubeproof.networks.registry import NETWORKS
from kubeproof.node import paths
from kubeproof.proof.script import Output
from kubeproof.state.hostfiles import parse_values

T = TypeVar("T")
SSH_PORT = 22
KUBECTL = f"kubectl --kubeconfig {paths.ADMIN_CONF} --request-timeout=8s"
_DEFAULT_RUNTIMES = r"""
{ gsub(/["\047\r]/, ""); line = $0; gsub(/[ \t]/, "", line); sub(/#.*/, "", line) }
line ~ /^\[/ { table = line; gsub(/[][]/, "", table); next }
line ~ /^default_runtime_name=/ && table ~ /containerd$/ { sub(/.*=/, "", line); used = line; next }
table !~ /[.]containerd[.]runtimes[.]/ { next }
{ name = table; sub(/.*[.]containerd[.]runtimes[.]/, "", name) }
line ~ /^runtime_type=/ && name !~ /[.]/ { type[name] = line }
line ~ /^SystemdCgroup=/ && sub(/[.]options$/, "", name) { driver[name] = line ~ /true/ ? "systemd" : "cgroupfs" }
END {
    if (used == "") used = "runc"
    # runc does not use systemd unless it is told to; of other programs nobody knows.
    print ((used in driver) ? driver[used] : (type[used] ~ /runc[.]v[12]$/ ? "cgroupfs" : ""))
}"""
"""Pods without a RuntimeClass get the default runtime, of the several that containerd may know. Its tables have
different names in versions 1 to 3 of its configuration; its two ways to quote are left out, and so is what is blank."""
_DRIVERS = {
    "docker": "docker info --format '{{.CgroupDriver}}'",
    "containerd": f"containerd config dump | awk {shlex.quote(_DEFAULT_RUNTIMES)}",
}
"""How each runtime tells its driver; dockershim and cri-dockerd take Docker's."""
_TOKENS = (
    "-n kube-system get secrets --field-selector type=bootstrap.kubernetes.io/token -o jsonpath="
    """'{range .items[*]}{.data.token-id} {.data.expiration}{"\\n"}{end}'"""
)
"""Only what is no secret: the first half of a token names it."""
_JOINING = f"""
test -e {paths.KUBELET_CONF} && echo joined
sed -n 's/.*--node-ip=\\([^ "]*\\).*/node-ip \\1/p' {KUBELET_FLAGS} 2>/dev/null
cat {paths.KUBERNETES}/bootstrap-kubelet.conf {paths.JOIN_CONFIG} 2>/dev/null |
  sed -n 's/.*token: *"\\{{0,1\\}}\\([a-z0-9]\\{{6\\}}\\)\\.[a-z0-9]\\{{16\\}}.*/token \\1/p'; true
"""


_OTHERS_TABLES = """
nft list tables 2>/dev/null | while read -r _ family name; do
  case "$family $name" in @OWN@|"ip6 "*) continue;; esac
  nft -j list table "$family" "$name"; done
"""
_OWN_TABLES = (*foreign.OWN_TABLES, *(f"inet {name}" for name in artifacts.NFT_TABLES))
_FILTERS = _OTHERS_TABLES.replace("@OWN@", "|".join(f'"{table}"' for table in _OWN_TABLES))
_PAUSED = {
    "docker": 'docker ps --filter status=paused --format \'{{.ID}} {{.Label "io.kubernetes.container.name"}} '
    '{{.Label "io.kubernetes.pod.namespace"}}/{{.Label "io.kubernetes.pod.name"}}\'',
    "containerd": f'{CTR} tasks list | awk \'$3 == "PAUSED" {{ print $1, "container", "of-containerd" }}\'',
}
"""Id, name and pod of each container that is held still; containerd does not name the last two in one line."""
_NAMESPACES = dict.fromkeys(name for network in NETWORKS.values() for name in network.agent.namespaces)
_LAST_LINES = f"""
for folder in {" ".join(f"/var/log/pods/{name}_*/*/" for name in _NAMESPACES)}; do
  newest=$(ls -t "$folder" 2>/dev/null | head -n 1); [ "$newest" ] || continue
  line=$(tail -n 1 "$folder$newest" | cut -c 1-600); name=${{folder%/}}
  printf '%s=%s\\n' "${{name##*/}}" "$line"
done
"""
_FORWARDING = "grep -H . /proc/sys/net/ipv4/conf/*/forwarding"
_EVENTS = (
    "get events -A --field-selector type=Warning --sort-by=.lastTimestamp -o jsonpath="
    """'{range .items[*]}{.involvedObject.namespace}/{.involvedObject.name}={.reason}: {.message}{"\\n"}{end}'"""
)
_WORKLOADS = (
    "get deployments,daemonsets -A -o jsonpath='{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}="
    """{.spec.replicas}{.status.desiredNumberScheduled}{"\\n"}{end}'"""
)


def questions(loaded: LoadedInventory, *, nonce: str) -> dict[str, dict[str, str]]:
    """Node -> name -> shell text."""
    cluster = loaded.cluster
    asked = {node.name: _of_node(loaded, node, nonce) for node in cluster.nodes}
    asked[cluster.leader.name] |= _of_leader(cluster)
    return asked


def _of_node(loaded: LoadedInventory, node: Node, nonce: str) -> dict[str, str]:
    settings = loaded.cluster.settings
    others = [other for other in loaded.cluster.nodes if other.name != node.name]
    return {
        "kubelet_words": "journalctl -u kubelet --no-pager -o cat -n 200 | "
        "grep -E 'Failed to run kubelet|failed to run Kubelet' | tail -n 1",
        "cgroups": f"echo \"kubelet $(sed -n 's/^cgroupDriver: *//p' {KUBELET_CONFIG} 2>/dev/null)\"; "
        f'echo "runtime $({_DRIVERS[settings.container_runtime]} 2>/dev/null)"',
        "joining": _JOINING,
        "runtime": f"systemctl is-active {settings.container_runtime}; true",
        "paused": _PAUSED[settings.container_runtime],
        "last_lines": _LAST_LINES,
        "manifests": f"ls {paths.KUBERNETES}/manifests 2>/dev/null; true",
        "filters": _FILTERS,
        "ip_rules": "ip -4 -j rule",
        "shaped": "tc -j qdisc show 2>/dev/null; true",
        "forwarding": _FORWARDING,
        "firewalld": "firewall-cmd --state 2>/dev/null; true",
        "packets": paths_between.command(
            others={other.address: loaded.ssh[other.name].port or SSH_PORT for other in others},
            device=settings.vxlan_device,
            port=settings.vxlan_port,
            nonce=nonce,
        ),
    }


def _of_leader(cluster: Cluster) -> dict[str, str]:
    manifest = f"{paths.KUBERNETES}/manifests/kube-controller-manager.yaml"
    return {
        "tokens": f"{KUBECTL} {_TOKENS}",
        "controller": f"grep -oE -e '--(cluster-cidr|allocate-node-cidrs)=[^ ]*' {manifest}",
        "network": f"{KUBECTL} {cluster.settings.network.agent.pod_cidr_query}",
        "events": f"{KUBECTL} {_EVENTS}",
        "workloads": f"{KUBECTL} {_WORKLOADS}",
    }


class _Reader:
    """Takes the answers of one node part by part, and keeps why a part could not be read."""

    def __init__(self, answers: Mapping[str, Output]) -> None:
        self.answers = answers
        self.unreadable: dict[str, str] = {}

    def text(self, name: str, *, codes: tuple[int, ...] = (0,)) -> str:
        output = self.answers.get(name)
        if output is None or output.code not in codes:
            reason = "was not asked" if output is None else f"exit code {output.code}: {output.last_words}"
            self.unreadable[name] = "it took too long" if output is not None and output.timed_out else reason
            return ""
        return output.out

    def part(self, name: str, parse: Callable[[str], T], empty: T) -> T:
        text = self.text(name)
        try:
            return parse(text)
        except (ValueError, OverflowError) as error:
            self.unreadable.setdefault(name, str(error))
            return empty


def host_of(answers: Mapping[str, Output], *, nonce: str) -> Host:
    """A node's part of the evidence. Never raises: what cannot be read is in ``unreadable``."""
    reader = _Reader(answers)
    drivers = dict(line.partition(" ")[::2] for line in reader.text("cgroups").splitlines())
    joining = reader.text("joining")
    words = reader.text("kubelet_words", codes=(0, 1))
    return Host(
        kubelet_words=re.sub(r"^[A-Z]\d{4} .*?\] ", "", words.strip()),
        kubelet_driver=drivers.get("kubelet", "").strip(),
        runtime_driver=drivers.get("runtime", "").strip(),
        node_ip=_ipv4(_found(r"^node-ip (\S+)$", joining)),
        joined="joined" in joining.split() or "joining" in reader.unreadable,
        token_ids=tuple(dict.fromkeys(re.findall(r"^token (\S+)$", joining, re.MULTILINE))),
        firewalld=reader.text("firewalld").strip() == "running",
        runtime=reader.text("runtime").strip() or "active",
        paused=tuple(Paused(*parts) for line in reader.text("paused").splitlines() if len(parts := line.split()) == 3),
        manifests=tuple(name.removesuffix(".yaml") for name in reader.text("manifests").split()),
        last_lines={name: said(line) for name, line in parse_values(reader.text("last_lines")).items()},
        nft_rules=reader.part("filters", foreign.parse_nft, ()),
        ip_rules=reader.part("ip_rules", foreign.parse_ip_rules, ()),
        shaped=reader.part("shaped", foreign.parse_shaped, ()),
        not_forwarding=tuple(re.findall(r"conf/([^/]+)/forwarding:0$", reader.text("forwarding"), re.MULTILINE)),
        journey=reader.part("packets", lambda text: paths_between.parse(text, nonce=nonce), Journey()),
        unreadable=reader.unreadable,
    )


def control_plane_of(answers: Mapping[str, Output], network: Network) -> ControlPlane:
    """The control plane host's part of the evidence."""
    reader = _Reader(answers)
    # grep ends with 1 where there is no such flag, which is what is asked.
    said = reader.text("controller", codes=(0, 1))
    flags = (flag.removeprefix("--").partition("=")[::2] for flag in said.split())
    told = reader.text("network")
    return ControlPlane(
        tokens=reader.part("tokens", _tokens, ()),
        controller_flags={name: _ipv4(value) for name, value in flags},
        network_cidrs=tuple(dict.fromkeys(re.findall(network.agent.pod_cidr_pattern, told, re.MULTILINE))),
        network_policy=_found(r"^NETWORK_POLICY=(\S+)$", told),
        events=parse_values(reader.text("events")),
        workloads={
            name: int(count) for name, count in parse_values(reader.text("workloads")).items() if count.isdecimal()
        },
        unreadable=reader.unreadable,
    )


def said(line: str) -> str:
    """A line of a container's log, without what Docker (json-file) or a CRI runtime puts around it."""
    try:
        return str(json.loads(line)["log"]).strip()
    except (ValueError, KeyError, TypeError):
        return re.sub(r"^\S+ std(?:out|err) [FP] ", "", line).strip()


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


def _ipv4(text: str) -> str:
    """Of a list with a value for each family IPv4's."""
    return next((part for part in text.split(",") if ":" not in part), text)


def _tokens(text: str) -> tuple[Token, ...]:
    """Lines of id and expiration, each in base64 as a Secret holds it."""
    found = []
    for line in text.splitlines():
        name, _, expires = line.strip().partition(" ")
        if name:
            moment = base64.b64decode(expires, validate=True).decode()
            found.append(Token(base64.b64decode(name, validate=True).decode(), _moment(moment) if moment else None))
    return tuple(found)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
