"""Causes in a node as a host, of which the doctor knows more than the proof: swap, cgroups, its address. Pure."""

from collections.abc import Iterator

from kubeproof.config.tables.paths import KUBELET_CONFIG, KUBELET_FLAGS
from kubeproof.doctor import rows
from kubeproof.doctor.causes_running import NODES_ROWS, ROWS_OF_KUBELET, SERVICE_ROWS
from kubeproof.doctor.diagnosis import Case, Follows, cause, cause_on_node
from kubeproof.doctor.evidence import Evidence
from kubeproof.rules import host
from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.result import Remedy


@cause_on_node(host.swap, follows=Follows(here=(*ROWS_OF_KUBELET, "swap"), hides=("kubelet-healthy",), traffic=False))
def swap_on(evidence: Evidence, context: Context) -> Case | None:
    """With what kubelet says about it."""
    row = host.swap.check(context)
    return None if row.ok else rows.case_of(row, *_kubelet(evidence, context))


@cause_on_node(host.cgroup_driver, follows=Follows(here=ROWS_OF_KUBELET, hides=("kubelet-healthy",), traffic=False))
def cgroup_driver_mismatch(evidence: Evidence, context: Context) -> Case | None:
    """cgroupDriver of kubelet's configuration against the runtime's own word."""
    ours, theirs = context.state.kubelet_driver, context.state.runtime_driver
    if not ours or not theirs or ours == theirs:
        return None
    wanted, runtime = context.cluster.settings.cgroup_driver, context.cluster.settings.container_runtime
    seen = f"cgroupDriver of {KUBELET_CONFIG} is {ours}, that of {runtime} is {theirs}"
    if theirs == wanted:
        edit = f"sed -i 's/^cgroupDriver:.*/cgroupDriver: {wanted}/' {KUBELET_CONFIG} && systemctl restart kubelet"
        return _on(context, seen, *_kubelet(evidence, context), remedy=edit)
    return Case(context.node.name, (seen, *_kubelet(evidence, context)), (evidence.applying(context.node.name),))


def _kubelet(evidence: Evidence, context: Context) -> Iterator[str]:
    kubelet = context.state.kubelet
    if kubelet is not None and not kubelet.is_healthy:
        words = context.state.kubelet_words
        yield f"kubelet is {kubelet.state}" + (f": {words}" if words else "")


@cause_on_node(
    host.node_address,
    follows=Follows(
        here=("node-ready", "node-address", "flannel-device", "kubelet-reached"),
        everywhere=("fdb-entries", *SERVICE_ROWS),
    ),
)
def wrong_node_address(evidence: Evidence, context: Context) -> Case | None:
    """InternalIP of the node object, then the outer source of the tunnel."""
    wanted = context.node.address
    node = None if isinstance(context.objects, str) else context.objects.node(context.node.name)
    told = context.state.node_ip
    if (node is not None and node.internal_ip not in (None, wanted)) or (told and told != str(wanted)):
        seen = [f"the inventory says {wanted}"]
        seen += [f"the API says InternalIP {node.internal_ip}"] if node and node.internal_ip != wanted else []
        seen += [f"kubelet is told --node-ip={told} in {KUBELET_FLAGS}"] if told != str(wanted) and told else []
        return _on(context, *seen, remedy=host.take_address(context))
    link = context.state.network.link(context.vxlan_device)
    local = link.vxlan.local if link and link.vxlan else None
    if local is not None and local != context.underlay_address:
        seen_of_tunnel = f"{context.vxlan_device} sends from {local}, the node's address is {context.underlay_address}"
        return Case(context.node.name, (seen_of_tunnel,), (evidence.applying(context.node.name),))
    if isinstance(context.objects, str):
        raise UndecidedError(f"the API could not be read: {context.objects}")
    return None


def _on(context: Context, *seen: str, remedy: str) -> Case:
    """A case that one command on the node itself repairs."""
    return Case(context.node.name, seen, (Remedy(context.node.name, remedy),))


@cause(
    "a host that is to join has a token that is valid",
    symptom="a join fails on a JWS signature",
    meaning="the cluster signs its own address for each token that is valid (cluster-info), and takes the "
    "signature away when the token expires or is deleted: a join with an earlier one then finds none for it",
    references=("kubeadm#1988",),
    follows=Follows(here=("*",), everywhere=NODES_ROWS, hides=("not-joined",)),
)
def join_token_expired(evidence: Evidence) -> Iterator[Case | UndecidedError]:
    """A host of the inventory that is no node, and no token of the cluster would let it become one."""
    outside = [context for context in evidence.snapshot.contexts() if _is_outside(evidence, context)]
    if not outside:
        return
    objects = evidence.snapshot.api
    evidence.control_plane.require("tokens")
    tokens = evidence.control_plane.tokens
    valid = {token.id for token in tokens if token.is_valid(evidence.now)}
    for context in outside:
        host = context.state
        unknown = [token for token in host.token_ids if token not in valid]
        if objects.node(context.node.name) is not None or (valid and not unknown):
            continue
        seen = ["has not joined the cluster"]
        seen += [f"an attempt to join left token {token}, which is not valid" for token in unknown]
        seen += [
            f"token {item.id} has expired at {item.expires:%H:%M:%S} UTC" for item in tokens if item.id not in valid
        ]
        seen += [] if valid else ["the cluster has no valid token (kubeadm token list)"]
        yield Case(context.node.name, tuple(seen), (evidence.applying(context.node.name),))


def _is_outside(evidence: Evidence, context: Context) -> bool:
    """One that has joined, and whose node object was deleted, needs no token."""
    host = context.state
    return not host.joined or (bool(host.token_ids) and not evidence.is_member(context))
