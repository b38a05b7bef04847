"""Inventory files as people bring them: programs, files and words of other tools, and mistakes of every kind."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.config import cluster, connection_data, inventory_shape
from kubeproof.config.cluster import cluster_from, load
from kubeproof.config.inventory_check import Contents, HostEntry
from kubeproof.terminal.errors import UserError
from tests.unit import prepared
from tests.unit.samples import SETTINGS

LEADER = 'control_plane = [("c1", {"address": "192.168.200.11"})]\n'
HOSTS = LEADER + 'workers = [("w1", {"address": "192.168.200.12"})]\n'
run_reader = cluster.run_reader


def run_prepared(file: Path, answer: IO[bytes], said: IO[bytes]) -> int:
    """What `cluster.run_reader` does, by a process that has imported what it needs before."""
    return prepared.run("kubeproof.config.inventory_reader", [str(file)], os.environ, answer, said)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of inventories with the settings beside them, and a reader that starts at once."""
    monkeypatch.setattr(cluster, "run_reader", run_prepared)
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/all.py").write_text("".join(f"{name} = {value!r}\n" for name, value in SETTINGS.items()))
    return tmp_path


@pytest.fixture
def started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with a reader that is started for each file, as in use."""
    monkeypatch.setattr(cluster, "run_reader", run_reader)
    return folder


def refusal(question: Callable[[], object]) -> "tuple[str, ...] | None":
    """The lines of a refusal; None if there is none."""
    try:
        question()
    except UserError as error:
        return error.problems or ("refused without a reason\n",)
    return None


def problems(folder: Path, text: "str | bytes", name: str = "mine.py") -> tuple[str, ...]:
    """What is said of an inventory; nothing if it is taken. Always one line each, none of them a traceback's."""
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    found = refusal(lambda: load(folder / name))
    assert all(line.strip() and len(line.splitlines()) == 1 and "Traceback" not in line for line in found or ())
    return found or ()


@pytest.mark.parametrize(
    "text",
    [
        "print('asking')\n" + HOSTS,
        "import sys\nsys.stdout.write('{\"hosts\": []}')\nsys.stdout.flush()\n" + HOSTS,
        "import os\nos.write(1, b'\\xff\\x00 text')\n" + HOSTS,
        "import subprocess\nsubprocess.run(['echo', 'from a program'])\n" + HOSTS,
        "import sys\nprint('error: no error of ours', file=sys.stderr)\n" + HOSTS,
        "import warnings\nwarnings.warn('old')\n" + HOSTS,
        "import logging\nlogging.warning('old')\n" + HOSTS,
        "import atexit\natexit.register(print, 'bye')\n" + HOSTS,
        "import threading, time\nthreading.Thread(target=time.sleep, args=(300,)).start()\n" + HOSTS,
        "import os, sys\nsys.stdout.close()\nos.close(1)\nos.chdir('/')\n" + HOSTS,
        HOSTS.replace("\n", "\r\n"),
        '"""Grüße"""\n' + HOSTS,
        "from pathlib import Path\nhere = Path(__file__).read_text()\n" + HOSTS,
        "def address(n):\n    return f'192.168.200.{n}'\n"
        "control_plane = [('c1', {'address': address(11)})]\n"
        "workers = [(f'w{n}', {'address': address(20 + n)}) for n in range(3)]\n",
        'control_plane = [("c1", {"address": "192.168.200.11"})]\nworkers = []\n',
        LEADER + 'workers = ([("w1", {"address": "192.168.200.12"})], {"ssh_user": "admin"})\n',
        "_names = ('a', 'b')\nPORTS = [1, 2]\n" + HOSTS,
    ],
)
def test_programs_that_name_hosts_are_taken(folder: Path, text: str) -> None:
    assert problems(folder, text) == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import sys\nsys.exit('the CMDB is away')\n", "mine.py, line 2: ends the program .*the CMDB is away"),
        ("raise SystemExit\n", "ends the program"),
        ("import sys\nsys.exit(0)\n", r"ends the program \(sys.exit\(0\)\)"),
        ("import os\nos._exit(0)\n", "exit code 0 before its hosts were read"),
        ("import os\nos._exit(2)\n", "exit code 2 before its hosts were read"),
        ("import os\nos.kill(os.getpid(), 9)\n", "ended by signal 9"),
        ("raise KeyboardInterrupt\n", "cannot be loaded"),
        ("x = 1\nraise ValueError('one\\ntwo')\n", r"line 2: cannot be loaded \(ValueError: one two\)"),
        ("class E(Exception):\n def __str__(self):\n  return 1/0\nraise E\n", r"\(E: it says no more\)"),
        ("import nonsense\n", "No module named 'nonsense'"),
        ("open('/none/hosts.json')\n", "line 1: .*No such file"),
        ("def f(): f()\nf()\n", "RecursionError"),
        ("workers = [\n", "line 1: .*SyntaxError.* as inventory/example.py"),
        ("if True:\n\tx = 1\n        y = 2\n", "TabError"),
        ("[workers]\nw1 ansible_host=192.0.2.1\n", "SyntaxError"),
        ("all:\n  hosts:\n    a: {}\n", "SyntaxError"),
        ("", "names no host"),
        ("x = 1\n", "names no host"),
        ('{"all": {"hosts": {}}}\n', "names no host"),
        (b"\xef\xbb\xbf" + HOSTS.encode(), "byte order mark"),
        (b"x = 1\n# Gr\xfc\xdfe\n" + HOSTS.encode(), r"line 2: is no UTF-8 text \(byte 0xfc\)"),
        (HOSTS.encode("utf-16"), "no UTF-8"),
        (HOSTS.encode() + b"\0", "null bytes"),
    ],
)
def test_programs_that_end_in_another_way(folder: Path, text: "str | bytes", line: str) -> None:
    (found,) = problems(folder, text)
    assert re.search(line, found)


def test_a_program_that_hangs_is_ended_with_what_it_has_started(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "INVENTORY_SECONDS", 4)
    text = f"""
import subprocess, time
child = subprocess.Popen(["sleep", "300"])
open("{started}/pid", "w").write(str(child.pid))
print("asking the CMDB", flush=True)
time.sleep(300)
"""
    (found,) = problems(started, text)
    assert re.search(r"has not ended within 4 s \(its last words: asking the CMDB\)", found)
    child = Path(f"/proc/{(started / 'pid').read_text()}/stat")
    deadline = time.monotonic() + 10
    # A signal is heeded when the process runs next.
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_program_that_leaves_another_one_running_is_not_waited_for(started: Path) -> None:
    began = time.monotonic()
    text = f'import subprocess\nopen("{started}/pid", "w").write(str(subprocess.Popen(["sleep", "50"]).pid))\n'
    assert problems(started, text + HOSTS) == ()
    assert time.monotonic() - began < 40
    os.kill(int((started / "pid").read_text()), 9)


def test_a_program_that_asks_is_not_answered(started: Path) -> None:
    assert "EOFError" in problems(started, "input('name? ')\n")[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hosts.yaml", "all:\n  hosts:\n"),
        ("hosts.ini", "[workers]\n"),
        ("hosts", "[workers]\nw1\n"),
        ("cluster.json", "{}"),
        ("main.tf", 'resource "x" "y" {}'),
        ("inventory.toml", "[hosts]\n"),
    ],
)
def test_files_of_other_tools(folder: Path, name: str, text: str) -> None:
    (found,) = problems(folder, text, name)
    assert re.search(r"is no Python file.*inventory/example\.py", found)


def test_paths_that_are_no_file(folder: Path) -> None:
    (folder / "mine.py").write_text(HOSTS)
    for written, expected in (
        (folder, "is a folder"),
        (folder / "mine", r"did you mean \S+/mine\.py"),
        (folder / "other.py", "no such inventory file"),
        (Path("@local"), "no such inventory file"),
        (Path("host1,host2"), "no such inventory file"),
        (Path("/dev/null"), "no such inventory file"),
    ):
        with pytest.raises(UserError, match=expected):
            load(written)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('control_plane = "c1"\n', "control_plane: is no list but of type str, put its hosts in square brackets"),
        ('control_plane = ("c1",)\n', "is no list but of type tuple"),
        ('control_plane = {"c1": {"address": "192.168.200.11"}}\n', "is no list but of type dict"),
        ('control_plane = {"c1"}\n', "is no list but of type set"),
        ('control_plane = (name for name in ["c1"])\n', "is no list but of type generator"),
        ("control_plane = ()\n", "is no list but of type tuple"),
        ("control_plane = None\n", "is no list but None"),
        ("control_plane = [None]\n", "control_plane, host 1: is no host"),
        ('control_plane = [["c1", {}]]\n', r"host 1: is no host \(\['c1', {}\]\)"),
        ('control_plane = [[("c1", {})]]\n', "host 1: is no host"),
        ('control_plane = [("c1", "192.168.200.11")]\n', "host 1: is no host"),
        ('control_plane = [("c1", {}, {})]\n', "host 1: is no host"),
        ('control_plane = [{"c1": {}}]\n', "host 1: is no host"),
        ("control_plane = [(1, {})]\n", "host 1: is no host"),
        ('control_plane = [("c1", {1: 2})]\n', "c1: has data without a name"),
        ('control_plane = [("", {})]\n', "empty name"),
        ('control_plane = ["@local"]\n', "^host @local: is a connector"),
        ('control_plane = [("@docker/debian", {})]\n', "^host @docker/debian: is a connector"),
        ('control_plane = [("@ssh/c1", {})]\n', "^host @ssh/c1: is a connector"),
        ('control_plane = ["@vagrant/c1"]\n', "^host @vagrant/c1: is a connector"),
        ('control_plane = ["@terraform/hosts"]\n', "^host @terraform/hosts: is a connector"),
        ('control_plane = ["root@c1"]\n', "write 'c1' and set ssh_user to 'root'"),
        (LEADER + 'worker = {"w1": {"address": "192.168.200.12"}}\n', "write workers = "),
        (LEADER + 'worker = [["w1", {}]]\n', "write workers = "),
        (LEADER + 'nodes = (("w1", {}), ("w2", {}))\n', "nodes: is a tuple, which pyinfra reads as a group"),
        (LEADER + "ports = (1, 2)\n", "ports: is a tuple.*begin its name with an underscore: _ports"),
        (LEADER + "pairs = [(1, 2)]\n", r"pairs: has the item \(1, 2\), which is no host"),
        (LEADER.replace("control_plane", "masters"), r"group masters: .* did you mean control_plane\?"),
        (HOSTS.replace("control_plane", "control"), r"group control: .* did you mean control_plane\?"),
        (HOSTS.replace("workers", "kube_node"), r"group kube_node: .* did you mean workers\?"),
        (HOSTS.replace("workers", "Workers"), r"group Workers: .* did you mean workers\?"),
        (HOSTS + 'names = ["w1"]\n', "or _names if it is no group of hosts"),
        (HOSTS.replace('"w1"', '"c1"'), "is in both control_plane and workers"),
        (HOSTS + "workers *= 2\n", "w1: is named twice in workers"),
    ],
)
def test_groups_of_another_shape(folder: Path, text: str, line: str) -> None:
    assert any(re.search(line, found) for found in problems(folder, text)), problems(folder, text)


def test_a_file_with_the_name_of_a_group(folder: Path) -> None:
    assert "give the file another name" in problems(folder, LEADER, "workers.py")[0]
    assert problems(folder, HOSTS, "workers.py") == ()


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("mine.py", "print('hello')\n", ""),
        ("mine.py", "import sys\nsys.exit(3)\n", r"mine.py, line 2: ends the program \(sys.exit\(3\)\)"),
        ("mine.py", "api_port = \n", "group_data/mine.py, line 1: cannot be loaded"),
        ("mine.py", "1 / 0\n", "group_data/mine.py, line 1: .*ZeroDivisionError"),
        ("mine.yaml", "api_port: 7443\n", "group_data/mine.yaml: is not read, write the settings as Python"),
        ("all.yml", "api_port: 7443\n", "group_data/all.yml: is not read"),
        ("workers.json", "{}", "group_data/workers.json: is not read"),
        ("other.yaml", "api_port: 7443\n", ""),
        ("mine.py", "no_proxy = {'.example.net'}\n", "no_proxy: is not a list but of type set"),
        ("mine.py", "no_proxy = '.example.net'\n", "no_proxy: is not a list but of type str"),
        ("mine.py", "no_proxy = ('.example.net',)\n", ""),
        ("mine.py", "no_proxy = (name for name in ['a'])\n", "no_proxy: is not a list but of type generator"),
        ("mine.py", "no_proxy = [['a']]\n", "no_proxy: has the item"),
        ("mine.py", "demo = 'false'\n", "demo: is not a truth value but of type str"),
        ("mine.py", "demo = 0\n", "demo: is not a truth value but of type int"),
        ("mine.py", "demo = None\n", "demo: is not a truth value but None"),
        ("mine.py", "api_port = '7443'\n", "api_port: is not a whole number but of type str"),
        ("mine.py", "api_port = 7443.0\n", "api_port: is not a whole number but of type float"),
        ("mine.py", "kubernetes_version = 1.28\n", "kubernetes_version: is not a text but of type float"),
        (
            "mine.py",
            "image_repository = b'registry.example.net'\n",
            "image_repository: is not a text but of type bytes",
        ),
        ("mine.py", "from pathlib import Path\nkubeconfig = Path('/x/config')\n", ""),
        ("mine.py", "from ipaddress import ip_network\nnode_network = ip_network('192.168.200.0/24')\n", ""),
        ("mine.py", "kube_version = '1.28.0'\n", r"kube_version: no such setting, did you mean kubernetes_version\?"),
        ("mine.py", "_sudo = 'no'\n", "_sudo: is not a truth value"),
        ("mine.py", "name = 'prod'\n", "name: no such setting"),
        ("mine.py", "ansible_python_interpreter = '/usr/bin/python3'\n", "no such setting, remove it"),
    ],
)
def test_files_of_settings(folder: Path, file: str, text: str, line: str) -> None:
    (folder / "group_data" / file).write_text(text)
    found = problems(folder, HOSTS)
    assert bool(found) == bool(line), found
    assert all(re.search(line, one) for one in found)


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("ssh_port", "2222", "ssh_port: is not a whole number but of type str"),
        ("ssh_port", "", "ssh_port: is not a whole number"),
        ("ssh_port", 0, "ssh_port: is out of range"),
        ("ssh_port", -1, "ssh_port: is out of range"),
        ("ssh_port", 70000, "ssh_port: is out of range"),
        ("ssh_port", 22.0, "ssh_port: is not a whole number but of type float"),
        ("ssh_port", True, "ssh_port: is not a whole number but of type bool"),
        ("ssh_port", [22], "ssh_port: is not a whole number but of type list"),
        ("ssh_port", None, ""),
        ("ssh_port", 2222, ""),
        ("ssh_hostname", "root@192.0.2.1", "set ssh_user instead"),
        ("ssh_hostname", "192.0.2.1:2222", "set ssh_port"),
        ("ssh_hostname", "[2001:db8::1]:22", "set ssh_port"),
        ("ssh_hostname", "[2001:db8::1]", "set ssh_port"),
        ("ssh_hostname", "ssh://192.0.2.1", "write the name or address alone"),
        ("ssh_hostname", "-oProxyCommand=sh", "is no name or address"),
        ("ssh_hostname", "c1 c2", "is no name or address"),
        ("ssh_hostname", "", "is no name or address"),
        ("ssh_hostname", 1, "is not a text"),
        ("ssh_hostname", "2001:db8::1", ""),
        ("ssh_hostname", "bastion.example.net", ""),
        ("ssh_user", "-x", "is no name of a user"),
        ("ssh_user", "admin@c1", "is no name of a user"),
        ("ssh_user", 0, "is not a text"),
        ("ssh_user", "admin", ""),
        ("ssh_user", None, ""),
        ("ssh_key", "{folder}/none", r"^c1: ssh_key: is no file on this machine"),
        ("ssh_key", "{folder}", "is no file on this machine"),
        ("ssh_key", "{folder}/id.pub", r"is a public key \(\S+\), name the private one, e.g. \S+/id$"),
        ("ssh_key", "{folder}/id", ""),
        ("ssh_key", "", "ssh_key: has no value"),
        ("ssh_key", "~nobody-here/id", "c1: ssh_key"),
        ("ssh_key", "a\0b", "c1: ssh_key"),
        ("ssh_config_file", "{folder}/none", "ssh_config_file: is no file"),
        ("ssh_password", 5, r"ssh_password: is not a text but of type int \(…\)"),
        ("ssh_allow_agent", "no", "is not a truth value"),
        ("_sudo", "yes", "_sudo: is not a truth value"),
        ("ansible_host", "x", r"did you mean ssh_hostname\?"),
        ("ansible_user", "x", r"did you mean ssh_user\?"),
        ("ansible_port", 1, r"did you mean ssh_port\?"),
        ("ansible_ssh_private_key_file", "x", r"did you mean ssh_key\?"),
        ("ansible_become", True, r"did you mean _sudo\?"),
        ("ansible_become_user", "x", r"did you mean _sudo_user\?"),
        ("ip", "192.0.2.1", r"ip: no such setting, did you mean address\?"),
        ("user", "x", r"user: no such setting, did you mean ssh_user\?"),
        ("address", "2001:db8::1", "is not an IPv4 address"),
    ],
)
def test_how_a_host_is_reached(folder: Path, name: str, value: object, line: str) -> None:
    (folder / "id").write_text(KEY)
    (folder / "id.pub").write_text("ssh-ed25519 AAAA me\n")
    given = value.replace("{folder}", str(folder)) if isinstance(value, str) else value
    data = {"address": "192.168.200.11", name: given}
    found = problems(folder, f"control_plane = [('c1', {data!r})]\nworkers = []\n")
    assert bool(found) == bool(line), found
    assert all(re.search(line, one) for one in found)


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=2)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
_names = st.sampled_from(["control_plane", "workers", "masters", "nodes", "all", "x"])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_names, _values, max_size=4))
def test_whatever_a_file_defines_is_answered_in_lines(defined: dict[str, Any]) -> None:
    for line in inventory_shape.problems(defined, "mine"):
        assert line.isprintable()


def test_a_name_that_cannot_be_printed_is_told_as_it_is_written() -> None:
    (line,) = inventory_shape.problems({"control_plane": ["@\x1e"]}, "mine")
    assert line.startswith("host @\\x1e: is a connector")


_keys = st.sampled_from([*connection_data.READERS, "address", *SETTINGS, "ansible_host"]) | st.text(max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_keys, _values, max_size=4), st.text(max_size=6))
def test_whatever_data_a_host_has_is_answered_in_lines(data: dict[str, object], name: str) -> None:
    host = HostEntry(name, ("control_plane",), {**SETTINGS, **data})
    for line in refusal(lambda: cluster_from(Contents((host,)))) or ():
        assert line.isprintable()
    for line in connection_data.file_problems([("c1", data)]):
        assert len(line.splitlines()) == 1
