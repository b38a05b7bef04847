"""All judges together, the table of names, and what comes of findings."""

import ast
from pathlib import Path
from typing import Any

from kubeproof.node.finding import Finding
from kubeproof.node.preflight.judges import judged
from kubeproof.node.preflight.names import FINDINGS
from kubeproof.node.preflight.verdict import verdict
from kubeproof.terminal.exits import REPOSITORY
from tests.unit.node.preflight.fit import inspection

MODULES = sorted((REPOSITORY / "kubeproof").rglob("*.py"))
ERROR = Finding("memory", "master", "is small", "it breaks", "make it larger")
WARNING = Finding("hostname", "node1", "is odd", "it confuses", "change it", "warning")


def test_hosts_that_are_fit() -> None:
    assert list(judged(inspection())) == []


def test_hosts_that_did_not_answer_are_left_out() -> None:
    nothing: dict[str, Any] = {"hosts": {}, "clocks": {}, "features": {}, "sources": {}, "heard": {}}
    assert list(judged(inspection(**nothing))) == []


def made(file: Path) -> list[tuple[str, str]]:
    """Name and severity of each Finding that a module of the preflight makes; "" is computed."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return [_words(call) for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Finding"]


def _words(call: ast.Call) -> tuple[str, str]:
    name = call.args[0]
    severity = call.args[5] if len(call.args) > 5 else ast.Constant("error")
    return (
        name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else "",
        severity.value if isinstance(severity, ast.Constant) and isinstance(severity.value, str) else "",
    )


def test_the_table_has_the_names_of_the_code_and_no_others() -> None:
    # Names of doubles, and which kind of source or change, are computed.
    computed = {
        *("duplicate-hostname", "duplicate-machine-id", "duplicate-product-uuid"),
        *("changed-setting", "changed-address"),
    }
    found = [item for file in MODULES if "finding import Finding" in file.read_text() for item in made(file)]
    names = {name for name, _ in found if name}
    assert names | computed == set(FINDINGS)
    severities = {name: {severity for other, severity in found if other == name} for name in names}
    for name, used in severities.items():
        wanted = FINDINGS[name][0]
        assert used == {wanted} or (wanted == "either" and len(used | {"error"}) > 1), (name, used)


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
