"""The hosts of an inventory for testinfra, and what the tests have to be told of the cluster.

    pytest tests/cluster [--inventory inventory/mine.py] [--hosts NODE,NODE] [--ssh-config FILE] [--sudo] [-k routes]

What is expected of a node is written in the tests themselves and nowhere else: they are a second opinion on
`./inv verify`, with which they share the inventory and nothing that is expected.
"""

import json
import tempfile
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import testinfra
from testinfra.host import Host

from kubeproof.access import sudo
from kubeproof.config.cluster import LoadedInventory, Node, SshAccess, load
from kubeproof.config.settings import Settings
from kubeproof.terminal.errors import UserError

DEFAULT_INVENTORY = str(Path(__file__).resolve().parent.parent.parent / "inventory" / "lab.py")
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 10s"
CONTROL_PERSIST = 15
"""Seconds for which an idle connection is kept for the next test; then ssh ends by itself."""
MARKERS = ("network", "backend", "runtime", "proxy_mode", "role")
"""Marks of tests that are about some clusters or hosts only, by the settings cni, cni_backend, container_runtime,
kube_proxy_mode."""

INVENTORY = pytest.StashKey[LoadedInventory]()
HOSTSPECS = pytest.StashKey[Mapping[str, str]]()
FOLDER = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", default=DEFAULT_INVENTORY, help="inventory file (default: the lab's)")


def pytest_configure(config: pytest.Config) -> None:
    """Have testinfra's `host` stand for the hosts of the inventory, or those of them that --hosts names."""
    for name in MARKERS:
        config.addinivalue_line("markers", f"{name}(*values): what the test is about")
    try:
        loaded = load(Path(config.getoption("inventory", DEFAULT_INVENTORY)))
    except UserError as error:
        raise pytest.UsageError("\n".join(error.problems)) from None
    # Processes of pytest-xdist are given the options as they are after this.
    chosen = getattr(config.option, "chosen", None) or (config.option.hosts or ",".join(loaded.ssh)).split(",")
    if unknown := [name for name in chosen if name not in loaded.ssh]:
        raise pytest.UsageError(f"--hosts: {', '.join(unknown)}: not in the inventory, use {', '.join(loaded.ssh)}")
    if asking := [name for name in chosen if sudo.asks(loaded.ssh[name])]:
        why = (
            "sudo asks for a password, which testinfra cannot give; let its user run sudo without, or use ./inv verify"
        )
        raise pytest.UsageError("\n".join(f"{name}: {why}" for name in asking))
    config.stash[INVENTORY] = loaded
    config.stash[FOLDER] = tempfile.TemporaryDirectory(prefix="kubeproof-ssh-")
    config.stash[HOSTSPECS] = {name: _hostspec(name, config) for name in loaded.ssh}
    config.option.chosen = chosen
    config.option.hosts = ",".join(config.stash[HOSTSPECS][name] for name in chosen)


def pytest_unconfigure(config: pytest.Config) -> None:
    if FOLDER in config.stash:
        config.stash[FOLDER].cleanup()


def _hostspec(name: str, config: pytest.Config) -> str:
    """What testinfra is told of a host: the inventory's way to it; --ssh-config wins."""
    access: SshAccess = config.stash[INVENTORY].ssh[name]
    folder = Path(config.stash[FOLDER].name)
    given = Path(config.option.ssh_config) if config.option.ssh_config else access.config_file
    usual = [Path("~/.ssh/config").expanduser(), Path("/etc/ssh/ssh_config")]
    lines = [f'Include "{file}"' for file in ([given.resolve()] if given else usual)]
    file = folder / f"{name}.config"
    file.write_text("\n".join(["BatchMode yes", "ServerAliveInterval 3", f"ControlPath {folder}/%C", *lines, ""]))
    words = {"ssh_config": str(file), "controlpersist": str(CONTROL_PERSIST)}
    words |= {"ssh_identity_file": str(access.key)} if access.key else {}
    words |= {"sudo": "true"} if access.sudo else {}
    user, port = f"{access.user}@" if access.user else "", f":{access.port}" if access.port else ""
    return f"ssh://{user}{access.hostname}{port}?{urlencode(words)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about another pod network, backend, runtime or role than this cluster's and this host's."""
    own = Path(__file__).parent
    left_out = [item for item in items if own in item.path.parents and not _applies(item, config)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _applies(item: pytest.Item, config: pytest.Config) -> bool:
    settings = config.stash[INVENTORY].cluster.settings
    values = {"network": settings.cni, "backend": settings.cni_backend, "runtime": settings.container_runtime}
    values["proxy_mode"] = settings.kube_proxy_mode
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        values["role"] = _node_of(item.callspec.params["_testinfra_host"], config).role
    return all(values[mark.name] in mark.args for mark in item.iter_markers() if mark.name in values)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Tests compare what was found, on the left, with what is expected."""
    return ["not as expected", f"expected  {right!r}", f"found     {left!r}"] if op == "==" else None


def _host_of(name: str, config: pytest.Config) -> Host:
    return testinfra.get_host(config.stash[HOSTSPECS][name], sudo=config.option.sudo)


def _node_of(host: Host, config: pytest.Config) -> Node:
    """A host's own ssh configuration is named after its node."""
    return config.stash[INVENTORY].cluster.node(Path(host.backend.ssh_config).stem)


class Api:
    """The API's objects, asked once each by kubectl on the control plane host."""

    def __init__(self, leader: Host) -> None:
        self.leader = leader
        self.known: dict[str, list[dict[str, Any]]] = {}

    def items(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind, in all namespaces."""
        if kind not in self.known:
            self.known[kind] = json.loads(self.leader.check_output(f"{KUBECTL} get {kind} -A -o json"))["items"]
        return self.known[kind]

    def subnet(self, node: str) -> IPv4Network:
        """S: the pods' network on a node, a.b.N.0/24 by default."""
        found = [item["spec"].get("podCIDR") for item in self.items("nodes") if item["metadata"]["name"] == node]
        assert found, f"expected a node object {node}, found none"
        assert found[0], f"expected a node object {node} with a podCIDR, found {found}"
        return IPv4Network(found[0])

    def pods(self, node: str) -> list[dict[str, Any]]:
        """Running pods of a node that have an address of their own."""
        there = [pod for pod in self.items("pods") if pod["spec"].get("nodeName") == node]
        own = [pod for pod in there if not pod["spec"].get("hostNetwork") and pod["status"].get("podIP")]
        return [pod for pod in own if pod["status"]["phase"] == "Running"]


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Settings:
    """What the cluster is to be, from the inventory."""
    return pytestconfig.stash[INVENTORY].cluster.settings


@pytest.fixture(scope="session")
def api(pytestconfig: pytest.Config) -> Api:
    return Api(_host_of(pytestconfig.stash[INVENTORY].cluster.leader.name, pytestconfig))


@pytest.fixture(scope="module")
def node(host: Host, pytestconfig: pytest.Config) -> Node:
    """The node that `host` is."""
    return _node_of(host, pytestconfig)


@pytest.fixture(scope="module")
def subnet(api: Api, node: Node) -> IPv4Network:
    return api.subnet(node.name)


@pytest.fixture(scope="module")
def others(node: Node, pytestconfig: pytest.Config) -> list[Node]:
    """The other nodes of the cluster."""
    return [other for other in pytestconfig.stash[INVENTORY].cluster.nodes if other != node]


@pytest.fixture(scope="session")
def tunnel(settings: Settings) -> str:
    """Name of the VXLAN device: flannel's has the VNI in it, podnet's is always that of VNI 1."""
    return "flannel.1" if settings.cni == "podnet" else f"flannel.{settings.vxlan_vni}"


@pytest.fixture(scope="module")
def uplink(host: Host, node: Node, settings: Settings) -> str:
    """Name of the interface between the nodes."""
    if settings.cni_interface not in ("node-address", ""):
        return settings.cni_interface
    if not settings.cni_interface:
        return str(host.interface.default().name)
    words: list[str] = host.check_output("ip -o -4 addr show to %s", str(node.address)).split()
    assert words, f"expected an interface with {node.address}, found none"
    return words[1]


@pytest.fixture(scope="module")
def mtu(host: Host, uplink: str, settings: Settings) -> int:
    """Bytes that a packet between pods of different nodes may have: in a tunnel 50 less than between the nodes."""
    below = int(host.interface(uplink).link[0]["mtu"])
    return below - 50 if settings.cni_backend == "vxlan" else below


@pytest.fixture(scope="session")
def macs(pytestconfig: pytest.Config, tunnel: str) -> dict[str, str]:
    """MAC of each node's VXLAN device, as the node itself has it."""
    nodes, file = pytestconfig.stash[INVENTORY].cluster.nodes, f"/sys/class/net/{tunnel}/address"
    return {node.name: _host_of(node.name, pytestconfig).file(file).content_string.strip() for node in nodes}
