"""What is run on a node to read its network state, and how the answers become a NodeState. Pure."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from kubeproof.networks.artifacts import CONFIGURATIONS
from kubeproof.node import paths
from kubeproof.proof.checks_host import SYSCTLS
from kubeproof.proof.checks_membership import CONTROL_PLANE
from kubeproof.proof.containers import DOCKER, Tool
from kubeproof.state.collector import NOT_FOUND, Output
from kubeproof.state.errors import ParseError
from kubeproof.state.hostfiles import (
    SUBNET_ENV,
    parse_clock,
    parse_identity,
    parse_kubelet,
    parse_subnet_env,
    parse_swaps,
    parse_sysctls,
    parse_values,
)
from kubeproof.state.iproute import parse_addresses, parse_fdb, parse_links, parse_neighbours, parse_routes
from kubeproof.state.iptables import Ruleset, parse_iptables_save
from kubeproof.state.jsontext import Item, read
from kubeproof.state.model import Namespace
from kubeproof.state.node import Container, NodeState
from kubeproof.state.policies import POLICIES_FILE, parse_nft_tables, parse_policies

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

_IPTABLES = """
version=$(iptables --version) && echo "# $version"
iptables-save
"""
"""Before 1.8.8 the save itself does not tell the variant."""

_OTHER_IPTABLES = """
if iptables --version | grep -q nf_tables; then
  names=$(tr '\\n' ' ' </proc/net/ip_tables_names 2>/dev/null)
  if [ -z "$names" ]; then :
  elif command -v iptables-legacy-save >/dev/null; then echo '# iptables v1.8 (legacy)'; iptables-legacy-save
  else echo "the kernel has legacy tables ($names), and no iptables-legacy-save is installed to read them" >&2; exit 127
  fi
elif command -v iptables-nft-save >/dev/null; then echo '# iptables v1.8 (nf_tables)'; iptables-nft-save; fi
"""
"""Legacy tables exist only where the kernel lists them; asking for them otherwise would create them."""

_SYSCTLS = f"""
for name in {" ".join(SYSCTLS)}; do
  file=/proc/sys/$(echo "$name" | tr . /)
  if [ -e "$file" ]; then value=$(cat "$file") || exit 1; echo "$name = $value"; fi
done
"""
"""sysctl(8) fails as a whole for a name that the kernel does not have, which is what is to be found out."""

_IDENTITY = """
echo "hostname=$(uname -n)"; echo "machine_id=$(cat /etc/machine-id)"
echo "product_uuid=$(cat /sys/class/dmi/id/product_uuid 2>/dev/null)"
echo "container=$(systemd-detect-virt --container 2>/dev/null | grep -v '^none$')"
"""

_KUBELET = """
command -v curl >/dev/null || { echo 'curl is not installed' >&2; exit 127; }
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
    "iptables": _IPTABLES,
    "other_iptables": _OTHER_IPTABLES,
    "subnet_env": f"cat {SUBNET_ENV}",
    "sysctls": _SYSCTLS,
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


_MAY_BE_MISSING = ("subnet_env", "policies", "cni_files", "swaps")
"""Parts that are files: that there is none is a fact, and their field is then empty."""
_NO_FILE = "No such file or directory"


def parse_state(node: str, outputs: Mapping[str, Output], tool: Tool = DOCKER) -> NodeState:
    """Put a node's state together from the outputs of :func:`commands`.

    What cannot be read at all becomes unreadable; what of a list cannot be read becomes odd.
    """
    unreadable: dict[str, str] = {}
    odd: dict[str, list[str]] = {}

    def part(name: str, parse: Callable[[str], T], empty: T, owner: str = "") -> T:
        output = outputs[name]
        if name in _MAY_BE_MISSING and output.code != 0 and output.last_words.endswith(_NO_FILE):
            return empty
        try:
            if output.code != 0 and not _tells_something(name, output):
                raise ParseError(name, f"exit code {output.code}", output.last_words)
            return parse(output.out)
        except ParseError as error:
            unreadable.setdefault(owner or name, str(error))
            return empty

    def each(
        name: str, parse: Callable[[str, list[str] | None], tuple[T, ...]], empty: tuple[T, ...] = (), owner: str = ""
    ) -> tuple[T, ...]:
        return part(name, lambda text: parse(text, odd.setdefault(owner or name, [])), empty, owner)

    def rules(name: str) -> Ruleset:
        if name == "other_iptables" and outputs[name].code == NOT_FOUND:
            return Ruleset(incompatible=(outputs[name].last_words,))
        found = part(name, parse_iptables_save, Ruleset())
        odd.setdefault(name, []).extend(found.odd)
        return found

    return NodeState(
        name=node,
        network=Namespace(
            links=each("links", parse_links, owner="network"),
            addresses=each("addresses", parse_addresses, owner="network"),
            routes=each("routes", parse_routes, owner="network"),
            neighbours=each("neighbours", parse_neighbours, owner="network"),
        ),
        fdb=each("fdb", parse_fdb),
        iptables=rules("iptables"),
        other_iptables=rules("other_iptables"),
        subnet_env=part("subnet_env", parse_subnet_env, None),
        sysctls=part("sysctls", parse_sysctls, {}),
        swaps=part("swaps", parse_swaps, ()),
        containers=each("containers", lambda text, found: parse_containers(text, tool, found)),
        policies=part("policies", parse_policies, None),
        nft_tables=part("nft_tables", parse_nft_tables, ()),
        cni_files=part("cni_files", lambda text: tuple(text.splitlines()), ()),
        identity=part("identity", parse_identity, None),
        clock=part("clock", parse_clock, None),
        kubelet=part("kubelet", parse_kubelet, None),
        control_plane=part("control_plane", parse_values, {}),
        unreadable=unreadable,
        odd={name: tuple(lines) for name, lines in odd.items() if lines},
    )


def _tells_something(name: str, output: Output) -> bool:
    """Whether settings were read, though not all: those that the kernel does not have are missing."""
    return name == "sysctls" and bool(output.out.strip()) and not output.timed_out


def parse_containers(text: str, tool: Tool = DOCKER, odd: list[str] | None = None) -> tuple[Container, ...]:
    """Containers from the lines of JSON that the tool's script prints; a line that cannot be read goes to ``odd``.

    Raises ParseError where there are only such lines, or for the first one without ``odd``.
    """
    found: list[Container] = []
    errors: list[ParseError] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            if line.strip():
                found.append(_container(Item(tool.name, f"line {number}", read(tool.name, line)), tool, odd))
        except ParseError as error:
            errors.append(error)
    if errors and (odd is None or not found):
        raise errors[0]
    if odd is not None:
        odd += map(str, errors)
    return tuple(found)


def _container(item: Item, tool: Tool, odd: list[str] | None) -> Container:
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
        network=_namespace(item, odd) if "network" in item else None,
    )


def _namespace(item: Item, odd: list[str] | None) -> Namespace:
    network = item.item("network")
    return Namespace(
        links=parse_links(network.json("links"), odd),
        addresses=parse_addresses(network.json("addresses"), odd),
        routes=parse_routes(network.json("routes"), odd),
        neighbours=parse_neighbours(network.json("neighbours"), odd),
    )
