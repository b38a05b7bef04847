"""Passwords of sudo in pyinfra's own runs, on this machine with a sudo that stands in for a host's."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.connectors import util
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command

from kubeproof.access import deadlines, sudo
from kubeproof.deploy import pyinfra_run, sudo_passwords
from kubeproof.terminal.errors import UserError
from tests.unit import sudo_hosts
from tests.unit.sudo_hosts import PASSWORD, Hosts


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    monkeypatch.setattr(util, "getpass", util.getpass)
    monkeypatch.setattr(sudo, "_typed", [])
    monkeypatch.setattr(sudo, "_from_terminal", lambda _prompt: "")
    (tmp_path / "bin").mkdir()
    hosts = sudo_hosts.made(tmp_path / "bin", monkeypatch)
    hosts.ask("here")
    return hosts


class Connector:
    """Runs commands here as pyinfra's connectors do, and keeps their text."""

    put_file = None

    def __init__(self) -> None:
        self.ran: list[str] = []

    def run_shell_command(self, command: Any, **arguments: Any) -> tuple[bool, CommandOutput]:
        given = arguments.pop("_stdin", None)
        for name in ("print_output", "print_input"):
            arguments.pop(name, None)
        text = make_unix_command(StringCommand(command), **arguments).get_raw_value()
        self.ran.append(text)
        lines: Any = given.readlines() if hasattr(given, "readlines") else given or []
        typed = "".join(f"{line.rstrip()}\n" for line in ([lines] if isinstance(lines, str) else lines))
        done = subprocess.run(["sh", "-c", text], input=typed, capture_output=True, text=True, check=False)
        found = [("stdout", line) for line in done.stdout.splitlines()]
        found += [("stderr", line) for line in done.stderr.splitlines()]
        return done.returncode == 0, CommandOutput([OutputLine(*one) for one in found])


def host(**data: object) -> Any:
    connector = Connector()
    state = SimpleNamespace(is_executing=True, config=SimpleNamespace(SUDO_PASSWORD=data.pop("config", None)))
    made: Any = SimpleNamespace(name="n1", connector=connector, state=state, data={"_sudo": True, **data})
    made.run_shell_command = lambda command, **words: made.connector.run_shell_command(command, **words)
    made.get_fact = None
    return made


def held(**data: object) -> Any:
    made = host(**data)
    sudo_passwords.hold(made)
    deadlines.hold(made)
    sudo_passwords.settle([made])
    return made


@pytest.mark.parametrize("data", [{"_sudo_password": PASSWORD}, {"config": PASSWORD}])
@pytest.mark.parametrize("given", [None, "its own\ninput", ["its own", "input"], "file"])
def test_sudo_alone_gets_it(data: dict[str, object], given: Any, here: Hosts, tmp_path: Path) -> None:
    made = held(**data)
    if given == "file":
        (tmp_path / "given").write_text("its own\ninput\n")
        given = (tmp_path / "given").open()
    words = {"_sudo": True, "_sudo_password": PASSWORD, "_env": {"A": "b c"}, "_stdin": given}
    done, output = made.run_shell_command("echo $A; cat", **words)
    assert (done, output.stdout) == (True, "b c" + ("\nits own\ninput" if given else ""))
    assert here.tried() == [f"here {PASSWORD}"] * 2
    assert not any(PASSWORD in text for text in made.connector.ran)
    # As root, so that what runs as root can be ended.
    assert made.connector.ran[-1].startswith("sudo -H -k -S -p '' timeout --kill-after=10 180 sh -c ")


def test_other_options_of_sudo_stay(here: Hosts) -> None:
    made = held(_sudo_password=PASSWORD)
    assert made.run_shell_command("true", _sudo=True, _sudo_user="a b", _preserve_sudo_env=True)[0]
    assert made.connector.ran[-1].startswith("sudo -H -k -S -p '' -E -u 'a b' timeout ")
    assert here.tried()


def test_where_sudo_asks_for_nothing_all_is_as_it_was(here: Hosts) -> None:
    here.ask()
    made = held()
    assert made.run_shell_command("true", _sudo=True)[0]
    assert made.connector.ran[-1] == "sudo -H -n timeout --kill-after=10 180 sh -c true"
    root = held(_sudo=False)
    root.run_shell_command("true")
    assert root.connector.ran == ["timeout --kill-after=10 180 sh -c true"]


def test_a_host_is_tried_once(here: Hosts) -> None:
    made = held(_sudo_password=PASSWORD)
    sudo_passwords.settle([made])
    assert here.tried() == [f"here {PASSWORD}"]


@pytest.mark.parametrize(("data", "problem"), [({}, "asks for a password"), ({"_sudo_password": "x"}, "refuses")])
def test_what_is_missing_or_wrong_is_told(data: dict[str, object], problem: str, here: Hosts) -> None:
    with pytest.raises(UserError, match=f"^n1: sudo {problem}"):
        held(**data)
    assert len(here.tried()) == len(data)


def test_pyinfra_never_asks_by_itself(here: Hosts) -> None:
    sudo_passwords.hold(host())
    assert util.getpass("sudo password: ") == ""


# A whole run ----------------------------------------------------------------------------------------------------------

DEPLOY = """
from kubeproof.deploy import sudo_passwords
from kubeproof.terminal.errors import UserError
from pyinfra import host, state
from pyinfra.api import DeployError
from pyinfra.operations import files, server
try:
    for each in state.inventory:
        sudo_passwords.hold(each)
    sudo_passwords.settle(state.inventory)
except UserError as error:
    raise DeployError("\\n".join(error.problems))
server.shell(name="Run", commands=["echo done >> {folder}/done"], _sudo=True)
files.put(name="Put", src="{folder}/run.py", dest="{folder}/copy", _sudo=True)
"""


@pytest.fixture
def folder(tmp_path: Path, here: Hosts, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert here.folder
    monkeypatch.setattr("kubeproof.deploy.pyinfra_run.log_file", lambda name: tmp_path / f"{name}.log")
    (tmp_path / "here.py").write_text('hosts = [("@local", {"_sudo": True})]\n')
    (tmp_path / "run.py").write_text(DEPLOY.replace("{folder}", str(tmp_path)))
    return tmp_path


def test_a_run_asks_its_parent_which_asks_once(folder: Path, here: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sudo, "_typed", [PASSWORD])
    assert pyinfra_run.run(folder / "here.py", folder / "run.py").failures == {}
    assert (folder / "done").read_text() == "done\n"
    assert (folder / "copy").read_text() == (folder / "run.py").read_text()
    assert set(here.tried()) == {f"here {PASSWORD}"}
    assert PASSWORD not in (folder / "run.log").read_text()
    assert pyinfra_run.run(folder / "here.py", folder / "run.py", dry=True).failures == {}


@pytest.mark.parametrize(("typed", "problem"), [("", "asks for a password"), ("wrong", "refuses the password")])
def test_nothing_is_done_without_it(
    typed: str, problem: str, folder: Path, here: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sudo, "_typed", [typed])
    with pytest.raises(UserError) as error:
        pyinfra_run.run(folder / "here.py", folder / "run.py")
    assert [line.partition(" (")[0].partition(", and")[0] for line in error.value.problems] == [
        f"@local: sudo {problem}"
    ]
    assert not (folder / "done").exists()
    assert len(here.tried()) == bool(typed)
