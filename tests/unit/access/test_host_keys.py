"""What is said when a host has another key than it had."""

from pathlib import Path

import pytest

from kubeproof.access import openssh
from kubeproof.config.cluster import LoadedInventory, SshAccess
from kubeproof.deploy import pyinfra_run
from kubeproof.deploy.run_report import Report
from kubeproof.proof import hosts

SAID = """@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Host key verification failed."""


@pytest.fixture
def access(tmp_path: Path) -> SshAccess:
    config = tmp_path / "config"
    config.write_text(f"Host *\n    UserKnownHostsFile {tmp_path}/known\n")
    return SshAccess("node-a", config_file=config)


def test_the_remedy_names_the_host_and_the_file_that_ssh_uses(access: SshAccess, tmp_path: Path) -> None:
    said = openssh.explanation(access)
    assert "\n" not in said
    assert said.endswith(f"ssh-keygen -R node-a -f {tmp_path}/known")


def test_a_jump_host_may_be_the_one(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host node-a\n    ProxyJump bastion\n")
    access = SshAccess("node-a", config_file=tmp_path / "config")
    assert openssh.explanation(access).startswith(
        f"it, or its jump host bastion (`ssh -o BatchMode=yes -F {tmp_path}/config node-a true` tells which), answers"
    )


def test_another_port_is_part_of_the_name(tmp_path: Path) -> None:
    assert "ssh-keygen -R [node-a]:2222 -f " in openssh.explanation(SshAccess("node-a", port=2222))


def test_the_proof_says_it_instead_of_sshs_last_words(access: SshAccess) -> None:
    error = hosts._unreachable(SAID, access)
    assert str(error) == openssh.explanation(access)
    assert error.advice == ""


def test_other_words_of_ssh_stay_with_advice(access: SshAccess) -> None:
    error = hosts._unreachable("a\nConnection refused", access)
    assert str(error) == "Connection refused"
    assert "start the node" in error.advice


def test_pyinfras_hosts_are_explained_too(access: SshAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = Path("/x/inventory.py")
    loaded = LoadedInventory(inventory, None, {"node-a": access})  # type: ignore[arg-type]
    monkeypatch.setattr(pyinfra_run, "load", lambda _file: loaded)
    changed = Report(changed_keys=("node-a",))
    assert pyinfra_run.changed_host_keys(changed, inventory) == [f"node-a: {openssh.explanation(access)}"]
    assert pyinfra_run.changed_host_keys(Report(), inventory) == []
