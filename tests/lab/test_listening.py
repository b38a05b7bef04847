"""The audit of what listens: on the machine nothing of the lab but on its gateway, on nodes only what is known."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubeproof.config.cluster import LoadedInventory
from lab import nodes, process
from lab.paths import CACHE, REPOSITORY, RUN, STATE
from lab.settings import load
from lab.wait import wait_until
from tests.lab import listening
from tests.lab.listening import Listener

pytestmark = pytest.mark.usefixtures("running_lab")

NODES = [node.name for node in load().nodes]
LISTENS = """
import socket, sys, time
server = socket.create_server((sys.argv[1], 0))
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""


def _of_the_lab(found: Listener) -> bool:
    """Whether a process of this machine is the lab's: started by it, or with its folders in its command line."""
    # While a socket is looked at its process may end.
    try:
        command = Path(f"/proc/{found.pid}/cmdline").read_text()
        same_files = Path(f"/proc/{found.pid}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    except OSError:
        return False
    # In another mount namespace the same path is another folder.
    folders = (str(STATE), str(CACHE), str(RUN), str(REPOSITORY)) if same_files else ()
    return any(folder in command for folder in folders) or not _ancestors(found.pid).isdisjoint(_started())


def _started() -> set[int]:
    return {pid for file in RUN.rglob("*.json") if (pid := process.alive(file)) is not None}


def _ancestors(pid: int) -> set[int]:
    """The process and those that it comes from."""
    found: set[int] = set()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


def _on_this_machine() -> list[str]:
    lab = load()
    found = listening.listeners(only=lambda item: item.address == str(lab.gateway) or _of_the_lab(item))
    return listening.unexpected(found, listening.on_the_machine(lab), str(lab.gateway))


def _on_node(name: str, inventory: LoadedInventory) -> list[str]:
    node = inventory.cluster.node(name)
    found = listening.listeners(nodes.init_pid(name))
    return listening.unexpected(found, listening.expected_of(node, inventory.cluster), str(node.address))


@contextmanager
def _listener(address: str, *inside: str) -> Iterator[int]:
    """A program that listens for at most a minute; yields its port."""
    # The folder in its command line makes it the lab's.
    command = [*inside, sys.executable, "-c", LISTENS, address, str(STATE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            yield int(started.stdout.readline())
        finally:
            started.kill()


def test_the_lab_listens_on_its_gateway_only() -> None:
    assert _on_this_machine() == []


def test_the_mirror_is_among_what_was_looked_at() -> None:
    lab = load()
    found = {item.port for item in listening.listeners(only=_of_the_lab)}
    assert {str(lab.registry_port), str(lab.apt_port)} <= found


@pytest.mark.parametrize("name", NODES)
def test_nothing_unknown_listens_on_a_node(name: str, inventory: LoadedInventory) -> None:
    assert _on_node(name, inventory) == []


@pytest.mark.parametrize("name", NODES)
def test_what_makes_a_node_is_among_what_was_looked_at(name: str, inventory: LoadedInventory) -> None:
    processes = {item.process for item in listening.listeners(nodes.init_pid(name))}
    assert {"sshd", "kubelet", "kube-proxy", listening.KERNEL} <= processes


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  # for a moment, to be found
def test_a_listener_of_the_lab_elsewhere_is_named(address: str) -> None:
    with _listener(address) as port:
        (line,) = _on_this_machine()
    assert f"port {port}" in line
    assert "python" in line
    wait_until(lambda: _on_this_machine() == [], seconds=5, what="the listener to be gone")


def test_a_listener_on_a_node_is_named(inventory: LoadedInventory) -> None:
    name = NODES[-1]
    inside = ("nsenter", f"--target={nodes.init_pid(name)}", "--net")
    with _listener(str(inventory.cluster.node(name).address), *inside) as port:
        (line,) = _on_node(name, inventory)
    assert f"port {port}" in line
    assert "python" in line


def test_the_mirror_is_not_reached_by_other_addresses_of_this_machine() -> None:
    lab = load()
    for port in (lab.registry_port, lab.apt_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=2)
