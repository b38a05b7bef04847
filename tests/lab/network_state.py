"""The network of all nodes, with what is another one each time that a pod starts left out, for comparing."""

import re
from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from kubeproof.config.settings import Settings
from lab import nodes
from lab.settings import load
from tests.lab import snapshot

ADDRESS = re.compile(r"(?<![\d./])(\d+\.\d+\.\d+\.\d+)(?![\d.])(/\d+)?")
VETH = re.compile(r"\bveth[0-9a-f]{4,}\b")
OF_A_POD = re.compile(r"^veth[0-9a-f]{4,}\b|^cni0 fe80:")
"""Links of pods, and the address that follows from the smallest of their MACs, which the bridge has."""
ELEMENTS_OF_PODS = re.compile(r"nftables: (elements = \{ )?(POD( : accept| \. POD)?(, ?| \})?)+")
"""podnet lists the pods of the node in its sets, as many to a line as there is room for."""
ENDPOINT_CHAIN = re.compile(r"\bKUBE-SEP-[A-Z0-9]{16}\b")
"""kube-proxy names an endpoint's chain after a hash of its address."""
IDLE_CHAIN = re.compile(r"^chain \S+ \{\ntype \S+ hook [^\n]*; policy accept;\n\}\n", re.MULTILINE)
EMPTY_TABLE = re.compile(r"^table \S+ \S+ \{\n\}\n", re.MULTILINE)

State = dict[str, Counter[str]]


def read(settings: Settings) -> State:
    """Lines of every node's state, led by their section, and how often each is there."""
    return {node.name: of_node(node.name, settings) for node in load().nodes}


def of_node(name: str, settings: Settings) -> Counter[str]:
    sections = {**snapshot.take(name, snapshot.NETWORK), "subnet.env": _subnet_env(name)}
    sections["nftables"] = without_idle_chains(sections["nftables"])
    state = (
        f"{section}: {masked(line, settings.pod_cidr, settings.pod_subnet_bits)}"
        for section, lines in sections.items()
        for line in lines
        if not (section in ("links", "addresses") and OF_A_POD.search(line))
    )
    return Counter(line for line in state if not ELEMENTS_OF_PODS.fullmatch(line))


def _subnet_env(name: str) -> list[str]:
    file = Path(f"/proc/{nodes.init_pid(name)}/root/run/flannel/subnet.env")
    return file.read_text().splitlines() if file.exists() else []


def without_idle_chains(lines: list[str]) -> list[str]:
    """A ruleset without base chains that accept all and hold no rule, and without tables that hold nothing else. Pure.

    iptables makes them when it only lists a table, and a reboot takes them away: neither changes what a packet meets.
    """
    text = IDLE_CHAIN.sub("", "\n".join(lines) + "\n")
    return EMPTY_TABLE.sub("", text).splitlines()


def difference(before: State, after: State) -> list[str]:
    """One line for what each node has more or less of than before."""
    lines = []
    for name, old in before.items():
        new = after[name]
        lines += [f"{name} gone: {line}" for line in (old - new).elements()]
        lines += [f"{name} new: {line}" for line in (new - old).elements()]
    return lines


def masked(line: str, pod_cidr: IPv4Network, subnet_bits: int) -> str:
    """The line without names and addresses that a pod has for its lifetime only. Pure."""

    def address(found: re.Match[str]) -> str:
        is_pod = _is_pod(IPv4Address(found[1]), pod_cidr, subnet_bits) and found[2] in (None, "/32")
        return "POD" if is_pod else found[0]

    return ENDPOINT_CHAIN.sub("KUBE-SEP-*", VETH.sub("veth*", ADDRESS.sub(address, line)))


def _is_pod(address: IPv4Address, pod_cidr: IPv4Network, subnet_bits: int) -> bool:
    """Not so the first two addresses of a node's subnet, which flannel.1 and cni0 have."""
    subnet = IPv4Network((address, subnet_bits), strict=False)
    return address in pod_cidr and int(address) - int(subnet.network_address) > 1
