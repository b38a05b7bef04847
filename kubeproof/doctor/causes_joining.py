"""Causes that keep a host from becoming a node. Pure."""

from collections.abc import Iterator

from kubeproof.doctor.causes_running import NODES_ROWS
from kubeproof.doctor.diagnosis import Case, Follows, cause
from kubeproof.doctor.evidence import Evidence
from kubeproof.rules.context import Context, UndecidedError


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
