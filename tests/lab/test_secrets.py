"""Nobody learns a secret who need not: what a whole deploy shows of itself, and what it leaves behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.tables import paths
from lab import ssh as lab_ssh
from lab.paths import LOG_FILE, REPOSITORY, SSH_CONFIG, SSH_DIR, SSH_KEY, SSH_KNOWN_HOSTS
from lab.settings import load
from tests.lab import secrets
from tests.lab.commands import inv, succeed
from tests.lab.processes import Watcher
from tests.lab.remote import kubectl, ssh

PYINFRA = (sys.executable, "-m", "pyinfra", "inventory/lab.py", "deploy.py")
TALKATIVE = ("-vvv", "--debug", "--diff")
SENTINEL = "SEEN_BY_THE_WATCHER"
MODES = {
    "/etc/kubernetes/*.conf": "600",
    "/etc/kubernetes/manifests/*.yaml": "600",
    "/etc/kubernetes/pki/*.key": "600",
    "/etc/kubernetes/pki/etcd/*.key": "600",
    "/etc/kubernetes/pki/*.crt": "644",
    "/var/lib/kubelet/pki/kubelet-client-*.pem": "600",
    "/etc/ssh/ssh_host_*_key": "600",
    paths.ROOT_KUBECONFIG: "600",
    paths.INIT_CONFIG: "600",
}
"""As kubeadm, kubelet and sshd leave their files, and the deploy its own."""


@dataclass(frozen=True)
class Deploy:
    """A whole deploy, watched: what it and its plan printed, all programs that ran meanwhile, and the secrets now."""

    printed: dict[str, str]
    watcher: Watcher
    known: dict[str, str]


@pytest.fixture(scope="module")
def deploy(running_lab: None) -> Deploy:
    succeed("reset", "--keep-hosts")
    printed = {"pyinfra's plan": _run(*PYINFRA, "--dry", *TALKATIVE), "./inv plan": succeed("plan")}
    with Watcher() as watcher:
        ssh(load().nodes[-1].name, f"{SENTINEL}=environment sh -c 'sleep 0.3; true' {SENTINEL}=argv")
        printed["pyinfra's deploy"] = _run(*PYINFRA, "--yes", *TALKATIVE)
    printed["./inv apply"] = succeed("apply")
    return Deploy(printed, watcher, secrets.needles())


def _run(*words: str) -> str:
    done = subprocess.run(
        words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_the_watcher_sees_what_runs_on_a_node(deploy: Deploy) -> None:
    everything = "\n".join(deploy.watcher.seen)
    assert f"{SENTINEL}=argv" in everything
    assert f"{SENTINEL}=environment" in everything
    for command in ("init --config", "token create", "join --config", "token delete"):
        assert f"kubeadm {command}" in everything
    watched = deploy.watcher
    print(f"{watched.started} programs, {watched.missed} had ended before they could be read")
    assert not watched.overflows


def test_no_argument_and_no_environment_holds_a_secret(deploy: Deploy) -> None:
    assert [line for text in deploy.watcher.seen for line in secrets.betrayals(text, deploy.known)] == []


def test_nothing_that_is_printed_holds_a_secret(deploy: Deploy) -> None:
    assert "kubeadm join" in deploy.printed["pyinfra's deploy"]
    found = [
        f"{what}: {line}" for what, text in deploy.printed.items() for line in secrets.betrayals(text, deploy.known)
    ]
    assert found == []


def test_no_log_holds_a_secret(deploy: Deploy) -> None:
    files = [file for file in LOG_FILE.parent.rglob("*") if file.is_file()]
    assert {"lab.log", "deploy.log", "deploy-plan.log", "reset.log"} <= {file.name for file in files}
    debug = REPOSITORY / "pyinfra-debug.log"
    assert secrets.in_files([*files, *([debug] if debug.exists() else [])], deploy.known) == []


def test_what_looks_like_a_secret_is_found(deploy: Deploy, tmp_path: Path) -> None:
    """The test of the tests above: each kind of secret is seen in a text that has it."""
    key = SSH_KEY.read_text()
    kubeconfig = ssh(load().nodes[0].name, f"cat {paths.ADMIN_CONF}")
    token = ssh(load().nodes[0].name, "kubeadm token create --ttl 1m")
    assert token in ssh(load().nodes[0].name, "kubeadm token list")
    try:
        for place, text in enumerate((key, kubeconfig, f"--token {token}")):
            file = tmp_path / str(place)
            file.write_text(f"before\n{text}\nafter\n")
            assert secrets.in_files([file], deploy.known) != [], place
    finally:
        ssh(load().nodes[0].name, f"kubeadm token delete {token.partition('.')[0]}")


def test_no_token_is_left_after_the_join(deploy: Deploy) -> None:
    assert secrets.FORMS["a bootstrap token"].findall(ssh(load().nodes[0].name, "kubeadm token list")) == []
    assert kubectl("-n kube-system get secrets --field-selector type=bootstrap.kubernetes.io/token -o name") == ""
    # A signature of the public cluster-info by a token, which would tell that the token is still good.
    assert "jws-kubeconfig" not in kubectl("-n kube-public get configmap cluster-info -o json")
    for node in load().nodes:
        assert ssh(node.name, f"ls {paths.JOIN_CONFIG} {paths.JOIN_MARKER} 2>/dev/null || true") == ""


def test_files_with_secrets_are_readable_by_root_only(deploy: Deploy) -> None:
    wrong, checked = [], 0
    for node in load().nodes:
        for pattern, mode in MODES.items():
            for line in ssh(node.name, f"stat -L -c '%a %U %n' {pattern} 2>/dev/null || true").splitlines():
                checked += 1
                if not line.startswith(f"{mode} root "):
                    wrong.append(f"{node.name}: {line}, not {mode} root")
    assert wrong == []
    assert checked > 30


def test_files_of_this_machine_are_readable_by_their_owner_only(inventory: LoadedInventory, deploy: Deploy) -> None:
    kubeconfig = Path(inventory.cluster.settings.kubeconfig).expanduser()
    logs = [file for file in LOG_FILE.parent.iterdir() if file.is_file()]
    files = [kubeconfig, SSH_KEY, SSH_CONFIG, SSH_KNOWN_HOSTS, *logs]
    modes = {str(file): oct(file.stat().st_mode & 0o777) for file in files}
    assert modes == {str(file): "0o600" for file in files}
    assert SSH_DIR.stat().st_mode & 0o777 == 0o700


@contextmanager
def _another_host_key(name: str) -> Iterator[None]:
    """known_hosts has another key for this host than the host has, as after somebody has put himself in its place."""
    genuine = SSH_KNOWN_HOSTS.read_text()
    other = lab_ssh.ensure_key().split()[1]
    forged = [
        " ".join([*line.split()[:2], other]) if line.startswith(f"{name},") else line for line in genuine.splitlines()
    ]
    SSH_KNOWN_HOSTS.write_text("\n".join(forged) + "\n")
    try:
        yield
    finally:
        SSH_KNOWN_HOSTS.write_text(genuine)


@pytest.mark.parametrize("command", ["verify", "apply"])
def test_a_changed_host_key_is_refused_and_explained(deploy: Deploy, command: str) -> None:
    name = load().nodes[-1].name
    with _another_host_key(name):
        outcome = inv(command)
    assert outcome.code == 1
    flat = " ".join(outcome.output.split())
    assert "another host key than known_hosts has" in flat
    assert "there is somebody in between" in flat
    assert f"ssh-keygen -R {name} -f" in flat
    assert "Traceback" not in outcome.output


def test_a_host_that_is_not_known_is_refused_and_stays_unknown(deploy: Deploy) -> None:
    name = load().nodes[-1].name
    genuine = SSH_KNOWN_HOSTS.read_text()
    others = "".join(f"{line}\n" for line in genuine.splitlines() if not line.startswith(f"{name},"))
    SSH_KNOWN_HOSTS.write_text(others)
    try:
        outcome = inv("plan")
        assert SSH_KNOWN_HOSTS.read_text() == others
    finally:
        SSH_KNOWN_HOSTS.write_text(genuine)
    assert outcome.code == 1
    assert "found in known_hosts" in " ".join(outcome.output.split())


def test_the_source_of_packages_is_bound_to_its_key(inventory: LoadedInventory, deploy: Deploy) -> None:
    for node in load().nodes:
        lines = ssh(node.name, f"cat {paths.APT_SOURCE}").splitlines()
        assert lines
        assert all(f"[signed-by={paths.APT_KEYRING}]" in line for line in lines)
        assert ssh(node.name, "ls /etc/apt/trusted.gpg /etc/apt/trusted.gpg.d/*kube* 2>/dev/null || true") == ""


def test_another_key_of_the_packages_is_refused_before_any_host_is_changed(deploy: Deploy, tmp_path: Path) -> None:
    inventory = tmp_path / "lab.py"
    inventory.write_text((REPOSITORY / "inventory/lab.py").read_text())
    data = tmp_path / "group_data"
    data.mkdir()
    for file in (REPOSITORY / "inventory/group_data").glob("*.py"):
        (data / file.name).write_text(file.read_text())
    with (data / "lab.py").open("a") as lab_data:
        lab_data.write(f'kubernetes_apt_key_fingerprint = "{"0" * 40}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "pyinfra", str(inventory), "deploy.py", "--yes"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode != 0
    assert f"not {'0' * 40}" in done.stdout + done.stderr


def test_the_cluster_is_well_afterwards(deploy: Deploy) -> None:
    succeed("verify")
