"""What is run on a node to read its network state, and how the answers become a NodeState. Pure."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from kubeproof.cni.traces import CONFIGURATIONS
from kubeproof.network.errors import ParseError
from kubeproof.network.hostfiles import (
    SUBNET_ENV,
    parse_clock,
    parse_identity,
    parse_kubelet,
    parse_subnet_env,
    parse_swaps,
    parse_sysctls,
    parse_values,
)
from kubeproof.network.iproute import parse_addresses, parse_fdb, parse_links, parse_neighbours, parse_routes
from kubeproof.network.iptables import Ruleset, parse_iptables_save
from kubeproof.network.jsontext import Item, read
from kubeproof.network.model import Namespace
from kubeproof.network.node import Container, NodeState
from kubeproof.network.policies import POLICIES_FILE, parse_nft_tables, parse_policies
from kubeproof.node import paths
from kubeproof.proof.checks_host import SYSCTLS
from kubeproof.proof.checks_membership import CONTROL_PLANE
from kubeproof.proof.containers import DOCKER, Tool
from kubeproof.proof.script import Output

T = TypeVar("T")

_NAMESPACE = {
    "links": "ip -j -d link show",
    "addresses": "ip -4 -j addr show",
    "routes": "ip -4 -j -d route show table all",
    "neighbours": "ip -4 -j neigh show",
}

_ENTER = (
    'json() { out=$(nsenter -t "$pid" -n "$@") || exit 1; printf "%s" "${out:-[]}"; }; '
    + 'printf ",\\"network\\":{"; sep=; '
    + "".join(f'printf \'%s"{part}":\' "$sep"; json {command}; sep=,; ' for part, command in _NAMESPACE.items())
    + 'printf "}"'
)

_OTHER_IPTABLES = """
if iptables --version | grep -q nf_tables; then
  if grep -q . /proc/net/ip_tables_names 2>/dev/null; then iptables-legacy-save; fi
elif command -v iptables-nft-save >/dev/null; then iptables-nft-save; fi
"""
"""Legacy tables exist only where the kernel lists them; asking for them otherwise would create them."""

_IDENTITY = """
echo "hostname=$(hostname)"; echo "machine_id=$(cat /etc/machine-id)"
echo "product_uuid=$(cat /sys/class/dmi/id/product_uuid 2>/dev/null)"
echo "container=$(systemd-detect-virt --container 2>/dev/null | grep -v '^none$')"
"""

_KUBELET = """
echo "state=$(systemctl is-active kubelet)"
echo "health=$(curl --silent --noproxy '*' --max-time 5 http://127.0.0.1:10248/healthz | head -n 1)"
"""
"""kubelet's health port is open on the node itself only (kubelet, healthzPort)."""

_CONTROL_PLANE = f"""
test -e {paths.ADMIN_CONF} || exit 0
get() {{ curl --silent --show-error --insecure --noproxy '*' --max-time $2 "$1" 2>&1 | sed 's/^curl: //' | head -n 1; }}
ask() {{ said=$(get "$2" 5); case "$said" in ok*|*true*) ;; *) said=$(get "$2" 2); esac
  printf '%s=%s\\n' "$1" "$said"; }}
{" ".join(f"ask {name} {url} &" for name, url in CONTROL_PLANE.items())} wait
"""
"""Each answers its own host without being told who asks; a slow disk alone makes etcd late once. Workers have no
admin.conf."""

_COMMANDS: dict[str, str] = {
    **_NAMESPACE,
    "fdb": "bridge -j fdb show",
    "iptables": "iptables-save",
    "other_iptables": _OTHER_IPTABLES,
    "subnet_env": f"cat {SUBNET_ENV}",
    "sysctls": f"sysctl {' '.join(SYSCTLS)}",
    "swaps": "cat /proc/swaps",
    "policies": f"cat {POLICIES_FILE}",
    "nft_tables": "nft list tables",
    "cni_files": f"ls -1 {CONFIGURATIONS}",
    "identity": _IDENTITY,
    "clock": "date +%s.%N",
    "kubelet": _KUBELET,
    "control_plane": _CONTROL_PLANE,
}
"""Name of a part -> shell text, all of them reading only."""


def commands(tool: Tool) -> dict[str, str]:
    """All parts of a node's state, its containers by the runtime's tool."""
    return {**_COMMANDS, "containers": tool.script.replace("@ENTER@", _ENTER)}


def parse_state(node: str, outputs: Mapping[str, Output], tool: Tool = DOCKER) -> NodeState:
    """Put a node's state together from the outputs of :func:`commands`. What cannot be parsed becomes unreadable."""
    unreadable: dict[str, str] = {}

    def part(name: str, parse: Callable[[str], T], empty: T, owner: str = "") -> T:
        output = outputs[name]
        try:
            if output.code != 0:
                raise ParseError(name, f"exit code {output.code}", output.last_words)
            return parse(output.out)
        except ParseError as error:
            unreadable.setdefault(owner or name, str(error))
            return empty

    return NodeState(
        name=node,
        network=Namespace(
            links=part("links", parse_links, (), "network"),
            addresses=part("addresses", parse_addresses, (), "network"),
            routes=part("routes", parse_routes, (), "network"),
            neighbours=part("neighbours", parse_neighbours, (), "network"),
        ),
        fdb=part("fdb", parse_fdb, ()),
        iptables=part("iptables", parse_iptables_save, Ruleset()),
        other_iptables=part("other_iptables", parse_iptables_save, Ruleset(), "iptables"),
        subnet_env=part("subnet_env", parse_subnet_env, None),
        sysctls=part("sysctls", parse_sysctls, {}),
        swaps=part("swaps", parse_swaps, ()),
        containers=part("containers", lambda text: parse_containers(text, tool), ()),
        policies=part("policies", parse_policies, None),
        nft_tables=part("nft_tables", parse_nft_tables, ()),
        cni_files=part("cni_files", lambda text: tuple(text.split()), ()),
        identity=part("identity", parse_identity, None),
        clock=part("clock", parse_clock, None),
        kubelet=part("kubelet", parse_kubelet, None),
        control_plane=part("control_plane", parse_values, {}),
        unreadable=unreadable,
    )


def parse_containers(text: str, tool: Tool = DOCKER) -> tuple[Container, ...]:
    """Containers from the lines of JSON that the tool's script prints. Raises ParseError."""
    return tuple(
        _container(Item(tool.name, f"line {number}", read(tool.name, line)), tool)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    )


def _container(item: Item, tool: Tool) -> Container:
    about = tool.read(item.item("about"))
    return Container(
        id=about.id,
        pod_namespace=about.labels["namespace"],
        pod_name=about.labels["pod"],
        pod_uid=about.labels["uid"],
        name=about.labels["name"],
        is_sandbox=about.is_sandbox,
        network_mode=about.network_mode,
        pid=about.pid,
        netns=item.text("netns"),
        network=_namespace(item) if "network" in item else None,
    )


def _namespace(item: Item) -> Namespace:
    network = item.item("network")
    return Namespace(
        links=parse_links(network.json("links")),
        addresses=parse_addresses(network.json("addresses")),
        routes=parse_routes(network.json("routes")),
        neighbours=parse_neighbours(network.json("neighbours")),
    )
