"""Reading the events of a run."""

import json
from collections.abc import Mapping

from kubeproof.deploy.run_report import Change, Report, grouped, plan_lines, read, shortened


def lines(*events: Mapping[str, object]) -> list[str]:
    return [json.dumps(event) for event in events]


def operation(name: str, hosts: tuple[str, ...] = (), maybe: tuple[str, ...] = ()) -> dict[str, object]:
    return {"event": "operation", "hash": f"hash of {name}", "name": name, "hosts": hosts, "maybe": maybe}


def test_a_plan_tells_sure_changes_from_those_that_a_condition_decides_and_why() -> None:
    reason = {
        "event": "reason",
        "operation": "hash of Write daemon.json",
        "host": "b",
        "lines": ["daemon.json differs:", "- x"],
    }
    operations = [operation("Write daemon.json", ("a", "b")), operation("Restart", maybe=("a",)), operation("Swap")]
    found = read(lines(reason, *operations))
    assert list(plan_lines(found.changes, ["b", "c", "a"])) == [
        "b",
        "  Write daemon.json",
        "      daemon.json differs:",
        "      - x",
        "a",
        "  Write daemon.json",
        "  Restart (perhaps)",
    ]


def test_results() -> None:
    failed = {"event": "failed", "host": "c", "why": "x: first"}
    again = {"event": "failed", "host": "c", "why": "y: second"}
    of_nobody = {"event": "failed", "host": "leader", "why": "only asked"}
    key = {"event": "host key changed", "host": "d"}
    end = {"event": "end", "failed": {"c": "", "d": "said last"}}
    found = read(lines(key, operation("x", ("a", "b")), operation("y"), failed, again, of_nobody, key, end))
    assert found == Report(
        changes=(Change("x", ("a", "b")),),
        failures={"c": "x: first", "d": "said last"},
        changed_keys=("d",),
        is_complete=True,
    )


def test_a_run_that_was_ended_early() -> None:
    assert read([]) == Report()
    assert read(lines({"event": "broken", "why": "ValueError: boo"})).broken == "ValueError: boo"


def test_why_hosts_failed_is_told_once_for_those_with_one_reason() -> None:
    failures = {"down": "no route to host", "a": "Pull: manifest unknown", "b": "Pull: manifest unknown", "e": ""}
    assert grouped(failures) == "down (no route to host); a, b (Pull: manifest unknown); e"
    assert grouped({}) == ""


def test_an_error_is_its_first_line_and_if_more_are_announced_its_last() -> None:
    assert shortened(["kubeadm init failed:", "phase x", "apparmor_parser: not found"]) == (
        "kubeadm init failed: apparmor_parser: not found"
    )
    assert shortened(["cannot pull r/x:1", "see above"]) == "cannot pull r/x:1"
    assert shortened([]) == ""
