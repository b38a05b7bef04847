"""What a prediction is made from: asked of all nodes in one round trip, kept in a folder, and read from it again.

A folder has ``cluster.json`` (nodes and networks), ``objects.json`` (of the API, without anything that may be secret)
and for each node a folder with what each command printed, in files that people can read; ``outside`` is this machine.
"""

import json
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from kubeproof.config.cluster import LoadedInventory
from kubeproof.proof.hosts import COMMAND_SECONDS, UnreachableError, run_everywhere
from kubeproof.rules.api import ASK, KINDS
from kubeproof.state.collector import Output, shell
from kubeproof.state.foreign import TRACE_TABLE
from kubeproof.terminal.errors import UserError

VERSION = 1
CLUSTER_FILE, OBJECTS_FILE, NODES, OUTSIDE = "cluster.json", "objects.json", "nodes", "outside"
FAILED = ".failed"
"""Ending of the file that says why a command printed no answer."""
API = "api"
KERNEL = " ".join(
    f"/proc/sys/net/{name}"
    for name in (
        *("ipv4/ip_forward", "ipv4/icmp_echo_ignore_all", "bridge/bridge-nf-call-iptables"),
        *(f"ipv4/conf/*/{name}" for name in ("rp_filter", "forwarding", "accept_local", "proxy_arp")),
    )
)
_NFT = shell("nft", LEFT_OUT=f"inet {TRACE_TABLE}")
COMMANDS: Mapping[str, str] = {
    "links": "ip -j -d link show",
    "addresses": "ip -4 -j addr show",
    "routes": "ip -4 -j -d route show table all",
    "neighbours": "ip -4 -j neigh show",
    "rules": "ip -4 -j rule",
    "fdb": "bridge -j fdb show",
    "iptables": shell("iptables"),
    "other_iptables": shell("other_iptables"),
    "nft": _NFT,
    "kernel": f"grep -H . {KERNEL} 2>/dev/null; true",
    "sockets": "ss -Hlntu --sctp 2>/dev/null || ss -Hlntu",
    "ipsets": "! command -v ipset >/dev/null || ipset save",
    "ipvs": "cat /proc/net/ip_vs 2>/dev/null; true",
    "namespaces": shell("namespaces", KERNEL=KERNEL, NFT=_NFT),
}
"""What is asked of each node, by name. All of them only read, and none of them prints a secret."""
OUTSIDE_COMMANDS: Mapping[str, list[str]] = {
    name: COMMANDS[name].split() for name in ("links", "addresses", "routes", "neighbours", "rules")
}
_KEPT: Mapping[str, tuple[str, ...]] = {
    "metadata": ("name", "namespace", "uid", "labels", "deletionTimestamp"),
    "spec": (
        *("nodeName", "hostNetwork", "podCIDR", "podCIDRs", "clusterIP", "clusterIPs", "externalIPs", "externalName"),
        *("externalTrafficPolicy", "internalTrafficPolicy", "sessionAffinity", "loadBalancerIP", "selector", "type"),
        *("ports", "podSelector", "policyTypes", "ingress", "egress", "loadBalancerSourceRanges"),
    ),
    "status": ("phase", "podIP", "podIPs", "addresses", "loadBalancer"),
}
"""Fields of objects that a prediction needs; environment variables, annotations and the like may be secret."""


@dataclass(frozen=True)
class Member:
    """A node; ``address`` is the one that the other nodes reach it at."""

    name: str
    address: IPv4Address


@dataclass(frozen=True)
class Facts:
    """What the inventory says of a cluster. ``outside`` is the address by which this machine reaches its nodes."""

    nodes: tuple[Member, ...]
    pod_cidr: IPv4Network
    service_cidr: IPv4Network
    network: str = ""
    """Name of the pod network."""
    outside: IPv4Address | None = None
    taken_at: str = ""


@dataclass(frozen=True)
class Collected:
    """What the commands printed, by node and command. ``objects`` is a text where the API could not be read."""

    facts: Facts
    outputs: Mapping[str, Mapping[str, Output]]
    unreachable: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, Any] | str = ""
    outside: Mapping[str, str] = field(default_factory=dict)
    """Routes and addresses of this machine, which is outside of the cluster: what OUTSIDE_COMMANDS printed."""


# Live -----------------------------------------------------------------------------------------------------------------


def collect(loaded: LoadedInventory) -> Collected:
    """Read all nodes of an inventory, and the API along with the control plane node's. Never raises."""
    cluster = loaded.cluster
    asked = {node.name: dict(COMMANDS) for node in cluster.nodes}
    resources = ",".join((KINDS, *cluster.settings.network.policy_resources))
    asked[cluster.leader.name][API] = f"{ASK} get {resources} -A -o json"
    outputs: dict[str, dict[str, Output]] = {}
    unreachable: dict[str, str] = {}
    for name, answer in run_everywhere(asked, loaded.ssh).items():
        if isinstance(answer, UnreachableError):
            unreachable[name] = f"{answer}; {answer.advice}" if answer.advice else str(answer)
        else:
            outputs[name] = answer
    told = outputs.get(cluster.leader.name, {}).pop(API, None)
    facts = Facts(
        tuple(Member(node.name, node.address) for node in cluster.nodes),
        cluster.settings.pod_cidr,
        cluster.settings.service_cidr,
        cluster.settings.cni,
        _own_address(cluster.leader.address),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Collected(facts, outputs, unreachable, objects_of(told), _outside())


def _outside() -> dict[str, str]:
    """What this machine's commands print; nothing where one of them fails."""
    found: dict[str, str] = {}
    for name, words in OUTSIDE_COMMANDS.items():
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            return {}
        found[name] = done.stdout
    return found


def _own_address(towards: IPv4Address) -> IPv4Address | None:
    """The address of this machine by which it would send to a node; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(towards), 9))
        except OSError:
            return None
        return IPv4Address(probe.getsockname()[0])


def objects_of(told: Output | None) -> Mapping[str, Any] | str:
    if told is None:
        return "the control plane node cannot be reached"
    if told.code:
        return f"kubectl: exit code {told.code}: {told.last_words}"
    try:
        items = json.loads(told.out)["items"]
        return {"apiVersion": "v1", "kind": "List", "items": [_without_secrets(item) for item in items]}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return f"kubectl: the answer cannot be read ({error})"


def _without_secrets(item: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: item[key] for key in ("apiVersion", "kind", "subsets") if key in item}
    for part, names in _KEPT.items():
        kept[part] = {name: value for name, value in (item.get(part) or {}).items() if name in names}
    containers = item.get("spec", {}).get("containers")
    if containers:
        kept["spec"]["containers"] = [
            {key: each[key] for key in ("name", "ports") if key in each} for each in containers
        ]
    return kept


# A folder -------------------------------------------------------------------------------------------------------------


def write(collected: Collected, folder: Path) -> int:
    """Write a folder, in the place of one that was written before; return the number of files. Raises UserError."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not _is_state(folder)):
        raise UserError(f"{folder}: is there and no collected state, name a new or an empty folder")
    files = dict(_files(collected))
    try:
        for part in (NODES, OUTSIDE):
            shutil.rmtree(folder / part, ignore_errors=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}), choose another place") from error
    return len(files)


def _is_state(folder: Path) -> bool:
    try:
        cluster = json.loads((folder / CLUSTER_FILE).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(cluster, dict) and cluster.keys() >= {"version", "pod_cidr", "nodes"}


def _files(collected: Collected) -> list[tuple[str, str]]:
    facts = collected.facts
    cluster = {
        "version": VERSION,
        "taken_at": facts.taken_at,
        "pod_cidr": str(facts.pod_cidr),
        "service_cidr": str(facts.service_cidr),
        "network": facts.network,
        "outside": str(facts.outside) if facts.outside else None,
        "nodes": [{"name": node.name, "address": str(node.address)} for node in facts.nodes],
        "unreachable": dict(collected.unreachable),
        "api": collected.objects if isinstance(collected.objects, str) else "",
    }
    objects = {} if isinstance(collected.objects, str) else collected.objects
    found = [(CLUSTER_FILE, _json(cluster)), (OBJECTS_FILE, _json(objects))]
    found += [(f"{OUTSIDE}/{name}", text) for name, text in collected.outside.items()]
    for node, outputs in collected.outputs.items():
        for name, output in outputs.items():
            found.append((f"{NODES}/{node}/{name}", output.out))
            if output.code:
                found.append((f"{NODES}/{node}/{name}{FAILED}", f"{output.code}\n{output.err}"))
    return found


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def read(folder: Path) -> Collected:
    """Read a folder that :func:`write` wrote. Raises UserError."""
    if not (folder / CLUSTER_FILE).is_file():
        raise UserError(f"-f {folder}: has no {CLUSTER_FILE}, name a folder that ./inv collect wrote")
    try:
        cluster = json.loads((folder / CLUSTER_FILE).read_text())
        if cluster["version"] != VERSION:
            raise UserError(f"-f {folder}: has version {cluster['version']}, collect it anew")
        facts = Facts(
            tuple(Member(node["name"], IPv4Address(node["address"])) for node in cluster["nodes"]),
            IPv4Network(cluster["pod_cidr"]),
            IPv4Network(cluster["service_cidr"]),
            cluster["network"],
            IPv4Address(cluster["outside"]) if cluster["outside"] else None,
            cluster["taken_at"],
        )
        outputs = {node.name: _outputs(folder / NODES / node.name) for node in facts.nodes}
        own = [name for name in OUTSIDE_COMMANDS if (folder / OUTSIDE / name).is_file()]
        outside = {name: (folder / OUTSIDE / name).read_text() for name in own}
        unreachable = dict(cluster["unreachable"])
        objects = cluster["api"] or json.loads((folder / OBJECTS_FILE).read_text())
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"-f {folder}: cannot be read ({error}), collect it anew") from error
    present = {name: found for name, found in outputs.items() if found}
    return Collected(facts, present, unreachable, objects, outside)


def _outputs(folder: Path) -> dict[str, Output]:
    found: dict[str, Output] = {}
    for name in COMMANDS:
        file, failed = folder / name, folder / f"{name}{FAILED}"
        if file.is_file():
            code, _, said = failed.read_text().partition("\n") if failed.is_file() else ("0", "", "")
            found[name] = Output(int(code), file.read_text(errors="backslashreplace"), said)
    return found
