"""The shape of the lab: lab.toml, overridden by KUBEPROOF_LAB_* environment variables; all problems at once."""

# The calls in the fields are descriptions, made once and never shared with an instance.
# ruff: noqa: RUF009

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal, TypeVar

from kubeproof.config import reading
from kubeproof.config.reading import Reader, RefusedError, problem
from kubeproof.config.tables.runtimes import NAMES as RUNTIMES
from kubeproof.terminal.errors import UserError
from lab.paths import REPOSITORY
from lab.systems import DEFAULT, SYSTEMS, NodeSystem

FILE = REPOSITORY / "lab" / "lab.toml"
ENVIRONMENT_PREFIX = "KUBEPROOF_LAB_"

MAX_WORKERS = 9
GATEWAY_INDEX = 1
"""The gateway, this machine's address on the lab bridge, is the first address of the node network."""
LONGEST_PREFIX = 27
"""A smaller network has no room for ten nodes from `.11` on."""
SHORTEST_PREFIX = 16
MAX_INTERFACE_NAME = 15
"""Linux: IFNAMSIZ less the closing zero byte."""
RESERVED_PORTS = {22: "SSH", 53: "DNS"}
TAKEN_NETWORKS = {"Docker's bridge": IPv4Network("172.17.0.0/16")}
"""Networks that a node has for other purposes."""

PRIVATE_NETWORKS = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""RFC 1918."""

Role = Literal["control-plane", "worker"]
T = TypeVar("T")


@dataclass(frozen=True)
class LabNode:
    name: str
    address: IPv4Address
    role: Role
    system: NodeSystem = DEFAULT
    vm: bool = False
    """A virtual machine, and no container."""


def _setting(read: Reader[T]) -> T:
    """A field that is read from its raw value by ``read``."""
    made: T = field(metadata={"read": read})
    return made


_bridge = reading.matching(
    rf"[A-Za-z][A-Za-z0-9_.-]{{0,{MAX_INTERFACE_NAME - 1}}}",
    "is not a name for a network interface",
    f"use at most {MAX_INTERFACE_NAME} letters, digits, '.', '_' and '-', beginning with a letter",
)
_worker_prefix = reading.matching(
    r"[a-z0-9](?:[a-z0-9-]{0,60}[a-z0-9-])?",
    "does not make host names (RFC 1123)",
    "use at most 62 lower-case letters, digits and hyphens, beginning with a letter or digit",
)


def _node_network(value: object) -> IPv4Network:
    network = _private_network(value)
    if not SHORTEST_PREFIX <= network.prefixlen <= LONGEST_PREFIX:
        raise RefusedError("is not of a fit size", f"use a prefix of /{SHORTEST_PREFIX} to /{LONGEST_PREFIX}")
    return network


def _private_network(value: object) -> IPv4Network:
    """The lab makes these networks unreachable while it is down: they must not be somebody else's."""
    network = reading.network(value)
    if not any(network.subnet_of(private) for private in PRIVATE_NETWORKS):
        raise RefusedError("is not a private network", "use a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
    for use, taken in TAKEN_NETWORKS.items():
        if network.overlaps(taken):
            raise RefusedError(f"overlaps {use} {taken}", "choose another network")
    return network


def _systems(value: object) -> tuple[NodeSystem, ...]:
    """Of the first node, of the second …; the last one is that of all that follow."""
    names = str(value).split()
    if not names or not all(name in SYSTEMS for name in names):
        what = f"is not {' or '.join(SYSTEMS)}"
        raise RefusedError(what, "name one for all nodes, or one for each, the last for all that follow")
    return tuple(SYSTEMS[name] for name in names)


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """What lab.toml says. ``first_node`` is the control plane host's offset in the node network; workers follow."""

    workers: int = _setting(reading.integer(1, MAX_WORKERS))
    vm_workers: int = _setting(reading.integer(0, MAX_WORKERS))
    node_network: IPv4Network = _setting(_node_network)
    first_node: int = _setting(reading.integer(GATEWAY_INDEX + 1, 2 ** (32 - SHORTEST_PREFIX) - 2))
    pod_cidr: IPv4Network = _setting(_private_network)
    service_cidr: IPv4Network = _setting(_private_network)
    bridge: str = _setting(_bridge)
    control_plane_name: str = _setting(reading.dns_label)
    worker_prefix: str = _setting(_worker_prefix)
    registry_port: int = _setting(reading.port)
    apt_port: int = _setting(reading.port)
    container_runtime: str = _setting(reading.one_of(*RUNTIMES))
    hosts: str = _setting(reading.one_of("prepared", "bare"))
    system: tuple[NodeSystem, ...] = _setting(_systems)

    @property
    def gateway(self) -> IPv4Address:
        return self.node_network[GATEWAY_INDEX]

    @property
    def nodes(self) -> tuple[LabNode, ...]:
        leader = LabNode(self.control_plane_name, self.node_network[self.first_node], "control-plane", self.system[0])
        return (leader, *(self._worker(number) for number in range(1, self.workers + 1)))

    @property
    def systems(self) -> tuple[NodeSystem, ...]:
        """Those that there are nodes of."""
        return tuple(dict.fromkeys(node.system for node in self.nodes))

    @property
    def registry(self) -> str:
        """``host:port`` of the image registry, served without TLS."""
        return f"{self.gateway}:{self.registry_port}"

    @property
    def apt_url(self) -> str:
        """Base URL of the apt mirror, without a slash at its end."""
        return f"http://{self.gateway}:{self.apt_port}"

    def node(self, name: str) -> LabNode:
        """The node of a name. Raises UserError, naming those there are."""
        for item in self.nodes:
            if item.name == name:
                return item
        names = [item.name for item in self.nodes]
        meant = reading.closest(name, names)
        hint = f"did you mean {meant}?" if meant else f"use one of {', '.join(names)}"
        raise UserError(f"{name}: no such node in the lab, {hint}")

    def _worker(self, number: int) -> LabNode:
        address = self.node_network[self.first_node + number]
        system = self.system[min(number, len(self.system) - 1)]
        is_vm = number > self.workers - self.vm_workers
        return LabNode(f"{self.worker_prefix}{number}", address, "worker", system, is_vm)


@cache
def load() -> LabSettings:
    """The lab of this repository and environment. Raises UserError with a line for each problem."""
    return parse(read_file(FILE), os.environ)


def read_file(file: Path) -> dict[str, object]:
    """The raw values of a TOML file. Raises UserError if it cannot be read."""
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}), restore it from the repository") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: is not TOML ({error}), correct it") from error


def parse(raw: Mapping[str, object], environment: Mapping[str, str]) -> LabSettings:
    """Check raw values, those of the environment taking precedence. Pure. Raises UserError with all problems."""
    overrides = {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): (int(value) if value.isascii() and value.isdigit() else value)
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }
    merged = {**raw, **overrides}
    readers = {item.name: item.metadata["read"] for item in fields(LabSettings)}
    values, problems = reading.checked(merged, readers, "give it a value")
    problems.extend(_conflicts(values))
    if problems:
        raise UserError([_with_source(line, overrides) for line in problems])
    return LabSettings(**values)  # type: ignore[arg-type]  # checked by the readers


def _with_source(line: str, overrides: Mapping[str, object]) -> str:
    """Lead a problem with where its value was set, so that a forgotten environment variable is found."""
    name = line.partition(":")[0]
    return (
        f"environment {ENVIRONMENT_PREFIX}{line.replace(name, name.upper(), 1)}"
        if name in overrides
        else f"lab/lab.toml: {line}"
    )


def _conflicts(values: Mapping[str, object]) -> Iterator[str]:
    yield from reading.overlaps(values, ("node_network", "pod_cidr", "service_cidr"))
    match values:
        case {"registry_port": int() as registry, "apt_port": int() as apt} if registry == apt:
            yield problem("apt_port", "is registry_port too", apt, "give each its own port")
    match values:
        case {"workers": int() as workers, "vm_workers": int() as vms} if vms > workers:
            yield problem("vm_workers", "is more than there are workers", vms, f"use at most {workers}")
    for name in ("registry_port", "apt_port"):
        port = values.get(name)
        if isinstance(port, int) and port in RESERVED_PORTS:
            yield problem(name, f"is the port of {RESERVED_PORTS[port]}", port, "choose another, e.g. 5000")
    match values:
        case {"node_network": IPv4Network() as network, "first_node": int() as first, "workers": int() as workers}:
            room = network.num_addresses - 2 - workers
            if first > room:
                advice = f"use at most {room} for {workers} workers in {network}"
                yield problem("first_node", "leaves no room for the workers", first, advice)
    match values:
        case {"control_plane_name": str() as leader, "worker_prefix": str() as prefix, "workers": int() as workers}:
            if leader in {f"{prefix}{number}" for number in range(1, workers + 1)}:
                yield problem("control_plane_name", "is the name of a worker too", leader, "choose another name")
