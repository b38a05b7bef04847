"""Rows of the proof that no cause explains: each is told as what it is, with what mends it where that is known. Pure.

Whatever is missing of what the pod network's agent sets, the agent sets when it starts; what is too much, it leaves.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from kubeproof.doctor.causes_foreign import deletion, route_deletion
from kubeproof.doctor.causes_running import KUBECTL, NODES_ROWS, agent_restart, kill_containers
from kubeproof.doctor.diagnosis import Case, Cause, Diagnosis, Follows, Mend
from kubeproof.doctor.evidence import Evidence
from kubeproof.proof.checks_paths import pod_routes
from kubeproof.proof.checks_services import SERVICES
from kubeproof.proof.context import BRIDGE, DOCKER_BRIDGE, POD_DEVICE, Context, UndecidedError
from kubeproof.proof.report import TITLES_BY_NAME
from kubeproof.proof.result import CheckResult
from kubeproof.state.iptables import Rule
from kubeproof.state.verdict import TERMINAL

Mending = Callable[[Context, CheckResult], Iterable[str]]
"""Commands on the node, in their order; none if nothing is known for what was found."""
QUIET: tuple[str, ...] = (
    "subnet_env",
    "subnet_of_node_object",
    "swap_off",
    "unique_identity",
    "clock",
    "docker0_down",
    "node_ready",
)
QUIET += ("kubelet_reached", "cni_configuration", "reachable", "iptables_variant", "control_plane_healthy")
"""Rows for which no packet of the other rows is lost."""
DEVICE_ROWS = ("flannel_address", "flannel_mtu", *NODES_ROWS)
FOLLOWING = {
    "flannel_device": DEVICE_ROWS,
    "cni0_address": ("cni0_mtu", "route_to_own_pods", "pod_veths", "network_agent_ready"),
    "subnet_env": ("subnet_of_node_object",),
    "pod_addresses": ("pod_default_routes", "pod_veths", "pod_namespaces"),
    "service_chains": ("service_endpoints", "node_ports", "service_masquerade"),
    "service_endpoints": ("node_ports",),
    "cni_configuration": ("node_ready",),
    "api": ("*",),
}
"""Rows of the same node that fail with another one."""
UNREADABLE = "could not be read"
_FULL_NAME = re.compile(r"^([a-z0-9.-]+)/([a-z0-9.-]+): ", re.MULTILINE)


def cause_of(name: str) -> Cause:
    """A row as a cause of its own."""
    follows = Follows(here=(name, *FOLLOWING.get(name, ())), traffic=name not in QUIET)
    title = TITLES_BY_NAME.get(name, name)
    return Cause(
        name.replace("_", "-"),
        0,
        "a part of the proof does not hold",
        f"it should be so: {title}",
        (),
        _none,
        follows,
        name,
    )


def _none(_: Evidence) -> Iterator[Case]:
    return iter(())


def case_of(evidence: Evidence, row: CheckResult) -> Case | None:
    """A failing check as a case with what mends it; None if that is not known."""
    mending = MENDING.get(row.name)
    if UNREADABLE in row.found and not (row.name == "subnet_env" and "No such file" in row.found):
        return None  # nothing is known of it
    if mending is None or row.node not in evidence.snapshot.states:
        return None
    context = evidence.snapshot.context(row.node)
    try:
        commands = list(dict.fromkeys(mending(context, row)))
    except UndecidedError:
        return None
    if not commands:
        return None
    # What the API changes is changed where kubeadm leaves the administrator's kubeconfig.
    by_api = all(command.startswith(KUBECTL) for command in commands)
    node = evidence.snapshot.loaded.cluster.leader.name if by_api else row.node
    seen = [f"expected {line}" for line in row.expected.splitlines()[:3]] + [
        f"found {line}" for line in row.found.splitlines()[:6]
    ]
    seen += (
        [f"the mend makes these pods anew: {', '.join(_pods(row))}"] if by_api and " delete pod " in commands[0] else []
    )
    return Case(row.node, tuple(seen), (Mend(node, " && ".join(commands)),))


def nameless(evidence: Evidence, unknown: Iterable[CheckResult]) -> list[Diagnosis]:
    """Rows with no known cause, each told with what to look at."""
    by_row: dict[str, list[Case]] = {}
    told: set[tuple[str, str]] = set()
    for row in unknown:
        if UNREADABLE in row.found and (row.node, row.found) in told:
            continue  # several checks read the same part
        told.add((row.node, row.found))
        seen = [f"expected {line}" for line in row.expected.splitlines()[:2]] + [
            f"found {line}" for line in row.found.splitlines()[:4]
        ]
        by_row.setdefault(row.name, []).append(Case(row.node, tuple(seen), (), row.look_further))
    return [Diagnosis(cause_of(name), tuple(cases)) for name, cases in by_row.items()]


# What mends a row -----------------------------------------------------------------------------------------------------


def _lines(row: CheckResult, prefix: str) -> list[str]:
    return [line.removeprefix(prefix) for line in row.found.splitlines() if line.startswith(prefix)]


def _restart(context: Context, _: CheckResult) -> Iterator[str]:
    yield agent_restart(context)


def _routes(context: Context, row: CheckResult) -> Iterator[str]:
    surplus = _lines(row, "not expected: ")
    yield from (route_deletion(route) for route in pod_routes(context) if str(route) in surplus)
    if _lines(row, "missing: "):
        yield agent_restart(context)


def _own_route(context: Context, row: CheckResult) -> Iterator[str]:
    surplus = _lines(row, "not expected: ")
    yield from (route_deletion(route) for route in pod_routes(context) if str(route) in surplus)
    if _lines(row, "missing: "):
        yield f"ip route replace {context.subnet} dev {BRIDGE} proto kernel scope link src {context.gateway}"


def _neighbours(context: Context, row: CheckResult) -> Iterator[str]:
    missing = _lines(row, "missing: ")
    kept = {line.split()[0] for line in missing}
    surplus = [line.split()[0] for line in _lines(row, "not expected: ")]
    yield from (f"ip neigh del {address} dev {context.vxlan_device}" for address in surplus if address not in kept)
    if missing:
        yield agent_restart(context)


def _forwarding_entries(context: Context, row: CheckResult) -> Iterator[str]:
    for line in _lines(row, "not expected: "):
        words = line.split()
        yield f"bridge fdb del {words[0]} dev {context.vxlan_device}" + (f" dst {words[2]}" if "dst" in words else "")
    if _lines(row, "missing: "):
        yield agent_restart(context)


def _addresses(device: str, wanted: str, context: Context) -> Iterator[str]:
    present = [str(address) for address in context.state.network.addresses_of(device)]
    yield from (f"ip addr del {address} dev {device}" for address in present if address != wanted)


def _tunnel_address(context: Context, row: CheckResult) -> Iterator[str]:
    yield from _addresses(context.vxlan_device, row.expected, context)
    if row.expected not in row.found:
        yield agent_restart(context)


def _bridge_address(context: Context, row: CheckResult) -> Iterator[str]:
    link = context.state.network.link(BRIDGE)
    if link is None:
        yield from _anew(f"{pod.namespace}/{pod.name}" for pod in context.pods)
        return
    if not link.is_up:
        yield f"ip link set dev {BRIDGE} up"
    present = [str(address) for address in context.state.network.addresses_of(BRIDGE)]
    wanted = f"{context.gateway}/{context.subnet.prefixlen}"
    if wanted not in present:
        yield f"ip addr add {wanted} dev {BRIDGE}"
    yield from _addresses(BRIDGE, wanted, context)


def _bridge_mtu(_: Context, row: CheckResult) -> Iterator[str]:
    if row.expected.isdecimal():
        yield f"ip link set dev {BRIDGE} mtu {row.expected}"


def _docker_bridge(context: Context, _: CheckResult) -> Iterator[str]:
    strangers = [
        link.name
        for link in context.state.network.links
        if link.master == DOCKER_BRIDGE and not link.name.startswith("veth")
    ]
    yield from (f"ip link set dev {name} nomaster" for name in strangers)
    yield "for id in $(docker ps -q --filter network=bridge); do docker network disconnect bridge $id; done"


def _pods(row: CheckResult) -> list[str]:
    return list(dict.fromkeys(f"{space}/{name}" for space, name in _FULL_NAME.findall(row.found)))


def _anew(pods: Iterable[str]) -> Iterator[str]:
    for pod in pods:
        space, _, name = pod.partition("/")
        yield f"{KUBECTL} -n {space} delete pod {name} --wait=false"


def _pods_anew(_: Context, row: CheckResult) -> Iterator[str]:
    yield from _anew(_pods(row))


def _default_routes(context: Context, row: CheckResult) -> Iterator[str]:
    for pod in _pods(row):
        pause = context.state.sandbox(pod)
        if pause is None or pause.network is None:
            return
        inside = f"nsenter -t {pause.pid} -n ip"
        link = pause.network.link(POD_DEVICE)
        if link is not None and not link.is_up:
            yield f"{inside} link set dev {POD_DEVICE} up"
        stale = [route for route in pause.network.routes_in() if route.destination.prefixlen == 0]
        yield from (f"{inside} route del {route}" for route in stale)
        yield f"{inside} route add default via {context.gateway} dev {POD_DEVICE}"


def _veths(context: Context, row: CheckResult) -> Iterator[str]:
    lost = []
    for pod in _pods(row):
        pause = context.state.sandbox(pod)
        inner = pause.network.link(POD_DEVICE) if pause and pause.network else None
        outer = context.state.network.link_by_index(inner.peer_index) if inner and inner.peer_index else None
        if outer is None:
            lost.append(pod)
            continue
        plugged = f"ip link set dev {outer.name} up master {BRIDGE}"
        yield f"{plugged} && bridge link set dev {outer.name} hairpin on state 3"
    yield from _anew(lost)


def _sysctls(context: Context, row: CheckResult) -> Iterator[str]:
    wanted = dict(part.split("=") for part in row.expected.split(", "))
    wrong = [name for name in wanted if context.state.sysctls.get(name) != wanted[name]]
    yield from (f"sysctl -w {name}={wanted[name]}" for name in wrong)


def _forward_policy(context: Context, row: CheckResult) -> Iterator[str]:
    for line in _lines(row, "missing: -A "):
        yield f"iptables -A {line}"
    if "policy ACCEPT" in row.found:
        yield "iptables -P FORWARD DROP"


def _masquerading(context: Context, row: CheckResult) -> Iterator[str]:
    """Rules that come before the pod network's are deleted; what is missing is set when its agent starts."""
    wanted = row.expected.splitlines()
    strangers = [rule for rule in context.state.iptables.rules("nat", "POSTROUTING") if _is_stranger(rule)]
    found = row.found.splitlines()
    named = [rule for rule in strangers if any(_same(rule, line) for line in found if line not in wanted)]
    yield from (deletion("nat", rule) for rule in named)
    missing = [line for line in wanted if line not in found]
    if missing and not named:
        yield agent_restart(context)


def _same(rule: Rule, line: str) -> bool:
    return str(rule).removesuffix(" --random-fully") == line.removesuffix(" --random-fully")


def _is_stranger(rule: Rule) -> bool:
    return rule.target in (*TERMINAL, "RETURN")


def _translating(context: Context, _: CheckResult) -> Iterator[str]:
    """flannel and Calico put their chains first again and again, but a stranger's rule may come before."""
    for rule in context.state.iptables.rules("nat", "POSTROUTING"):
        if rule.target.startswith(("FLANNEL-", "cali-")) or "flanneld" in (rule.comment or ""):
            break
        pods = context.cluster.settings.pod_cidr
        about = all(
            side is None or side.negated or side.value.overlaps(pods) for side in (rule.source, rule.destination)
        )
        if _is_stranger(rule) and about:
            yield deletion("nat", rule)
    yield agent_restart(context)


def _felix(context: Context, _: CheckResult) -> Iterator[str]:
    yield kill_containers(context, "calico-node")


def _services(context: Context, row: CheckResult) -> Iterator[str]:
    """kube-proxy writes its chains as a whole when it starts, and adds jumps that are missing."""
    for chain in ("PREROUTING", "OUTPUT"):
        jumps = [rule for rule in context.state.iptables.rules("nat", chain) if rule.target == SERVICES]
        surplus = jumps[1:] if jumps else []
        yield from (deletion("nat", rule) for rule in surplus)
        if surplus and row.name == "service_chains":
            return
    yield f"iptables -t nat -F {SERVICES} 2>/dev/null; {kill_containers(context, 'kube-proxy')}"


MENDING: dict[str, Mending] = {
    "subnet_env": _restart,
    "subnet_of_node_object": _restart,
    "cni_configuration": _restart,
    "flannel_device": _restart,
    "flannel_address": _tunnel_address,
    "flannel_mtu": _restart,
    "cni0_address": _bridge_address,
    "cni0_mtu": _bridge_mtu,
    "docker0_down": _docker_bridge,
    "route_to_own_pods": _own_route,
    "routes_to_other_nodes": _routes,
    "routes_by_nodes": _routes,
    "arp_entries": _neighbours,
    "fdb_entries": _forwarding_entries,
    "pod_addresses": _pods_anew,
    "pod_single_addresses": _pods_anew,
    "pod_link_local_gateways": _pods_anew,
    "calico_links": _pods_anew,
    "pod_mtus": _pods_anew,
    "routes_to_pods": _felix,
    "pod_default_routes": _default_routes,
    "pod_veths": _veths,
    "pod_namespaces": _pods_anew,
    "sysctls": _sysctls,
    "forward_accepts": _forward_policy,
    "forward_verdicts": _restart,
    "postrouting_order": _masquerading,
    "postrouting_verdicts": _translating,
    "policies_in_force": _restart,
    "felix_chains": _felix,
    "felix_first": _felix,
    "service_chains": _services,
    "service_endpoints": _services,
    "node_ports": _services,
    "service_masquerade": _services,
}
"""By the names of checks. Those that are not here are causes of their own, or nothing is known that mends them."""
