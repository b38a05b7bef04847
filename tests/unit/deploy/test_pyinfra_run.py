"""Running pyinfra: what is shown, what is counted, and what is said when it ends early."""

from pathlib import Path

import pytest

from kubeproof.deploy.pyinfra_run import run
from kubeproof.deploy.run_report import Change
from kubeproof.terminal.errors import CommandError, UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory of this machine, and logs kept out of the real folder."""
    monkeypatch.setattr("kubeproof.deploy.pyinfra_run.log_file", lambda name: tmp_path / f"{name}.log")
    (tmp_path / "here.py").write_text('hosts = ["@local"]\n')
    (tmp_path / "make.py").write_text(
        f"from pyinfra.operations import files\nfiles.file(name='Make the file', path={str(tmp_path / 'made')!r})\n"
    )
    return tmp_path


def test_a_plan_gets_the_reasons_that_operations_give(folder: Path) -> None:
    (folder / "why.py").write_text(
        "from pyinfra import host\nfrom pyinfra.api import operation\n"
        "from kubeproof.deploy.run_events import because\n"
        "@operation()\ndef mend():\n    because('it is broken')\n    yield 'true'\n"
        "mend(name='Mend it')\n"
    )
    (change,) = run(folder / "here.py", folder / "why.py", dry=True).changes
    assert change.reasons == {"@local": ("it is broken",)}
    assert run(folder / "here.py", folder / "why.py").count == 1


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
        ("import os\nos._exit(3)", "exit code 3 after: Loading: "),
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


@pytest.mark.parametrize("dry", [True, False])
def test_a_host_that_cannot_be_reached_is_named(folder: Path, dry: bool) -> None:
    closed = '("closed", {"ssh_hostname": "127.0.0.1", "ssh_port": 1})'
    (folder / "two.py").write_text(f'hosts = ["@local", {closed}]\n')
    found = run(folder / "two.py", folder / "make.py", dry=dry)
    assert list(found.failures) == ["closed"]
    assert "Could not connect" in found.failure
    assert [change.hosts for change in found.changes] == [("@local",)]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo cannot pull r/a:1: manifest unknown >&2; false", "@local (Pull: cannot pull r/a:1: manifest unknown)"),
        ("false", "@local (Pull)"),
    ],
)
def test_hosts_that_all_fail_are_named_with_the_reason(folder: Path, command: str, reason: str) -> None:
    (folder / "bad.py").write_text(
        f"from pyinfra.operations import server\nserver.shell(name='Pull', commands=[{command!r}])"
    )
    assert run(folder / "here.py", folder / "bad.py").failure == reason
