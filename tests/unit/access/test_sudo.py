"""sudo that asks for a password: whom it is asked of, where it is tried, and that only sudo gets it."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kubeproof.access import remote_kubectl, sudo
from kubeproof.config.cluster import LoadedInventory, SshAccess
from kubeproof.proof import hosts as proof_hosts
from kubeproof.terminal.errors import CommandError, UserError
from tests.unit import sudo_hosts
from tests.unit.access.test_clients import CLUSTER
from tests.unit.config.test_cluster import INVENTORY
from tests.unit.samples import SETTINGS
from tests.unit.sudo_hosts import PASSWORD, Hosts

ACCESS = SshAccess("control-1", sudo=True, sudo_password=PASSWORD)
FINE, ASKS, WRONG, LOST = "exit 0", "sudo: a password is required\nexit 1", "Sorry, try again.\nexit 1", ""


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    monkeypatch.setattr(sudo, "_typed", [])
    monkeypatch.setattr(sudo, "_from_terminal", lambda _prompt: "")
    return sudo_hosts.made(tmp_path, monkeypatch)


def inventory(*names: str, **changes: object) -> LoadedInventory:
    ssh = {name: SshAccess(name, sudo=True) for name in names or ("control-1", "worker-1")}
    return LoadedInventory(Path("x.py"), CLUSTER, {name: replace(one, **changes) for name, one in ssh.items()})  # type: ignore[arg-type]


def attempts(answers: Mapping[tuple[str, str], str], made: list[tuple[str, str]]) -> Callable[[str, str], str]:
    def attempt(name: str, password: str) -> str:
        made.append((name, password))
        return answers[name, password]

    return attempt


def never(_names: Sequence[str]) -> str:
    raise AssertionError("nobody was to be asked")


# Whom, and where ------------------------------------------------------------------------------------------------------


def test_nobody_is_asked_where_sudo_asks_for_nothing_or_the_host_is_down() -> None:
    made: list[tuple[str, str]] = []
    answers = {("a", ""): FINE, ("b", ""): LOST, ("c", ""): "sudo: not found\nexit 127"}
    assert sudo.passwords(dict.fromkeys("abc", ""), attempts(answers, made), never) == {}
    assert len(made) == 3


@pytest.mark.parametrize(
    "words", ["sudo-rs: interactive authentication is required", "sudo: a terminal is required to"]
)
def test_one_password_is_asked_for_once_for_all_hosts(words: str) -> None:
    made: list[tuple[str, str]] = []
    answers = {("a", ""): ASKS, ("b", ""): FINE, ("c", ""): f"{words}\nexit 1", ("a", "x"): FINE, ("c", "x"): FINE}
    asked: list[Sequence[str]] = []

    def ask(names: Sequence[str]) -> str:
        asked.append(names)
        return "x"

    assert sudo.passwords(dict.fromkeys("abc", ""), attempts(answers, made), ask) == {"a": "x", "c": "x"}
    assert asked == [["a", "c"]]


def test_a_line_for_each_host_without_a_password() -> None:
    with pytest.raises(UserError) as error:
        sudo.passwords({"a": "", "b": ""}, attempts({("a", ""): ASKS, ("b", ""): ASKS}, []), lambda _: "")
    assert [line.partition(", and")[0] for line in error.value.problems] == [
        "a: sudo asks for a password",
        "b: sudo asks for a password",
    ]
    assert "set _sudo_password" in error.value.problems[0]


def test_a_wrong_password_is_tried_on_one_host_alone() -> None:
    made: list[tuple[str, str]] = []
    with pytest.raises(UserError) as error:
        sudo.passwords(dict.fromkeys("abc", "x"), attempts({("a", "x"): WRONG}, made), never)
    assert error.value.problems == (
        "a: sudo refuses the password (Sorry, try again.), nothing was done; correct it, or set _sudo_password there",
    )
    assert made == [("a", "x")]


def test_a_host_that_is_down_decides_nothing_about_a_password() -> None:
    made: list[tuple[str, str]] = []
    answers = {("a", "x"): LOST, ("b", "x"): FINE, ("c", "x"): WRONG, ("d", "y"): FINE}
    with pytest.raises(UserError, match=r"^c: sudo refuses"):
        sudo.passwords({"a": "x", "b": "x", "c": "x", "d": "y"}, attempts(answers, made), never)
    assert made == [("a", "x"), ("b", "x"), ("c", "x")]


# By ssh ---------------------------------------------------------------------------------------------------------------


def test_hosts_are_tried_as_they_are(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.ask("control-1", "down")
    monkeypatch.setattr(sudo, "_from_terminal", lambda _prompt: PASSWORD)
    ready = sudo.ready(inventory("control-1", "worker-1", "down"))
    assert {name: access.sudo_password for name, access in ready.ssh.items()} == {
        "control-1": PASSWORD,
        "worker-1": "",
        "down": "",
    }
    assert hosts.tried() == [f"control-1 {PASSWORD}"]


def test_only_named_hosts_and_only_those_with_sudo_are_tried(hosts: Hosts) -> None:
    hosts.ask("control-1", "worker-1")
    loaded = inventory(sudo=False)
    assert sudo.ready(loaded) == loaded
    hosts.ask("worker-1")
    assert sudo.ready(inventory(), ["control-1"]) == inventory()


def test_a_wrong_password_is_one_failure_on_one_host(hosts: Hosts) -> None:
    hosts.ask("control-1", "worker-1")
    with pytest.raises(UserError, match=r"^control-1: sudo refuses the password \(1 incorrect password attempt\)"):
        sudo.ready(inventory(sudo_password="wrong"))
    assert hosts.tried() == ["control-1 wrong"]


def test_without_a_terminal_it_is_said_which_hosts_lack_it(hosts: Hosts) -> None:
    hosts.ask("control-1", "worker-1")
    with pytest.raises(UserError) as error:
        sudo.ready(inventory())
    assert [line.split(":")[0] for line in error.value.problems] == ["control-1", "worker-1"]
    assert hosts.tried() == []


@pytest.mark.parametrize("asks", [True, False])
def test_only_sudo_gets_the_password(asks: bool, hosts: Hosts) -> None:
    hosts.ask(*(["control-1"] if asks else []))
    words = remote_kubectl.over_ssh(ACCESS, ["sh", "-c", 'echo "$0 $*"; set; cat; cat /proc/$$/cmdline', "a 'b'"])
    given = sudo.given_as_input(PASSWORD)
    done = subprocess.run(words, input=f"{given}its own\ninput", capture_output=True, text=True, check=True)
    assert done.stdout.startswith("a 'b' \n")
    assert "its own\ninput" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr + " ".join(words)
    assert hosts.tried() == ([f"control-1 {PASSWORD}"] if asks else [])


@pytest.mark.parametrize("asks", [True, False])
def test_scripts_of_the_proof(asks: bool, hosts: Hosts) -> None:
    hosts.ask(*(["control-1"] if asks else []))
    outputs = proof_hosts.run(ACCESS, {"input": "cat", "words": 'echo "it\'s $(echo all)"; exit 3'})
    assert (outputs["input"].out, outputs["input"].err) == ("", "")
    assert (outputs["words"].out.strip(), outputs["words"].code) == ("it's all", 3)


def kubectl(hosts: Hosts) -> LoadedInventory:
    hosts.ask("control-1")
    (hosts.folder / "kubectl").write_text('#!/bin/sh\necho "$*"\ncat\nexit 4\n')
    (hosts.folder / "kubectl").chmod(0o755)
    return inventory(sudo_password=PASSWORD)


def test_kubectl_reads_only_what_is_its_own(hosts: Hosts) -> None:
    loaded = kubectl(hosts)
    (hosts.folder / "kubectl").write_text("#!/bin/sh\ncat\n")
    assert remote_kubectl.capture(loaded, ["apply", "-f", "-"], stdin="a: 1\n") == "a: 1\n"
    (hosts.folder / "password").write_text("another")
    with pytest.raises(CommandError, match="incorrect password"):
        remote_kubectl.capture(loaded, ["get"])


def test_kubectl_gets_this_process_s_input_after_it(
    hosts: Hosts, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded, many = kubectl(hosts), "".join(f"{number}\n" for number in range(50_000))
    (tmp_path / "input").write_text(many)
    kept = os.dup(0)
    try:
        with (tmp_path / "input").open() as file:
            os.dup2(file.fileno(), 0)
            assert remote_kubectl.run(loaded, ["apply"]) == 4
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert capfd.readouterr().out == f"--kubeconfig=/etc/kubernetes/admin.conf apply\n{many}"


def test_testinfra_s_tests_refuse_such_hosts(hosts: Hosts, tmp_path: Path) -> None:
    hosts.ask("worker-1")
    (tmp_path / "mine.py").write_text(INVENTORY.replace(', "ssh_hostname": "198.51.100.7"', ""))
    (tmp_path / "group_data").mkdir()
    lines = [f"{name} = {value!r}" for name, value in SETTINGS.items()]
    (tmp_path / "group_data/all.py").write_text("\n".join([*lines, "_sudo = True"]))
    words = [sys.executable, "-m", "pytest", "tests/cluster", "--inventory", str(tmp_path / "mine.py"), "--co", "-q"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (
        4,
        "ERROR: worker-1: sudo asks for a password, which testinfra cannot give; let its user run sudo without, or use "
        "./inv verify",
    )


# The terminal ---------------------------------------------------------------------------------------------------------


def test_it_is_typed_once_and_the_prompt_stays_short(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return "x"

    monkeypatch.setattr(sudo, "_typed", [])
    monkeypatch.setattr(sudo, "_from_terminal", answer)
    assert [sudo.typed([f"n{number}" for number in range(7)]), sudo.typed(["m"])] == ["x", "x"]
    assert prompts == ["sudo password for n0, n1, n2, n3 and 3 more: "]


TYPING = "from kubeproof.access import sudo; print('got', len(sudo.typed(['a'])))"


def test_without_a_terminal_nothing_is_read() -> None:
    words = [sys.executable, "-c", TYPING]
    done = subprocess.run(words, input="x\n", capture_output=True, text=True, check=True, start_new_session=True)
    assert (done.stdout, done.stderr) == ("got 0\n", "")


def test_what_is_typed_is_not_shown() -> None:
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, "-c", TYPING])  # noqa: S606
    shown = b""
    while not shown.endswith(b"got 6\r\n"):
        shown += os.read(terminal, 1024)
        if shown == b"sudo password for a: ":
            os.write(terminal, b"secret\n")
    os.waitpid(process, 0)
    assert b"secret" not in shown


def test_it_is_not_shown_with_what_is_known_of_a_host() -> None:
    assert PASSWORD not in repr(inventory(sudo_password=PASSWORD))
