"""Inventories: which make a cluster, and what is said of the others."""

from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import Inventory

from kubeproof.config.cluster import Cluster, SshAccess, cluster_from, contents_of, load
from kubeproof.config.inventory_check import Contents, HostEntry
from kubeproof.terminal.errors import UserError
from tests.unit.samples import SETTINGS, cases

CASES = Path(__file__).parent / "inventories"


def contents(case: dict[str, Any]) -> Contents:
    settings = {**SETTINGS, **case.get("settings", {})}
    hosts = tuple(
        HostEntry(name, tuple(given["groups"]), {**settings, **{key: given[key] for key in given if key != "groups"}})
        for name, given in case["hosts"].items()
    )
    files = case.get("group_files")
    return Contents(hosts, frozenset(case.get("data_without_hosts", [])), None if files is None else frozenset(files))


@pytest.mark.parametrize("case", cases(CASES, "valid-*.yaml"))
def test_valid(case: dict[str, Any]) -> None:
    cluster = cluster_from(contents(case))
    assert {node.name for node in cluster.nodes} == set(case["hosts"])
    assert cluster.leader.name == "control-1"
    assert "control-1" not in [node.name for node in cluster.workers]


@pytest.mark.parametrize("case", cases(CASES, "invalid-*.yaml"))
def test_invalid(case: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error:
        cluster_from(contents(case))
    assert list(error.value.problems) == case["problems"]


@pytest.mark.parametrize("case", cases(CASES, "*.yaml"))
def test_contents_pass_through_json_unchanged(case: dict[str, Any]) -> None:
    assert Contents.from_json(contents(case).to_json()) == contents(case)


def inventory() -> Inventory:
    hosts = [("control-1", {"address": "192.168.200.11"}), ("worker-1", {"address": "192.168.200.12"})]
    return Inventory((hosts, SETTINGS), control_plane=(hosts[:1], {}), workers=(hosts[1:], {}))


def test_unknown_node() -> None:
    cluster: Cluster = cluster_from(contents_of(inventory()))
    assert [node.role for node in cluster.nodes] == ["control-plane", "worker"]
    assert cluster.node("worker-1") == cluster.workers[0]
    with pytest.raises(UserError, match="worker-2: no such host in the inventory, use one of control-1, worker-1"):
        cluster.node("worker-2")


def test_a_limit_leaves_out_the_others() -> None:
    cluster: Cluster = cluster_from(contents_of(inventory()))
    assert cluster.left_out(["worker-1", "worker-1"]) == ("control-1",)
    assert cluster.left_out([]) == cluster.left_out(["worker-1", "control-1"]) == ()
    said = r"--limit: no such host \(\*, worker-2\), use some of control-1, worker-1"
    with pytest.raises(UserError, match=said):
        cluster.left_out(["*", "control-1", "worker-2"])


INVENTORY = """
control_plane = [("control-1", {"address": "192.168.200.11", "ssh_user": "admin", "ssh_port": 2222})]
workers = [("worker-1", {"address": "192.168.200.12", "ssh_hostname": "198.51.100.7"})]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An inventory file with its group_data, away from the repository."""
    (tmp_path / "production.py").write_text(INVENTORY)
    (tmp_path / "group_data").mkdir()
    lines = [f"{name} = {value!r}" for name, value in SETTINGS.items()]
    (tmp_path / "group_data/all.py").write_text(
        "\n".join([*lines, "_sudo = True", f"ssh_config_file = '{tmp_path}/config'"])
    )
    (tmp_path / "config").touch()
    (tmp_path / "group_data/production.py").write_text("api_port = 7443\n")
    return tmp_path


def test_load_reads_groups_data_and_ssh_without_connecting(folder: Path) -> None:
    loaded = load(folder / "production.py")
    assert loaded.cluster.settings.api_port == 7443
    config = folder / "config"
    assert loaded.ssh["control-1"] == SshAccess("control-1", config, user="admin", port=2222, sudo=True)
    assert loaded.ssh["worker-1"] == SshAccess("198.51.100.7", config, sudo=True)


def test_a_password_of_sudo_is_taken_where_sudo_is(folder: Path) -> None:
    (folder / "group_data/workers.py").write_text("_sudo_password = 'a b'\n")
    loaded = load(folder / "production.py")
    assert [loaded.ssh[name].sudo_password for name in ("control-1", "worker-1")] == ["", "a b"]
    (folder / "group_data/workers.py").write_text("_sudo_password = 'a b'\n_sudo = False\n")
    assert load(folder / "production.py").ssh["worker-1"].sudo_password == ""
    (folder / "group_data/workers.py").write_text("_sudo_password = 'a b\\n'\n")
    with pytest.raises(UserError, match="worker-1: _sudo_password: has spaces around it or control") as error:
        load(folder / "production.py")
    assert "a b" not in str(error.value)


def test_ssh_command() -> None:
    access = SshAccess("198.51.100.7", Path("/x/config"), user="admin", port=2222, key=Path("/x/key"))
    words = "ssh -o BatchMode=yes -F /x/config -l admin -p 2222 -i /x/key 198.51.100.7"
    assert access.command() == words.split()


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("production.py", "workers = [", "cannot be loaded"),
        ("production.py", "raise SystemExit(3)", "ends the program"),
        ("production.py", "workers = ('a', 'b')", "square brackets"),
        ("group_data/production.py", "import nonsense", "No module named 'nonsense'"),
        ("group_data/production.py", "api_prot = 7443", "api_prot: no such setting, did you mean api_port"),
        ("group_data/worker.py", "x = 1", r"group_data/worker.py: .* did you mean workers.py"),
    ],
)
def test_load_says_in_one_line_what_is_wrong(folder: Path, file: str, text: str, problem: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(UserError, match=problem) as error:
        load(folder / "production.py")
    assert all("\n" not in line and "Traceback" not in line for line in error.value.problems)


def test_data_of_another_inventory_beside_it_is_no_problem(folder: Path) -> None:
    (folder / "staging.py").write_text(INVENTORY)
    (folder / "group_data/staging.py").write_text("api_port = 8443\n")
    assert load(folder / "production.py").cluster.settings.api_port == 7443


def test_inventory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such inventory file"):
        load(tmp_path / "none.py")


def test_inventory_that_refuses_passes_its_reasons_on(folder: Path) -> None:
    (folder / "production.py").write_text("import sys\nprint('error: no lab', file=sys.stderr)\nraise SystemExit(2)\n")
    with pytest.raises(UserError) as error:
        load(folder / "production.py")
    assert error.value.problems == ("no lab",)
