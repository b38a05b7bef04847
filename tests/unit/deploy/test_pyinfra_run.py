"""Running pyinfra: what is shown, what is counted, and what is said when it ends early."""

import json
import re
from pathlib import Path

import pytest

from kubeproof.deploy import plan_report
from kubeproof.deploy.pyinfra_run import Change, Outcome, failures, grouped, outcome, progress, refused, run, unprepared
from kubeproof.terminal.errors import CommandError, UserError

LOG = Path("/x/log")


def planned(name: str, change: tuple[str, ...] = (), maybe: tuple[str, ...] = ()) -> dict[str, object]:
    """An operation in pyinfra's plan."""
    return {
        "op_hash": f"hash of {name}",
        "name": name,
        "hosts_with_change": change,
        "hosts_with_conditional_change": maybe,
    }


def test_plan_tells_sure_changes_from_those_that_a_condition_decides_and_why() -> None:
    plan = [planned("Write daemon.json", ("a", "b")), planned("Restart", maybe=("a",)), planned("Swap")]
    note = {"operation": "hash of Write daemon.json", "host": "b", "lines": ["daemon.json differs:", "- x"]}
    found = outcome({"plan": plan, "results": None}, LOG, json.dumps(note) + "\n")
    assert found.count == 2
    assert list(plan_report.lines(found.changes, ["b", "c", "a"])) == [
        "b",
        "  Write daemon.json",
        "      daemon.json differs:",
        "      - x",
        "a",
        "  Write daemon.json",
        "  Restart (perhaps)",
    ]


def test_a_plan_gets_the_reasons_that_operations_give(folder: Path) -> None:
    (folder / "why.py").write_text(
        "from pyinfra import host\nfrom pyinfra.api import operation\n"
        "from kubeproof.deploy.reasons import because\n"
        "@operation()\ndef mend():\n    because('it is broken')\n    yield 'true'\n"
        "mend(name='Mend it')\n"
    )
    (change,) = run(folder / "here.py", folder / "why.py", dry=True).changes
    assert change.reasons == {"@local": ("it is broken",)}
    assert run(folder / "here.py", folder / "why.py").count == 1


def test_results_count_an_operation_on_a_host() -> None:
    operations = [{"name": "x", "success": ["a", "b"], "no_change": ["c"], "error": []}, {"name": "y", "success": []}]
    found = outcome({"plan": [], "results": {"operations": operations, "failed_hosts": ["c"]}}, LOG)
    assert found.changes == (Change("x", ("a", "b")),)
    assert found.count == 2
    assert found.failed_hosts == ("c",)


def test_progress_leaves_out_what_is_as_it_should_be() -> None:
    lines = [
        "\n",
        "--> Loading config...\n",
        "--> Starting operation: Swap\n",
        "    [a] No changes\n",
        "    \x1b[32m[b] Success\x1b[0m\n",
        "    Traceback (most recent call last):\n",
        '      File "x.py", line 1\n',
        "    ValueError: boo\n",
    ]
    assert list(progress(iter(lines))) == ["--> Starting operation: Swap", "[b] Success", "ValueError: boo"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory of this machine, and logs kept out of the real folder."""
    monkeypatch.setattr("kubeproof.deploy.pyinfra_run.log_file", lambda name: tmp_path / f"{name}.log")
    (tmp_path / "here.py").write_text('hosts = ["@local"]\n')
    (tmp_path / "make.py").write_text(
        f"from pyinfra.operations import files\nfiles.file(name='Make the file', path={str(tmp_path / 'made')!r})\n"
    )
    return tmp_path


def test_a_plan_changes_nothing_and_a_second_run_has_nothing_to_do(folder: Path) -> None:
    planned = run(folder / "here.py", folder / "make.py", dry=True)
    assert planned.changes == (Change("Make the file", ("@local",)),)
    assert not (folder / "made").exists()
    assert run(folder / "here.py", folder / "make.py").count == 1
    assert (folder / "made").exists()
    assert run(folder / "here.py", folder / "make.py").count == 0
    assert "Make the file" in (folder / "make.log").read_text()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('boo')", "ValueError: boo"),
        (
            "from pyinfra.operations import server\n"
            "server.shell(name='Pull', commands=['echo cannot pull r/a:1: manifest unknown >&2; false'])",
            "failed on every host: @local \\(Pull: cannot pull r/a:1: manifest unknown\\)",
        ),
        (
            "from pyinfra.operations import server\nserver.shell(name='Pull', commands=['false'])",
            "failed on every host: @local \\(Pull\\)",
        ),
    ],
)
def test_an_early_end_names_its_reason_and_the_log(folder: Path, code: str, reason: str) -> None:
    (folder / "bad.py").write_text(code)
    with pytest.raises(CommandError, match=reason) as error:
        run(folder / "here.py", folder / "bad.py")
    assert str(folder / "bad.log") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_stop_by_preflight_is_a_machine_that_cannot_do_it(folder: Path) -> None:
    lines = '"\\n[error] memory a: is small\\npreflight: 1 error, nothing has been changed"'
    (folder / "bad.py").write_text(f"from pyinfra.api import DeployError\nraise DeployError({lines})")
    with pytest.raises(UserError) as error:
        run(folder / "here.py", folder / "bad.py")
    assert error.value.problems == ("[error] memory a: is small", "preflight: 1 error, nothing has been changed")


@pytest.mark.parametrize("dry", [True, False])
def test_what_a_deploy_refuses_is_wrong_input_a_line_for_each_problem(
    folder: Path, dry: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.py").write_text(
        "from pyinfra.api import DeployError, deploy\n"
        "@deploy('Check')\n"
        "def check():\n    raise DeployError('pod_cidr: is wrong [x]\\nnode1: has no address')\n"
        "check()\n"
    )
    with pytest.raises(UserError) as error:
        run(folder / "here.py", folder / "bad.py", dry=dry)
    assert error.value.problems == ("pod_cidr: is wrong [x]", "node1: has no address")
    captured = capsys.readouterr()
    assert "is wrong" not in captured.out + captured.err


def test_what_other_hosts_say_after_a_refusal_is_no_part_of_it() -> None:
    lines = [
        "--> pyinfra error in /x/y.py line 66: a: wrong\n",
        "\n",
        "b: wrong\n",
        "Traceback (most recent call last):\n",
    ]
    assert refused([*lines, "EOFError\n"]) == ("a: wrong", "b: wrong")
    assert refused(["--> pyinfra error: No hosts remaining!"]) == ()


@pytest.mark.parametrize("dry", [True, False])
def test_a_host_that_cannot_be_reached_is_named(folder: Path, dry: bool) -> None:
    closed = '("closed", {"ssh_hostname": "127.0.0.1", "ssh_port": 1})'
    (folder / "two.py").write_text(f'hosts = ["@local", {closed}]\n')
    found = run(folder / "two.py", folder / "make.py", dry=dry)
    assert found.failed_hosts == ("closed",)
    assert [change.hosts for change in found.changes] == [("@local",)]


def test_why_hosts_failed_is_told_once_for_those_with_one_reason() -> None:
    lines = [
        "--> Connecting to hosts...",
        "    [down] No connection: no route to host",
        "    [a] Connected",
        "--> Starting operation: Images | Pull images",
        "    [a] cannot pull r/x:1: manifest unknown",
        "    [b] cannot pull r/x:1: manifest unknown",
        "    \x1b[1m[a]\x1b[0m Error: executed 0 commands",
        "    [b] Error: executed 0 commands",
        "--> Starting operation: Control plane | Initialise",
        "    [c] kubeadm init failed:",
        "    error execution phase x",
        "    docker.service: apparmor_parser: not found",
        "    [c] Error: executed 0 commands",
        "    [d] Skipped",
    ]
    found = failures(lines)
    assert grouped(found) == (
        "down (No connection: no route to host); a, b (Images | Pull images: cannot pull r/x:1: manifest unknown); "
        "c (Control plane | Initialise: kubeadm init failed: docker.service: apparmor_parser: not found)"
    )
    assert failures([]) == {}
    assert (
        Outcome((), ("a", "e"), LOG, found).failure
        == "a (Images | Pull images: cannot pull r/x:1: manifest unknown); e"
    )


def test_hosts_that_were_prepared_did_not_fail() -> None:
    lines = ["--> Connecting", "    [\x1b[1ma\x1b[0m] Connected", "    [b]  Could not connect (x)", "[a] Ready: x.py"]
    assert unprepared(lines) == ("b",)
    assert unprepared([]) == ()


def test_an_exit_code_without_a_reason_is_no_success(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubeproof.deploy.pyinfra_run._OF_HOST", re.compile("never"))
    (folder / "two.py").write_text('hosts = ["@local", ("closed", {"ssh_hostname": "127.0.0.1", "ssh_port": 1})]\n')
    with pytest.raises(CommandError, match="exit code 1, naming no host"):
        run(folder / "two.py", folder / "make.py", dry=True)
