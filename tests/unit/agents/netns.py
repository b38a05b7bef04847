"""A little cluster of network namespaces: nodes on one bridge, a pod on each, an agent in each."""

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).resolve().parents[3]
POD_CIDR = "10.99.64.0/18"
NODES = {"one": 11, "two": 12, "three": 13}
"""Name -> last byte of the node's address in 10.99.0.0/24; its podCIDR is 10.99.(53 + that).0/24."""
PREFIX = f"podnet-test-{os.getpid()}"
DEADLINE_SECONDS = 10.0
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")
RECEIVE = """
import socket
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("", 9))
receiver.settimeout(5)
print("listening", flush=True)
data, source = receiver.recvfrom(65536)
print(len(data), "from", source[0])
"""
SEND = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: never fragment
sender.sendto(bytes(int(sys.argv[2])), (sys.argv[1], 9))
"""


def ip(*words: str, namespace: str = "") -> str:
    inside = ["-n", namespace] if namespace else []
    return run("ip", *inside, *words)


def run(*words: str, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def enter(namespace: str) -> None:
    """Move the calling thread into a namespace, with all that it starts from now on."""
    with Path("/run/netns", namespace).open() as file:
        assert LIBC.setns(file.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def inside(namespace: str, do: Callable[[], T]) -> T:
    """Do something in a namespace, in a thread that ends with it."""
    with ThreadPoolExecutor(1, initializer=enter, initargs=(namespace,)) as thread:
        return thread.submit(do).result()


def add_bridge(namespace: str, gateway: str, mtu: int = 1500) -> None:
    """The bridge of a node's pods, as the bridge plugin makes it; its network is a /24."""
    ip("link", "add", "cni0", "mtu", str(mtu), "type", "bridge", namespace=namespace)
    ip("addr", "add", f"{gateway}/24", "dev", "cni0", namespace=namespace)
    ip("link", "set", "cni0", "up", namespace=namespace)


def connect(namespace: str, link: str, inner: str, address: str, gateway: str, mtu: int = 1500) -> None:
    """A link of a node whose other end is eth0 in the namespace ``inner``, which has its default route by it."""
    peer = ("type", "veth", "peer", "name", "eth0", "mtu", str(mtu), "netns", inner)
    ip("link", "add", link, "mtu", str(mtu), *peer, namespace=namespace)
    ip("link", "set", link, "up", namespace=namespace)
    ip("addr", "add", f"{address}/24", "dev", "eth0", namespace=inner)
    ip("link", "set", "eth0", "up", namespace=inner)
    ip("route", "add", "default", "via", gateway, namespace=inner)


def eventually(condition: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> float:
    """Seconds until the condition held; fails with its last value when the deadline passes."""
    started = time.monotonic()
    while not (last := condition()):
        assert time.monotonic() - started < seconds, f"still {last!r} after {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - started


@dataclass
class NodeSpace:
    """One node: its namespace, its pod's namespace, and the agent's process."""

    name: str
    directory: Path
    python: str
    annotations: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[str] | None" = None

    @property
    def namespace(self) -> str:
        return f"{PREFIX}-{self.name}"

    @property
    def pod_namespace(self) -> str:
        return f"{PREFIX}-pod-{self.name}"

    @property
    def address(self) -> str:
        return f"10.99.0.{NODES[self.name]}"

    @property
    def subnet(self) -> str:
        return f"10.99.{53 + NODES[self.name]}"

    @property
    def pod_address(self) -> str:
        return f"{self.subnet}.2"

    def item(self) -> dict[str, Any]:
        return {
            "metadata": {"name": self.name, "annotations": self.annotations},
            "spec": {"podCIDR": f"{self.subnet}.0/24", "podCIDRs": [f"{self.subnet}.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": self.address}]},
        }

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = {"NODE_NAME": self.name, "POD_CIDR": POD_CIDR, "VXLAN_VNI": "1", "VXLAN_PORT": "8472"}
        worker = [self.python, "-m", "tests.unit.agents.netns_worker", str(self.directory), json.dumps(environment)]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )

    def stop(self) -> None:
        if self.process is not None:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.close()
            assert self.process.wait(DEADLINE_SECONDS) == 0
            self.process.stdout.close()
            self.process = None

    def tell(self, **command: Any) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the agent on {self.name} has died"
        answer: dict[str, Any] = json.loads(line)
        self.annotations = answer["published"] or self.annotations
        return answer

    def json(self, *words: str) -> list[dict[str, Any]]:
        command = "bridge" if words[0] == "fdb" else "ip"
        found: list[dict[str, Any]] = json.loads(run(command, "-n", self.namespace, "-j", "-d", *words) or "[]")
        return found

    def shell(self, *words: str, check: bool = True) -> str:
        return run("ip", "netns", "exec", self.namespace, *words, check=check)

    def add_pod(self) -> None:
        """What the bridge plugin does with a node's first pod."""
        gateway = f"{self.subnet}.1"
        ip("netns", "add", self.pod_namespace)
        add_bridge(self.namespace, gateway, mtu=1450)
        connect(self.namespace, "vethpod", self.pod_namespace, self.pod_address, gateway, mtu=1450)
        ip("link", "set", "vethpod", "master", "cni0", namespace=self.namespace)

    def reaches(self, other: "NodeSpace", size: int = 56) -> bool:
        """Whether an unfragmented UDP datagram of ``size`` bytes gets from pod to pod, with its source as it was."""
        receiver = subprocess.Popen(
            ["ip", "netns", "exec", other.pod_namespace, sys.executable, "-c", RECEIVE],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert receiver.stdout is not None
        with receiver, receiver.stdout:
            assert receiver.stdout.readline() == "listening\n"
            sender = [sys.executable, "-c", SEND, other.pod_address, str(size)]
            subprocess.run(["ip", "netns", "exec", self.pod_namespace, *sender], check=False)
            return receiver.stdout.readline() == f"{size} from {self.pod_address}\n"


class Lan:
    """All the nodes. Use as a context manager: on exit every namespace and process is gone."""

    def __init__(self, directory: Path, python: str) -> None:
        self.bridge = f"{PREFIX}-lan"
        self.nodes = [NodeSpace(name, directory / name, python) for name in NODES]

    def __enter__(self) -> "Lan":
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.process.kill()
                node.process.wait()
            run("ip", "netns", "del", node.pod_namespace, check=False)
            run("ip", "netns", "del", node.namespace, check=False)
        run("ip", "netns", "del", self.bridge, check=False)

    def _build(self) -> None:
        ip("netns", "add", self.bridge)
        ip("link", "add", "lan", "type", "bridge", namespace=self.bridge)
        ip("link", "set", "lan", "up", namespace=self.bridge)
        for node in self.nodes:
            ip("netns", "add", node.namespace)
            node.shell("sysctl", "-qw", "net.ipv4.ip_forward=1")
            peer = ("type", "veth", "peer", "name", "eth0", "netns", node.namespace)
            ip("link", "add", node.name, *peer, namespace=self.bridge)
            ip("link", "set", node.name, "master", "lan", "up", namespace=self.bridge)
            ip("addr", "add", f"{node.address}/24", "dev", "eth0", namespace=node.namespace)
            for link in ("lo", "eth0"):
                ip("link", "set", link, "up", namespace=node.namespace)
            node.shell("iptables", "-P", "FORWARD", "DROP")
            node.add_pod()
            node.start()

    def items(self) -> list[dict[str, Any]]:
        return [node.item() for node in self.nodes]

    def settle(self) -> None:
        """Rounds until everybody knows everybody's VTEP: one to publish, one to follow."""
        for _ in range(2):
            items = self.items()
            for node in self.nodes:
                answer = node.tell(nodes=items, reconcile=True)
                assert "problem" not in answer, answer
