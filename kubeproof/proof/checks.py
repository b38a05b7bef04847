"""All checks, in the order in which a person reads them. Pure."""

from collections.abc import Iterable

from kubeproof.proof.checks_devices import DEVICE_CHECKS
from kubeproof.proof.checks_host import HOST_CHECKS
from kubeproof.proof.checks_paths import PATH_CHECKS
from kubeproof.proof.checks_pods import POD_CHECKS
from kubeproof.proof.checks_policies import POLICY_CHECKS
from kubeproof.proof.checks_rules import RULE_CHECKS
from kubeproof.proof.checks_services import SERVICE_CHECKS
from kubeproof.proof.context import Check, Context
from kubeproof.proof.result import CheckResult

CHECKS: tuple[Check, ...] = (
    *HOST_CHECKS,
    *DEVICE_CHECKS,
    *PATH_CHECKS,
    *POD_CHECKS,
    *RULE_CHECKS,
    *POLICY_CHECKS,
    *SERVICE_CHECKS,
)


def run_all(contexts: Iterable[Context]) -> list[CheckResult]:
    """Every check on every node that could be read."""
    return [check.run(context) for context in contexts for check in CHECKS]


def by_name(name: str) -> Check:
    return next(check for check in CHECKS if check.name == name)
