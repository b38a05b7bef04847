"""./inv and its commands: names, exit codes, and one line for what is wrong."""

import ast
import os
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

import tasks
from kubeproof.cli.command_line import as_typed, explain
from kubeproof.config.settings import NAMES, examine
from kubeproof.deploy.pyinfra_run import Outcome
from kubeproof.terminal.errors import CommandError, UserError
from kubeproof.terminal.exits import REPOSITORY
from tests.unit.access.test_user_kubeconfig import ADMIN
from tests.unit.config.test_cluster import INVENTORY
from tests.unit.proof import good
from tests.unit.samples import SETTINGS

COMMANDS = """apply bench bundle.save bundle.use collect demo docs doctor explain kubeconfig kubectl lab.down lab.reboot
lab.restore lab.snapshot lab.snapshots lab.start lab.status lab.stop lab.up lint matrix mirror.add mirror.build
mirror.status node.remove plan policy report reset status test trace up verify"""
DOWN = {"KUBEPROOF_LAB_BRIDGE": "kpnosuchbridge"}


HERE = ("docs", "lint")
"""Commands that are run here, with :func:`invoke`."""
CI = REPOSITORY / ".ci/run"
"""Runs the test command."""


def invoke(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "tasks.py", *words],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_is_listed_in_one_line() -> None:
    lines = [line.split() for line in invoke("--list").stdout.splitlines() if line.startswith("  ")]
    assert sorted(words[0] for words in lines) == sorted(COMMANDS.split())
    assert all(len(words) > 2 for words in lines)


def run_on_the_lab(path: Path) -> Iterator[str]:
    """The commands that a module's tests run, with one of tests/lab's functions or as a process."""
    for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
        words = call.args
        if call.args and isinstance(call.args[0], ast.List):
            first, *words = call.args[0].elts
            words = words if ast.unparse(first) == "REPOSITORY / 'inv'" else []
        elif ast.unparse(call.func) not in ("inv", "succeed", "Running"):
            continue
        if words and isinstance(words[0], ast.Constant):
            yield str(words[0].value)


def test_every_command_is_run_by_a_test() -> None:
    run = {command for path in (REPOSITORY / "tests/lab").glob("test_*.py") for command in run_on_the_lab(path)}
    assert "./inv test" in CI.read_text()
    assert {*run, *HERE, "test"} == set(COMMANDS.split())


def test_docs_has_nothing_to_write() -> None:
    done = invoke("docs")
    assert (done.returncode, done.stdout.partition("docs: ")[2]) == (0, "0 changes\n"), done.stderr


def test_the_version_is_that_of_the_project() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert invoke("--version").stdout == f"kubeproof {version}\n"
    assert f"## [{version}]" in (REPOSITORY / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("words", [("--list",), ("trace", "--help"), ("--version",)])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_nobody_reads_any_more_ends_in_silence(words: tuple[str, ...], unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "tasks.py", *words],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_lint_says_what_it_runs() -> None:
    done = invoke("lint")
    said = [line.removeprefix("$ ") for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert said[:3] == ["ruff format --check .", "ruff check .", "mypy"]
    assert [line.split()[0] for line in said[3:]] == ["lint-imports", "shellcheck"]
    assert done.returncode == 0, done.stdout[-2000:]


def test_one_module_of_the_lab_is_chosen_by_its_name() -> None:
    done = invoke("test", "--only", "matrx")
    assert (done.returncode, done.stderr) == (
        2,
        "error: --only: no module of tests/lab (matrx), did you mean matrix?\n",
    )


@pytest.mark.parametrize("command", ["plan", "apply", "verify", "doctor", "reset", "demo", "kubectl"])
def test_nothing_is_sent_to_a_lab_that_is_down(command: str) -> None:
    done = invoke(command, **DOWN)
    assert done.returncode == 2
    assert done.stderr == "error: lab: is down (no bridge kpnosuchbridge), start it with `./inv lab.up`\n"


def test_all_problems_are_reported_at_once() -> None:
    done = invoke("plan", KUBEPROOF_LAB_WORKERS="10", KUBEPROOF_LAB_APT_PORT="0")
    assert done.returncode == 2
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "error"]


def test_unknown_node() -> None:
    done = invoke("lab.stop", "k8s-nod1")
    assert done.returncode == 2
    assert done.stderr == "error: k8s-nod1: no such node in the lab, did you mean k8s-node1?\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("aply", "aply: no such command, did you mean apply?"),
        ("lab.stopp k8s-node1", "lab.stopp: no such command, did you mean lab.stop?"),
        ("zzz", "zzz: no such command, `./inv` lists them"),
        ("--help zzz", "zzz: no such command, `./inv` lists them"),
        ("lab.stop", "lab.stop: needs NODE, see `./inv lab.stop --help`"),
        ("verify --jso x", "--jso: no such option of verify, see `./inv verify --help`"),
        ("verify -i", "--inventory: needs a value, see `./inv verify --help`"),
        ("kubectl get", "get: neither an argument of kubectl nor a command, see `./inv kubectl --help`"),
        ("--zzz", "--zzz: no such option, see `./inv --help`"),
        ("--dry apply", "--dry: has no effect here, use `./inv plan`"),
    ],
)
def test_what_is_mistyped_gets_one_line(words: str, line: str) -> None:
    done = invoke(*words.split())
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {line}\n")


def test_what_the_parser_says_otherwise_is_kept() -> None:
    assert explain("'x' is ambiguous", "verify", ["verify"]) == "'x' is ambiguous"


@pytest.mark.parametrize("name", ["lab_down", "lab_start", "lab_restore", "lab_snapshot"])
def test_only_root_changes_the_lab(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lab.host.is_root", lambda: False)
    # Whatever is wrong with the check: this test takes nobody's lab away.
    for needed in ("lab.lifecycle.nodes", "lab.nodes.start"):
        monkeypatch.setattr(needed, None)
    node = [] if name == "lab_down" else ["k8s-node1"]
    with pytest.raises(Exit) as ended:
        getattr(tasks, name).body(Context(), *node)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: user: the lab's devices and containers need root, run it with sudo\n"


def test_words_for_kubectl_stay_as_they_were_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def note(_loaded: object, words: list[str], **_options: bool) -> int:
        asked.append(words)
        return 0

    monkeypatch.setattr(tasks, "_loaded", lambda _: None)
    monkeypatch.setattr(tasks, "_entered", lambda _, **_options: None)
    monkeypatch.setattr("kubeproof.access.remote_kubectl.run", note)
    for arguments in (["kubectl", "--", "exec", "x", "--", "sh", "-c", "echo 'a b'"], ["kubectl"]):
        monkeypatch.setattr("sys.argv", ["tasks.py", *arguments])
        tasks.kubectl.body(Context())
    assert asked == [["exec", "x", "--", "sh", "-c", "echo 'a b'"], []]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, ()) for name in ("verify", "doctor", "policy", "matrix", "status", "kubectl", "kubeconfig")),
        *((name, ("x",)) for name in ("report", "collect")),
        ("trace", ("a", "b")),
    ],
)
def test_a_password_of_sudo_is_settled_before_anything_else(
    name: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_loaded: object, _names: object = ()) -> None:
        raise UserError("node-a: sudo asks for a password")

    monkeypatch.setattr("kubeproof.access.sudo.ready", refuse)
    monkeypatch.setattr("kubeproof.config.cluster.load", lambda _: good.loaded())
    monkeypatch.setattr("lab.lifecycle.show_status", lambda _: True)
    with pytest.raises(Exit) as ended:
        getattr(tasks, name).body(Context(), *words)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: node-a: sudo asks for a password\n"


@pytest.mark.parametrize(("fast", "runs"), [(True, ["tests/unit -m not netns"]), (False, ["tests/unit", "tests/lab"])])
def test_fast_tests_need_no_root(fast: bool, runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[str] = []

    def note(commands: list[list[str]]) -> int:
        run.extend(" ".join(words) for words in commands)
        return 0

    monkeypatch.setattr(tasks, "_run_all", note)
    tasks.run_tests.body(Context(), fast=fast)
    assert [line.partition("tests/")[1] + line.partition("tests/")[2] for line in run if "pytest" in line] == runs


def test_example_inventory_names_every_setting_that_it_must_have() -> None:
    done = invoke("plan", "-i", "inventory/example.py")
    assert done.returncode == 2
    example = (REPOSITORY / "inventory/example.py").read_text()
    for line in done.stderr.splitlines():
        assert f"    {line.removeprefix('error: ').partition(':')[0]} = " in example


def test_what_the_example_tells_to_set_can_be_set_together() -> None:
    example = ast.get_docstring(ast.parse((REPOSITORY / "inventory/example.py").read_text())) or ""
    written: dict[str, object] = {}
    exec("\n".join(line.strip() for line in example.splitlines() if line.startswith("    ")), written)  # noqa: S102
    given = {name: value for name, value in written.items() if not name.startswith("_")}
    assert len(given) > 10
    # The manifest is of another network than the image.
    given["cni"] = "flannel"
    settings, problems = examine({**defaults(), **given})
    assert problems == []
    assert settings is not None
    assert settings.kubernetes_version == given["kubernetes_version"]


def defaults() -> dict[str, object]:
    values = runpy.run_path(str(REPOSITORY / "inventory/group_data/all.py"))
    return {name: value for name, value in values.items() if name in NAMES}


def test_paths_are_those_of_the_caller(tmp_path: Path) -> None:
    done = invoke("plan", "-i", "mine.py", KUBEPROOF_CALLER_FOLDER=str(tmp_path))
    assert done.stderr == f"error: {tmp_path}/mine.py: no such inventory file, use e.g. -i inventory/lab.py\n"


@pytest.mark.parametrize("command", ["plan", "apply", "verify"])
def test_a_limit_to_hosts_that_there_are_not(command: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(INVENTORY)
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/all.py").write_text("\n".join(f"{name} = {value!r}" for name, value in SETTINGS.items()))
    done = invoke(command, "-i", str(tmp_path / "mine.py"), "--limit", "worker-1", "--limit", "x", "--limit=workers")
    said = "error: --limit: no such host (x, workers), use some of control-1, worker-1\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What a deploy was limited to; nobody is asked anything."""
    asked: list[tuple[str, ...]] = []

    def run(*_: object, limit: Sequence[str] = (), **__: object) -> Outcome:
        asked.append(tuple(limit))
        return Outcome((), {}, Path("log"))

    monkeypatch.setattr("kubeproof.config.cluster.load", lambda _: good.loaded())
    monkeypatch.setattr("kubeproof.access.openssh.check", lambda *_: None)
    monkeypatch.setattr("kubeproof.deploy.pyinfra_run.run", run)
    return asked


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ([], ""),
        (["node-a", "node-b"], "left out by --limit: node-c; ./inv plan without it tells what they lack"),
        (["node-b"], "left out by --limit: node-a, node-c, so objects of the cluster are not looked at and nodes not"),
    ],
)
def test_what_a_limit_leaves_out_is_told(
    limit: list[str], said: str, limits: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (tasks.plan, tasks.apply):
        command.body(Context(), limit=limit)
        printed = " ".join(capsys.readouterr().out.split())
        assert said in printed
        assert ("left out" in printed) == bool(limit)
    assert limits == [tuple(limit)] * 2


@pytest.fixture
def merged(limits: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig of the user's with the cluster in it."""
    path = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(path))
    copy = tmp_path / "copy"
    copy.write_text(ADMIN.format(key="a2V5", server=good.cluster().api_url))
    monkeypatch.setattr("kubeproof.config.cluster.load", lambda _: good.loaded(kubeconfig=str(copy)))
    tasks.kubeconfig.body(Context(), name="[mine]")
    return path


def test_a_cluster_is_merged_and_a_reset_takes_it_out(capsys: pytest.CaptureFixture[str], merged: Path) -> None:
    assert f"context [mine] in {merged}: 1 change" in capsys.readouterr().out
    assert 'name: "[mine]"' in merged.read_text()
    tasks.kubeconfig.body(Context(), name="[mine]")
    assert f"context [mine] in {merged}: 0 changes" in capsys.readouterr().out
    tasks.reset.body(Context())
    assert f"the cluster was taken out of {merged}" in capsys.readouterr().out
    assert "mine" not in merged.read_text()
    tasks.reset.body(Context())
    assert "taken out" not in capsys.readouterr().out


def test_a_reset_has_not_failed_where_the_kubeconfig_cannot_be_read(
    merged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged.write_text("- a\n")
    tasks.reset.body(Context())
    assert capsys.readouterr().err.startswith(f"warning: kubeconfig: {merged}: is no kubeconfig")
    assert merged.read_text() == "- a\n"


@pytest.mark.usefixtures("limits")
def test_a_page_is_of_the_whole_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as ended:
        tasks.verify.body(Context(), html=str(tmp_path / "page.html"), limit=["node-b"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: --html: draws the whole cluster, leave out --limit\n"


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return tasks.command(function)


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (UserError(["a: wrong", "b: wrong"]), 2, "error: a: wrong\nerror: b: wrong\n"),
        (CommandError("apt-get x: exit code 100\nHit\nE: none\n(full log: /l)"), 1, "E: none (full log: /l)\n"),
        (CommandError("failed on a (full log: /l)"), 1, "error: failed on a (full log: /l)\n"),
        (PermissionError(13, "Permission denied", "/l"), 2, "error: /l: Permission denied, run it as root\n"),
        (OSError(28, "No space left on device", "/l"), 1, "error: [Errno 28] No space left on device: '/l'\n"),
        (KeyboardInterrupt(), 130, "interrupted; run the command again to go on\n"),
    ],
)
def test_errors_become_lines_and_exit_codes(
    error: BaseException, code: int, lines: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exit) as ended:
        raising(error)()
    assert ended.value.code == code
    assert capsys.readouterr().err.endswith(lines)


def pyinfra(*words: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pyinfra", *words, "--dry"],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_pyinfra_itself_refuses_a_lab_that_is_down() -> None:
    done = pyinfra("inventory/lab.py", "deploy.py", cwd=REPOSITORY, **DOWN)
    assert done.returncode == 2
    assert "error: lab: is down" in done.stderr
    assert "Traceback" not in done.stderr


def test_pyinfra_itself_refuses_another_folder() -> None:
    done = pyinfra("lab.py", "../deploy.py", cwd=REPOSITORY / "inventory")
    assert done.returncode == 2
    assert f"run `cd {REPOSITORY}` first" in done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The script with a lock of its own and a Python that only pretends to install, so that no index is asked."""
    shutil.copy(REPOSITORY / "inv", tmp_path)
    (tmp_path / "requirements.lock").write_text("first\n")
    return tmp_path


def test_inv_runs_what_is_installed_from_the_callers_folder(copy: Path) -> None:
    python = copy / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PWD $KUBEPROOF_CALLER_FOLDER $*"\n')
    python.chmod(0o755)
    (copy / ".venv/installed.lock").write_text("first\n")
    done = subprocess.run([copy / "inv", "plan", "-i", "a b"], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == f"{copy} / tasks.py plan -i a b\n"
    done = subprocess.run([copy / "inv"], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == f"{copy} / tasks.py --list\n"


def test_inv_names_the_log_when_the_packages_cannot_be_installed(copy: Path) -> None:
    done = subprocess.run([copy / "inv"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"error: python packages: pip failed (whole log: {copy}/.venv-install.log)" in done.stderr
    assert (copy / ".venv-install.log").exists()
    assert not (copy / ".venv/installed.lock").exists()


def test_inv_takes_python_packages_from_the_bundle_that_it_is_to_use(copy: Path) -> None:
    """The wheel is named after a package of the lock, and pip refuses it: it is none, but it was found."""
    (copy / "requirements.lock").write_text(f"example==1 --hash=sha256:{'0' * 64}\n")
    (copy / "wheels").mkdir()
    (copy / "debian").mkdir()
    (copy / "wheels/example-1-py3-none-any.whl").write_text("no wheel")
    subprocess.run(["tar", "-czf", "b", "debian", "wheels"], cwd=copy, check=True)
    done = subprocess.run([copy / "inv", "bundle.use", "b"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "PACKAGES DO NOT MATCH THE HASHES" in (copy / ".venv-install.log").read_text()
    assert f"{copy}/.venv-bundle/wheels" in (copy / ".venv-install.log").read_text()


def test_inv_names_a_bundle_that_is_none(copy: Path) -> None:
    (copy / "b").write_text("text")
    done = subprocess.run([copy / "inv", "bundle.use", "b"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "error: b: is cut or not a bundle, name a file that `./inv bundle.save`"
    )


def test_lock_names_no_index_and_no_path_and_has_a_hash_for_each_package() -> None:
    text = (REPOSITORY / "requirements.lock").read_text()
    pins = [line for line in text.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    assert len(pins) > 20
    assert all(line.endswith(" \\") for line in pins)
    assert "://" not in text
    assert "--find-links " not in text.replace("--no-emit-find-links ", "")


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("lab.stop --help", "--help lab.stop"),
        ("lab.stop -h", "--help lab.stop"),
        ("--help", "--help"),
        ("--help up", "--help up"),
        ("kubectl -- get --help", "kubectl -- get --help"),
        ("matrix", "matrix"),
        ("matrix a.yaml b.yaml", "matrix --file=a.yaml --file=b.yaml"),
        ("matrix -v a.yaml --json out --keep b.yaml", "matrix -v --file=a.yaml --json out --keep --file=b.yaml"),
        ("mirror.add a:1 b.tar", "mirror.add --image=a:1 --image=b.tar"),
        ("matrix --json=out a.yaml", "matrix --json=out --file=a.yaml"),
        ("", ""),
    ],
)
def test_words_as_a_person_types_them(typed: str, read: str) -> None:
    assert as_typed(["./inv", *typed.split()]) == ["./inv", *read.split()]
