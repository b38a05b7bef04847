"""One node of namespaces with pods on its bridge and a routed outside, and sockets inside of them."""

import contextlib
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

from tests.unit.agents.netns import add_bridge, connect, enter, inside, ip, run

T = TypeVar("T")
PREFIX = f"policy-test-{os.getpid()}"
PODS = {"a": "10.99.128.2", "b": "10.99.128.3", "c": "10.99.128.4"}
"""Pods on this node's bridge; the last one is a spare for a pod that comes later."""
GATEWAY, SUBNET = "10.99.128.1", "10.99.128.0/24"
OUTSIDE, OUTSIDE_GATEWAY = "10.99.129.2", "10.99.129.1"
"""A host beyond a router's interface: what a pod of another node, or a client from outside, is to this node."""
ADDRESSES = {**PODS, "outside": OUTSIDE}
SERVICE = "10.99.130.10"
"""A Service's address: nobody has it."""
WAIT_SECONDS = 0.3
"""How long a packet that should not come is waited for."""


class Wire:
    """Namespaces of a node, its pods and an outside. Use as a context manager."""

    node = f"{PREFIX}-node"

    def __enter__(self) -> "Wire":
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("node", *ADDRESSES):
            run("ip", "netns", "del", f"{PREFIX}-{name}", check=False)

    def shell(self, *words: str, check: bool = True) -> str:
        return run("ip", "netns", "exec", self.node, *words, check=check)

    def load(self, text: str) -> None:
        """Load commands on the node with nft."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.node, "nft", "-f", "-"],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def name(self, name: str) -> str:
        """The namespace of a pod, the node or the outside."""
        return f"{PREFIX}-{name}"

    def enter(self, name: str) -> None:
        """Move the calling thread into a namespace, with all that it starts from now on."""
        enter(self.name(name))

    def inside(self, name: str, do: Callable[[], T]) -> T:
        """Do something in a namespace, in a thread that ends with it."""
        return inside(self.name(name), do)

    def socket(self, name: str, kind: int, protocol: int = 0, family: int = socket.AF_INET) -> socket.socket:
        """A socket inside a namespace. Only its making happens there: a socket stays where it was made."""
        made = self.inside(name, lambda: socket.socket(family, kind, protocol))
        made.settimeout(WAIT_SECONDS)
        return made

    def _build(self) -> None:
        for name in ("node", *ADDRESSES):
            ip("netns", "add", f"{PREFIX}-{name}")
            ip("link", "set", "lo", "up", namespace=f"{PREFIX}-{name}")
        add_bridge(self.node, GATEWAY)
        for name, address in PODS.items():
            connect(self.node, f"veth-{name}", f"{PREFIX}-{name}", address, GATEWAY)
            ip("link", "set", f"veth-{name}", "master", "cni0", namespace=self.node)
            ip("link", "set", f"veth-{name}", "type", "bridge_slave", "hairpin", "on", namespace=self.node)
        connect(self.node, "veth-outside", f"{PREFIX}-outside", OUTSIDE, OUTSIDE_GATEWAY)
        ip("addr", "add", f"{OUTSIDE_GATEWAY}/24", "dev", "veth-outside", namespace=self.node)
        bridge = (f"bridge-nf-{name}" for name in ("call-iptables", "call-ip6tables", "filter-vlan-tagged"))
        for setting in ("net.ipv4.ip_forward", *(f"net.bridge.{name}" for name in bridge)):
            self.shell("sysctl", "-qw", f"{setting}=1")


class Tcp:
    """A connection from one to another, or the lack of one: ``open`` says which."""

    def __init__(
        self, wire: Wire, source: str, target: str, port: int, address: str = "", target_port: int = 0
    ) -> None:
        self._listener = wire.socket(target, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("", target_port or port))
        self._listener.listen()
        self.client = wire.socket(source, socket.SOCK_STREAM)
        self.server: socket.socket | None = None
        with contextlib.suppress(TimeoutError):
            self.client.connect((address or ADDRESSES[target], port))
            self.server, _ = self._listener.accept()
            self.server.settimeout(WAIT_SECONDS)

    @property
    def open(self) -> bool:
        """Whether bytes get through it, in both directions."""
        return self.server is not None and passes(self.client, self.server) and passes(self.server, self.client)

    def __enter__(self) -> "Tcp":
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.client, self.server, self._listener):
            if each is not None:
                # Nothing is left to be sent again by a kernel whose peer is cut off.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.close()


def tcp(wire: Wire, source: str, target: str, port: int) -> bool:
    with Tcp(wire, source, target, port) as connection:
        return connection.open


def udp(wire: Wire, source: str, target: str, port: int) -> bool:
    """Whether a datagram and its answer get through."""
    with wire.socket(source, socket.SOCK_DGRAM) as client, wire.socket(target, socket.SOCK_DGRAM) as server:
        server.bind(("", port))
        client.sendto(b"question", (ADDRESSES[target], port))
        try:
            _, sender = server.recvfrom(100)
            server.sendto(b"answer", sender)
            return client.recv(100) == b"answer"
        except TimeoutError:
            return False


def sctp(wire: Wire, source: str, target: str, port: int) -> bool:
    """Whether an INIT chunk arrives; the kernel needs no SCTP of its own for that."""
    with (
        wire.socket(source, socket.SOCK_RAW, socket.IPPROTO_SCTP) as client,
        wire.socket(target, socket.SOCK_RAW, socket.IPPROTO_SCTP) as server,
    ):
        client.sendto(sctp_init(port), (ADDRESSES[target], 0))
        try:
            packet = server.recv(1000)
        except TimeoutError:
            return False
        return struct.unpack_from("!HH", packet, 20) == (SCTP_SOURCE, port)


def ping(wire: Wire, source: str, target: str) -> bool:
    with wire.socket(source, socket.SOCK_RAW, socket.IPPROTO_ICMP) as client:
        head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, time.monotonic_ns() & 0xFFFF)
        client.sendto(head[:2] + struct.pack("!H", internet_checksum(head)) + head[4:], (ADDRESSES[target], 0))
        try:
            return client.recv(1000)[20] == 0
        except TimeoutError:
            return False


def passes(sender: socket.socket, receiver: socket.socket) -> bool:
    """Whether what one sends arrives at the other, past what is still on its way from before."""
    token = os.urandom(8)
    sender.send(token)
    got = b""
    deadline = time.monotonic() + WAIT_SECONDS
    while token not in got and select.select([receiver], [], [], max(0.0, deadline - time.monotonic()))[0]:
        got += receiver.recv(1000)
    return token in got


SCTP_SOURCE = 40000


def sctp_init(port: int) -> bytes:
    """An INIT chunk (RFC 9260, 3.3.2) with the checksum that conntrack demands."""
    tag = int.from_bytes(os.urandom(4), "big") | 1
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, tag, 65536, 1, 1, 1)
    packet = struct.pack("!HHII", SCTP_SOURCE, port, 0, 0) + chunk
    return packet[:8] + struct.pack("<I", crc32c(packet)) + packet[12:]


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC (RFC 9260, appendix A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def internet_checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~(total + (total >> 16)) & 0xFFFF
