"""The ssh configuration as ssh itself reads it, and files that change only when their content does."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lab import ssh
from lab.settings import FILE, parse, read_file

LAB = parse(read_file(FILE), {})
KEYS = {node.name: f"ssh-ed25519 KEYOF{node.name} root@{node.name}\n" for node in LAB.nodes}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "ssh"
    monkeypatch.setattr(ssh, "SSH_DIR", folder)
    for name, file in (("CONFIG", "config"), ("KEY", "id_ed25519"), ("KNOWN_HOSTS", "known_hosts")):
        monkeypatch.setattr(ssh, f"SSH_{name}", folder / file)
    return folder


def test_known_hosts_has_each_node_by_name_and_address(folder: Path) -> None:
    folder.mkdir()
    assert ssh.write_config(LAB.nodes, KEYS)
    assert (folder / "known_hosts").read_text().splitlines() == [
        "k8s-master,192.168.200.11 ssh-ed25519 KEYOFk8s-master",
        "k8s-node1,192.168.200.12 ssh-ed25519 KEYOFk8s-node1",
        "k8s-node2,192.168.200.13 ssh-ed25519 KEYOFk8s-node2",
    ]
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def test_the_same_again_is_no_change_and_another_key_is_one(folder: Path) -> None:
    folder.mkdir()
    ssh.write_config(LAB.nodes, KEYS)
    assert not ssh.write_config(LAB.nodes, KEYS)
    assert ssh.write_config(LAB.nodes, {**KEYS, "k8s-node1": "ssh-ed25519 OTHER x\n"})
    assert ssh.write_config(LAB.nodes[:2], KEYS)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed on this machine")
@pytest.mark.parametrize("name", ["k8s-node2", "192.168.200.13"])
def test_ssh_checks_host_keys_strictly_by_name_and_by_address(folder: Path, name: str) -> None:
    folder.mkdir()
    ssh.write_config(LAB.nodes, KEYS)
    listing = subprocess.run(["ssh", "-G", "-F", folder / "config", name], capture_output=True, text=True, check=True)
    read = dict(line.split(" ", 1) for line in listing.stdout.splitlines())
    assert (read["hostname"], read["user"], read["identitiesonly"]) == ("192.168.200.13", "root", "yes")
    assert read["stricthostkeychecking"] in ("yes", "true")
    assert read["userknownhostsfile"] == str(folder / "known_hosts")
    assert read["globalknownhostsfile"] == "/dev/null"
    assert read["identityfile"] == str(folder / "id_ed25519")


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed on this machine")
class TestKeys:
    """Key pairs are made once, and again only if half of one is missing."""

    def test_the_labs_key(self, folder: Path) -> None:
        line = ssh.ensure_key()
        assert line.startswith("ssh-ed25519 ")
        assert line.endswith(" kubeproof-lab\n")
        assert ssh.ensure_key() == line
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "id_ed25519").stat().st_mode & 0o777 == 0o600

    def test_half_a_pair_is_replaced(self, folder: Path) -> None:
        line = ssh.ensure_key()
        (folder / "id_ed25519.pub").unlink()
        assert ssh.ensure_key() != line

    def test_every_node_has_its_own_host_key(self, folder: Path, tmp_path: Path) -> None:
        roots = [tmp_path / name for name in ("one", "two")]
        for root in roots:
            (root / "etc/ssh").mkdir(parents=True)
        one, two = (ssh.ensure_host_key(root, root.name) for root in roots)
        assert one != two
        assert one.endswith(" root@one\n")
        assert ssh.ensure_host_key(roots[0], "one") == one
