"""The cluster that an inventory describes: its settings and its nodes, checked together."""

import codecs
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO, Literal, cast

from pyinfra.api.inventory import Inventory

from kubeproof.config import connection_data, patience, reading
from kubeproof.config.inventory_check import Contents, HostEntry, checked_hosts
from kubeproof.config.settings import Settings, examine
from kubeproof.terminal.errors import EXIT_BAD_INPUT, UserError
from kubeproof.terminal.exits import REPOSITORY

LAB = REPOSITORY / "inventory" / "lab.py"
"""The inventory that ./inv takes if none is named."""

INVENTORY_SECONDS = 60
"""How long an inventory file may run: it may ask other machines for its hosts."""

Role = Literal["control-plane", "worker"]


@dataclass(frozen=True)
class Node:
    """A host of the cluster; ``address`` is the one that the other nodes reach it at."""

    name: str
    address: IPv4Address
    role: Role


@dataclass(frozen=True)
class Cluster:
    """Settings and nodes: the control plane host first, then the workers in the order of the inventory."""

    settings: Settings
    nodes: tuple[Node, ...]

    @property
    def leader(self) -> Node:
        """The control plane host on which `kubeadm init` runs."""
        return self.nodes[0]

    @property
    def api_url(self) -> str:
        return f"https://{self.leader.address}:{self.settings.api_port}"

    @property
    def workers(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.role == "worker")

    def node(self, name: str) -> Node:
        """The node of a name. Raises UserError, naming the nodes there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise UserError(f"{name}: no such host in the inventory, use one of {', '.join(n.name for n in self.nodes)}")

    def left_out(self, limit: Collection[str]) -> tuple[str, ...]:
        """Names of the nodes that --limit leaves out, none if it is empty. Raises UserError for what names no node."""
        names = [node.name for node in self.nodes]
        if unknown := [name for name in limit if name not in names]:
            raise UserError(f"--limit: no such host ({', '.join(unknown)}), use some of {', '.join(names)}")
        return tuple(name for name in names if limit and name not in limit)


@dataclass(frozen=True)
class SshAccess:
    """How a node is reached: what pyinfra was told, for testinfra and ssh."""

    hostname: str
    config_file: Path | None = None
    user: str | None = None
    port: int | None = None
    key: Path | None = None
    sudo: bool = False
    sudo_password: str = field(default="", repr=False)
    """What sudo is given (kubeproof.access.sudo); empty if it asks for none, or if that is not known."""

    def command(self) -> list[str]:
        """`ssh` and its options up to the host's name; the remote command follows. Never asks for a password."""
        words = ["ssh", "-o", "BatchMode=yes"]
        words += ["-F", str(self.config_file)] if self.config_file else []
        words += ["-l", self.user] if self.user else []
        words += ["-p", str(self.port)] if self.port else []
        words += ["-i", str(self.key)] if self.key else []
        return [*words, self.hostname]

    def line(self, text: str) -> str:
        """A line to paste on this machine, which runs shell text as root on the host: quoted for both shells.

        Where sudo asks for a password it gets a terminal to do so.
        """
        *words, hostname = self.command()
        words += ["-t"] if self.sudo_password else []
        return shlex.join([*words, hostname, f"sudo sh -c {shlex.quote(text)}" if self.sudo else text])


@dataclass(frozen=True)
class LoadedInventory:
    """An inventory file, read without connecting to a host. ``ssh`` is by node name."""

    file: Path
    cluster: Cluster
    ssh: Mapping[str, SshAccess]

    def inv(self, command: str) -> str:
        """A command of ./inv for this inventory, to be pasted in the repository's folder."""
        chosen = [] if self.file == LAB else ["-i", str(self.file)]
        return shlex.join(["./inv", command, *chosen])


def contents_of(inventory: Inventory, group_files: frozenset[str] | None = None) -> Contents:
    """What the checks need of a pyinfra inventory; ``group_files`` are names that group_data may have files for."""
    hosts = tuple(
        HostEntry(host.name, tuple(host.groups), cast(Mapping[str, object], host.data.dict())) for host in inventory
    )
    without_hosts = frozenset(name for name in inventory.group_data if not inventory.groups.get(name))
    return Contents(hosts, without_hosts, group_files)


def cluster_from(contents: Contents) -> Cluster:
    """Check an inventory's contents and return the cluster, whose patience holds from then on.

    Raises UserError with all problems.
    """
    if not contents.hosts:
        raise UserError("inventory: names no host, list them in control_plane and workers")
    raw, host_problems = checked_hosts(contents)
    if not raw:
        raise UserError("inventory: has no settings, keep its file in inventory/, beside group_data")
    settings, problems = examine(raw)
    nodes, address_problems = _nodes(contents.hosts)
    problems = [*host_problems, *problems, *address_problems, *_misfits(raw, nodes)]
    if problems or settings is None:
        # Names of hosts, groups and data may have anything in them.
        raise UserError(map(reading.printable, problems))
    patience.use(settings.patience)
    return Cluster(settings, tuple(sorted(nodes, key=lambda node: node.role != "control-plane")))


def load(inventory_file: Path) -> LoadedInventory:
    """Read an inventory file and its group_data without connecting. Raises UserError with all problems.

    The file runs in a process of its own: pyinfra's loader replaces parts of the standard library for the whole
    process (gevent), which those who call this function do not expect.
    """
    file = inventory_file.resolve()
    if problem := _not_an_inventory(inventory_file, file):
        raise UserError(problem)
    contents = _read_contents(file)
    cluster = cluster_from(contents)
    if problems := connection_data.file_problems((host.name, host.data) for host in contents.hosts):
        raise UserError(problems)
    return LoadedInventory(file, cluster, {host.name: _ssh_access(host) for host in contents.hosts})


def _not_an_inventory(written: Path, file: Path) -> str:
    """What is wrong with a file before anybody runs it; empty if nothing is."""
    if file.is_dir():
        return f"{written}: is a folder, name an inventory file, e.g. -i inventory/lab.py"
    if not file.is_file():
        if any(part.startswith("@") for part in written.parts):
            hint = "hosts of Terraform or Ansible are taken by a file: docs/how-to.md, Hosts from Terraform or Ansible"
            return f"{written}: no such inventory file, and no connector of pyinfra's is taken; {hint}"
        with_suffix = written.with_name(f"{written.name}.py")
        hint = f"did you mean {with_suffix}?" if with_suffix.is_file() else "use e.g. -i inventory/lab.py"
        return f"{written}: no such inventory file, {hint}"
    if file.suffix != ".py":
        return f"{written}: is no Python file, as inventories are; begin with a copy of inventory/example.py"
    try:
        content = file.read_bytes()
    except OSError as error:
        return f"{written}: cannot be read ({error.strerror}), correct its permissions"
    return _not_python_text(written, content)


def _not_python_text(written: Path, content: bytes) -> str:
    if content.startswith(codecs.BOM_UTF8):
        return f"{written}: begins with a byte order mark, save it as UTF-8 without one"
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"{written}, line {line}: is no UTF-8 text (byte 0x{content[error.start]:02x}), save it as UTF-8"
    return ""


def _read_contents(file: Path) -> Contents:
    """What the file says when it is run; processes that it starts may live on, so nothing waits for their output."""
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as said:
        try:
            code = run_reader(file, answer, said)
        except subprocess.TimeoutExpired:
            waited = f"has not ended within {INVENTORY_SECONDS} s"
            raise UserError(f"{file}: {waited}{_last_line(_text_of(said))}, see what it waits for") from None
        lines = [line for line in _text_of(said).splitlines() if line.strip()]
        try:
            document = json.loads(_text_of(answer))
        except ValueError:
            document = {"problems": _reasons(file, code, lines)}
    if problems := document.get("problems"):
        raise UserError(problems)
    return Contents.from_json(document)


def run_reader(file: Path, answer: IO[bytes], said: IO[bytes]) -> int:
    """Run `inventory_reader` on a file, with standard output and error in files; its exit code.

    It and what it has started are killed after INVENTORY_SECONDS. Raises subprocess.TimeoutExpired then.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "kubeproof.config.inventory_reader", str(file)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=said,
        start_new_session=True,
    )
    try:
        return process.wait(INVENTORY_SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" (its last words: {lines[-1]})" if lines else ""


def _reasons(file: Path, code: int, lines: list[str]) -> list[str]:
    """What the inventory file said before it gave up, or how its process ended."""
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code == EXIT_BAD_INPUT and told:
        return told
    how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    what = f"{how} before its hosts were read{_last_line(chr(10).join(lines))}"
    return [f"{file}: cannot be loaded ({what}), correct it"]


def _nodes(hosts: tuple[HostEntry, ...]) -> tuple[list[Node], list[str]]:
    nodes: list[Node] = []
    problems: list[str] = []
    for host in hosts:
        if "address" not in host.data:
            problems.append(f'{host.name}: has no address, write ("{host.name}", {{"address": "a.b.c.d"}})')
            continue
        try:
            address = reading.address(host.data["address"])
        except reading.RefusedError as refused:
            problems.append(f"{host.name}: {refused.line('address', host.data['address'])}")
            continue
        nodes.append(Node(host.name, address, "control-plane" if "control_plane" in host.groups else "worker"))
    return nodes, problems


def _misfits(raw: Mapping[str, object], nodes: list[Node]) -> Iterator[str]:
    """What is wrong between nodes, and between nodes and those settings that are right by themselves."""
    by_address: dict[IPv4Address, str] = {}
    for node in nodes:
        other = by_address.setdefault(node.address, node.name)
        if other != node.name:
            yield f"{node.name}: has the address of {other} ({node.address}), give each host its own"
    yield from _outside_of_network(raw, nodes)
    yield from _too_many(raw, nodes)


def _outside_of_network(raw: Mapping[str, object], nodes: list[Node]) -> Iterator[str]:
    try:
        network = reading.network(raw.get("node_network"))
    except reading.RefusedError:
        return
    for node in nodes:
        if node.address not in network:
            yield f"{node.name}: address is outside of node_network {network} ({node.address}), correct one of them"
        elif node.address in (network.network_address, network.broadcast_address):
            yield f"{node.name}: address cannot be a host's in {network} ({node.address}), choose another"


def _too_many(raw: Mapping[str, object], nodes: list[Node]) -> Iterator[str]:
    try:
        pods = reading.network(raw.get("pod_cidr"))
        bits = reading.integer(pods.prefixlen, pods.max_prefixlen)(raw.get("pod_subnet_bits"))
    except reading.RefusedError:
        return
    subnets = 2 ** (bits - pods.prefixlen)
    if len(nodes) > subnets:
        advice = "use a larger pod_cidr or larger pod_subnet_bits"
        yield reading.problem("pod_cidr", f"has {subnets} subnets of /{bits} for {len(nodes)} nodes", pods, advice)


def _ssh_access(host: HostEntry) -> SshAccess:
    data = host.data
    config, key, port = data.get("ssh_config_file"), data.get("ssh_key"), data.get("ssh_port")
    return SshAccess(
        hostname=str(data.get("ssh_hostname") or host.name),
        config_file=Path(str(config)).expanduser() if config else None,
        user=str(data["ssh_user"]) if data.get("ssh_user") else None,
        port=port if isinstance(port, int) else None,
        key=Path(str(key)).expanduser() if key else None,
        sudo=bool(data.get("_sudo")),
        sudo_password=str(data.get("_sudo_password") or "") if data.get("_sudo") else "",
    )
