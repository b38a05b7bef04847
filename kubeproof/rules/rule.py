"""What a rule is, and how one is declared: one condition, in words and as code, for every place that asks it. Pure.

A rule is asked before a deploy (of hosts, by preflight), as proof (of nodes, by verify), or as diagnosis (by doctor).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from kubeproof.config.tables import paths
from kubeproof.node.finding import Finding, Severity
from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.result import CheckResult, Outcome, Remedy, Status

Severities = Literal["error", "warning", "either"]
"""Either, where it depends on what is found."""
Look = str | Callable[[Context], str]
FindRemedies = Callable[[Context, Outcome], Iterable[Remedy | str]]
KUBECTL = f"kubectl --kubeconfig {paths.ADMIN_CONF}"
NOT_THERE = "No such file"


class UnreadableError(UndecidedError):
    """A part of the node's state that a rule needs could not be read."""


@dataclass(frozen=True)
class Rule:
    """Something that must hold.

    ``holds`` says what, ``meaning`` what is lost otherwise, ``symptom`` what people see of it; ``references`` are
    public issues. ``before_deploy`` is how severe it is for hosts there, None where it is not asked.

    As proof: ``needs`` are the parts of NodeState that ``evaluate`` reads; ``look`` is shell text to look further with
    on the node; ``find_remedies`` gives shell text for the node, or remedies elsewhere, in their order.
    """

    id: str
    holds: str
    meaning: str = ""
    references: tuple[str, ...] = ()
    symptom: str = ""
    before_deploy: Severities | None = None
    needs: tuple[str, ...] = ()
    look: Look = ""
    evaluate: Callable[[Context], Outcome] | None = field(default=None, repr=False)
    find_remedies: FindRemedies | None = field(default=None, repr=False)

    @property
    def explained(self) -> str:
        return self.meaning + (f" ({', '.join(self.references)})" if self.references else "")

    def finding(
        self, found: str, remedy: str, *, host: str = "", breaks: str = "", severity: Severity | None = None
    ) -> Finding:
        """What is said of hosts before a deploy: it breaks what the rule says, "either" is an error unless told."""
        usual: Severity = "warning" if self.before_deploy == "warning" else "error"
        return Finding(self.id, host, found, breaks or self.meaning, remedy, severity or usual)

    def answer(self, context: Context) -> Outcome:
        """Evaluate it for one node. Raises UndecidedError for what the node or the API lacks."""
        self.require(context)
        if self.evaluate is None:
            raise UndecidedError(f"{self.id} is not asked of nodes")
        found = self.evaluate(context)
        return found if found.ok else replace(found, found="\n".join([found.found, *self.odd(context)]))

    def require(self, context: Context) -> None:
        """Raise UnreadableError if a part of the node's state that it needs could not be read."""
        unreadable = context.state.unreadable
        if missing := [f"{part} could not be read: {unreadable[part]}" for part in self.needs if part in unreadable]:
            raise UnreadableError("; ".join(missing))

    def odd(self, context: Context) -> tuple[str, ...]:
        """A line for each thing that was not understood in what it needs."""
        return tuple(f"not understood: {line}" for part in self.needs for line in context.state.odd.get(part, ()))

    def check(self, context: Context) -> CheckResult:
        """The row of the proof for one node. Never raises for what the node or the API lacks."""
        known = True
        try:
            outcome = self.answer(context)
        except UndecidedError as undecided:
            outcome = Outcome(False, self.holds, str(undecided))
            known = not isinstance(undecided, UnreadableError) or NOT_THERE in outcome.found
        look = self.look if isinstance(self.look, str) else self.look(context)
        return CheckResult(
            node=context.node.name,
            name=self.id,
            status=Status.HOLDS if outcome.ok else Status.FAILS,
            expected=outcome.expected,
            found=outcome.found,
            look_further=context.loaded.ssh[context.node.name].line(look),
            remedies=self._remedies(context, outcome) if known and not outcome.ok else (),
        )

    def _remedies(self, context: Context, outcome: Outcome) -> tuple[Remedy, ...]:
        """What repairs it; none if that is not known. Shell text becomes one command line.

        It is for the node, or for the control plane's, where kubeadm leaves the administrator's kubeconfig.
        """
        try:
            found = list(dict.fromkeys(self.find_remedies(context, outcome))) if self.find_remedies else []
        except UndecidedError:
            return ()
        commands = [item for item in found if isinstance(item, str)]
        by_api = all(command.startswith(KUBECTL) for command in commands)
        node = context.cluster.leader.name if by_api else context.node.name
        made = (Remedy(node, " && ".join(commands)),) if commands else ()
        return (*made, *(item for item in found if isinstance(item, Remedy)))


error_rule = partial(Rule, before_deploy="error")
warning_rule = partial(Rule, before_deploy="warning")
either_rule = partial(Rule, before_deploy="either")
"""Rules that only hosts are asked, before a deploy, by how severe they are."""


def rule(
    holds: str,
    *,
    meaning: str,
    look: Look,
    references: str = "",
    symptom: str = "",
    needs: tuple[str, ...] = (),
    remedies: FindRemedies | None = None,
    before_deploy: Severities | None = None,
) -> Callable[[Callable[[Context], Outcome]], Rule]:
    """Declare a rule that nodes are asked, named as its function; see :class:`Rule` for the rest."""

    def declare(evaluate: Callable[[Context], Outcome]) -> Rule:
        return Rule(
            id=evaluate.__name__.replace("_", "-"),
            holds=holds,
            meaning=meaning,
            references=tuple(references.split()),
            symptom=symptom,
            before_deploy=before_deploy,
            needs=needs,
            look=look,
            evaluate=evaluate,
            find_remedies=remedies,
        )

    return declare
