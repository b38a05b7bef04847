"""Checks of what enforces NetworkPolicy."""

from kubeproof.proof.context import Context, Finding, UndecidedError, check
from kubeproof.state.policies import POLICIES_FILE, POLICY_TABLE, PoliciesInForce


@check(
    "every NetworkPolicy of the cluster is in force here, as the API has it now",
    needs=("policies", "nft_tables"),
    look=f"cat {POLICIES_FILE}; nft list table {POLICY_TABLE}",
)
def policies_in_force(context: Context) -> Finding:
    """podnet's table is loaded and made from these policies; with network_policy = False there is none."""
    state, loaded = context.state.policies, POLICY_TABLE in context.state.nft_tables
    if state is None:
        raise UndecidedError(f"there is no {POLICIES_FILE}")
    expected = _expected(context)
    found = _text(state, loaded)
    return Finding(found == expected, expected, found)


def _expected(context: Context) -> str:
    if not context.cluster.settings.enforces_policy:
        return _text(PoliciesInForce(enforced=False), loaded=False)
    return _text(PoliciesInForce(enforced=True, policies=context.api.policies), loaded=True)


def _text(state: PoliciesInForce, loaded: bool) -> str:
    lines = [f"table {POLICY_TABLE} {'loaded' if loaded else 'not there'}"]
    lines.append(f"{len(state.policies)} policies enforced" if state.enforced else "policies not enforced")
    lines += [f"{name}, resourceVersion {version}" for name, version in sorted(state.policies.items())]
    lines += [f"{name} cannot be expressed: {reason}" for name, reason in sorted(state.inexpressible.items())]
    return "\n".join(lines)
