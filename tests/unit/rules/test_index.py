"""The rulebook as a whole, its table, and what comes of findings."""

import ast
import re
from pathlib import Path
from typing import Any

from kubeproof.config.tables.findings import FINDINGS
from kubeproof.doctor.catalogue import CAUSES, SUSPECTS
from kubeproof.node.finding import Finding
from kubeproof.proof.checks import ALL_CHECKS
from kubeproof.rules import index
from kubeproof.rules.before_deploy.evaluate import evaluate, verdict
from kubeproof.rules.rule import Rule
from kubeproof.terminal.exits import REPOSITORY
from tests.unit.rules.fit import inspection

MODULES = sorted((REPOSITORY / "kubeproof").rglob("*.py"))
ERROR = Finding("memory", "master", "is small", "it breaks", "make it larger")
WARNING = Finding("hostname", "node1", "is odd", "it confuses", "change it", "warning")


def test_hosts_that_are_fit() -> None:
    assert list(evaluate(inspection())) == []


def test_hosts_that_did_not_answer_are_left_out() -> None:
    nothing: dict[str, Any] = {"hosts": {}, "clocks": {}, "features": {}, "sources": {}, "arrivals": {}}
    assert list(evaluate(inspection(**nothing))) == []


def test_names_that_can_be_ignored_are_those_of_the_rules() -> None:
    rules = index.rules()
    assert {name for name, rule in rules.items() if rule.before_deploy} == set(FINDINGS)


def test_each_rule_is_declared_once_and_says_what_it_breaks() -> None:
    for rule in index.rules().values():
        assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", rule.id)
        assert rule.holds
        assert rule.meaning, rule.id
    by_id: dict[str, set[int]] = {}
    for modules in index.FAMILIES.values():
        for rule in [item for module in modules for item in vars(module).values() if isinstance(item, Rule)]:
            by_id.setdefault(rule.id, set()).add(id(rule))
    assert [name for name, several in by_id.items() if len(several) > 1] == []


def test_the_table_has_each_rule_once() -> None:
    causes = [cause.rule for cause in (*CAUSES, *SUSPECTS)]
    shown = re.findall(r"^\| `([a-z0-9-]+)` \|", index.table(causes), re.MULTILINE)
    assert sorted(shown) == sorted({*index.rules(), *(rule.id for rule in causes)})
    assert {rule.id for rule in ALL_CHECKS} <= set(shown)
    assert "| `swap` | no swap is in use | error | yes | yes | kubelet will not start" in index.table(causes)


def test_findings_are_as_severe_as_their_rule_says() -> None:
    """Those of files that are below the rulebook, and name rules, as well."""
    rules = index.rules()
    for file in MODULES:
        for called, severity in made(file):
            assert called in rules, (file, called)
            wanted = rules[called].before_deploy
            assert wanted == "either" or severity in ("", wanted), (file, called, severity)


def made(file: Path) -> list[tuple[str, str]]:
    """Id and severity, if told, of each finding that a module makes by ``rule.finding`` or ``Finding``."""
    found = []
    for call in [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]:
        last = call.args[-1] if call.args else None
        severity = str(last.value) if isinstance(last, ast.Constant) and last.value in ("error", "warning") else ""
        if (
            isinstance(call.func, ast.Attribute)
            and call.func.attr == "finding"
            and isinstance(call.func.value, ast.Name)
        ):
            name = (
                call.func.value.id.replace("_", "-")
                .replace("dockers-", "docker-")
                .replace("containerds-", "containerd-")
            )
            found += [(name, severity)] if name != "rule" else []
        first = call.args[0] if call.args else None
        if isinstance(call.func, ast.Name) and call.func.id == "Finding" and isinstance(first, ast.Constant):
            found.append((str(first.value), severity))
    return found


def test_errors_stop_and_are_summed_up() -> None:
    reached = verdict([WARNING, ERROR, ERROR], ())
    assert reached.shown() == ["[warning] hostname node1: is odd, it confuses; change it"]
    error, end = reached.refusal()
    assert error == "[error] memory master: is small, it breaks; make it larger"
    assert end.startswith("preflight: 1 error, nothing has been changed")


def test_warnings_stop_nothing() -> None:
    assert verdict([WARNING], ()).refusal() == []


def test_what_is_ignored_is_shown_in_one_line_and_stops_nothing() -> None:
    reached = verdict([WARNING, ERROR], ("memory", "hostname"))
    assert reached.refusal() == []
    assert reached.shown() == ["[ignored] hostname node1: is odd", "[ignored] memory master: is small"]


def test_findings_are_told_host_by_host() -> None:
    several = Finding("duplicate-hostname", "a, b", "", "", "")
    hosts = [Finding("memory", name, "", "", "") for name in ("b", "a", "")]
    assert [item.host for item in verdict([several, *hosts], (), ("a", "b")).errors] == ["", "a", "b", "a, b"]
