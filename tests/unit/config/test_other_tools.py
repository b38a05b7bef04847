"""Inventory files that take their hosts from Terraform or Ansible.

Neither program is here: stand-ins of the same name print what `terraform output -json` is documented to print, and what
ansible-inventory was recorded to print of ansible/hosts.ini.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kubeproof.config import cluster, other_tools
from kubeproof.config.cluster import LoadedInventory, load
from kubeproof.terminal.errors import UserError
from tests.unit.config.test_inventory_files import run_prepared
from tests.unit.samples import SETTINGS

ANSIBLE = Path(__file__).parent / "ansible"
HEAD = "from kubeproof.config.other_tools import ansible, terraform\n"
OUTPUTS = {
    "control_plane": {
        "sensitive": False,
        "type": ["tuple", [["object", {"address": "string", "name": "string", "ssh_user": "string"}]]],
        "value": [
            {"address": "192.168.200.11", "name": "control-1", "ssh_hostname": "203.0.113.11", "ssh_user": "admin"}
        ],
    },
    "workers": {"sensitive": False, "value": [{"name": "worker-1", "ssh_hostname": "192.168.200.21"}]},
    "bare": {"sensitive": False, "value": ["192.168.200.31"]},
    "number": {"sensitive": False, "value": 3},
    "nameless": {"sensitive": False, "value": [{"address": "192.168.200.11"}]},
    "nobody": {"sensitive": False, "value": []},
}

Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a stand-in of a name, with a text for sh, where programs are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(cluster, "run_reader", run_prepared)

    def put(name: str, text: str) -> None:
        file = folder / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    return put


@pytest.fixture
def stand_ins(program: Program, tmp_path: Path) -> Path:
    """Both stand-ins, and the folder of Terraform's configuration, outside of which its own prints nothing."""
    (tmp_path / "infrastructure").mkdir()
    (tmp_path / "outputs.json").write_text(json.dumps(OUTPUTS))
    program(
        "terraform",
        f'[ "$PWD" = {tmp_path}/infrastructure ] && [ "$*" = "output -json" ] && cat {tmp_path}/outputs.json',
    )
    program("ansible-inventory", f'[ "$*" = "--inventory {ANSIBLE}/hosts.ini --list" ] && cat {ANSIBLE}/hosts.json')
    return tmp_path / "infrastructure"


def loaded(folder: Path, text: str) -> LoadedInventory:
    (folder / "group_data").mkdir(exist_ok=True)
    settings = "".join(f"{name} = {value!r}\n" for name, value in SETTINGS.items())
    (folder / "group_data/all.py").write_text(settings)
    (folder / "mine.py").write_text(HEAD + text)
    return load(folder / "mine.py")


def refused(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as refusal:
        loaded(folder, text)
    (line,) = refusal.value.problems
    assert len(line.splitlines()) == 1
    return line


def test_hosts_of_terraform(stand_ins: Path, tmp_path: Path) -> None:
    inventory = loaded(
        tmp_path,
        f"control_plane = terraform({str(stand_ins)!r}, 'control_plane')\n"
        f"workers = terraform({str(stand_ins)!r}, 'workers')\n",
    )
    assert [(node.name, str(node.address)) for node in inventory.cluster.nodes] == [
        ("control-1", "192.168.200.11"),
        ("worker-1", "192.168.200.21"),
    ]
    assert inventory.ssh["control-1"].command()[-3:] == ["-l", "admin", "203.0.113.11"]


def test_hosts_of_ansible(stand_ins: Path, tmp_path: Path) -> None:
    file = str(ANSIBLE / "hosts.ini")
    inventory = loaded(
        tmp_path,
        f"control_plane = ansible({file!r}, 'kube_control_plane')\nworkers = ansible({file!r}, 'kube_node')\n"
        "for _, _data in workers:\n    _data.pop('ssh_key', None)\n",
    )
    assert [(node.name, str(node.address)) for node in inventory.cluster.nodes] == [
        ("control-1", "192.168.200.11"),
        ("worker-1", "192.168.200.21"),
        ("worker-2", "192.168.200.22"),
    ]
    access = inventory.ssh["worker-2"]
    assert (access.hostname, access.user, access.port, access.sudo) == ("192.168.200.22", "admin", 2222, True)
    assert inventory.ssh["control-1"].hostname == "203.0.113.11"


def test_all_that_is_taken_of_ansible(stand_ins: Path) -> None:
    """A group of groups; no variable that says nothing of how a host is reached, and no password."""
    hosts = dict(other_tools.ansible(str(ANSIBLE / "hosts.ini"), "k8s_cluster"))
    assert list(hosts) == ["control-1", "worker-1", "worker-2"]
    assert hosts["worker-2"] == {
        "address": "192.168.200.22",
        "ssh_hostname": "192.168.200.22",
        "ssh_user": "admin",
        "ssh_port": 2222,
        "ssh_key": "~/.ssh/id_rack",
        "_sudo": True,
    }


@pytest.mark.parametrize(("become", "sudo"), [("no", False), ("Yes", True), (True, True)])
def test_whether_ansible_becomes_root(become: object, sudo: bool, program: Program) -> None:
    answer = {"_meta": {"hostvars": {"a": {"ansible_become": become}}}, "all": {"hosts": ["a"]}}
    program("ansible-inventory", f"echo '{json.dumps(answer)}'")
    assert other_tools.ansible(str(ANSIBLE / "hosts.ini"), "all") == [("a", {"_sudo": sudo})]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("masters", "No Terraform output with key: `masters.value`, valid keys:"),
        ("number", "should be `list`, got `int`"),
        ("nameless", "missing `name` or `ssh_hostname` keys"),
        ("nobody", "has no hosts"),
    ],
)
def test_an_output_that_lists_no_hosts(output: str, said: str, stand_ins: Path, tmp_path: Path) -> None:
    line = refused(tmp_path, f"control_plane = terraform({str(stand_ins)!r}, {output!r})\n")
    assert line.startswith(f"Terraform's output {output} in {stand_ins}: ")
    assert said in line


def test_hosts_that_are_addresses_alone_are_named_after_them(stand_ins: Path) -> None:
    found = other_tools.terraform(str(stand_ins), "bare")
    assert found == [("192.168.200.31", {"ssh_hostname": "192.168.200.31", "address": "192.168.200.31"})]


@pytest.mark.parametrize(
    ("name", "text", "call", "said"),
    [
        ("terraform", "echo 'Error: not initialised' >&2; exit 1", "terraform('/', 'a')", "Error: not initialised"),
        ("terraform", "echo Hello", "terraform('/', 'a')", "`terraform output -json` gives no JSON"),
        ("none", "", "terraform('/', 'a')", "terraform: "),
        ("none", "", "terraform('/none', 'a')", "/none: is no folder"),
        ("none", "", "ansible('/none', 'a')", "/none: no such file"),
        ("none", "", "ansible('/etc/passwd', 'a')", "there is no program ansible-inventory, install Ansible"),
        (
            "ansible-inventory",
            "echo '[ERROR]: cut' >&2; exit 4",
            "ansible('/etc/passwd', 'a')",
            "read it ([ERROR]: cut)",
        ),
        ("ansible-inventory", "echo Hello", "ansible('/etc/passwd', 'a')", "ansible-inventory gives no JSON"),
    ],
)
def test_what_goes_wrong_is_one_line(
    name: str, text: str, call: str, said: str, program: Program, tmp_path: Path
) -> None:
    program(name, text)
    assert said in refused(tmp_path, f"control_plane = {call}\n")


def test_a_group_that_is_not_there(stand_ins: Path, tmp_path: Path) -> None:
    line = refused(tmp_path, f"workers = ansible({str(ANSIBLE / 'hosts.ini')!r}, 'nodes')\n")
    assert line.endswith("no such group, use one of k8s_cluster, kube_control_plane, kube_node, racks")


def test_a_program_that_waits(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(other_tools, "SECONDS", 0.2)
    program("ansible-inventory", "exec sleep 30")
    with pytest.raises(SystemExit):
        other_tools.ansible("/etc/passwd", "a")
    assert "has not ended within 0.2 s" in capsys.readouterr().err
