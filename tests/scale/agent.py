"""What podnet costs with many nodes: ``python -m tests.scale.agent [500 …]``, which `./inv bench --agent` runs.

One agent, as its container runs it, in a network namespace of its own, against a stand-in of the API
(:mod:`.api_stand_in`); ten pods for each node, and a policy for each five pods (:mod:`.objects`). It has converged when
it says that it is ready, and routes, neighbours, FDB and policies in force are those of the cluster. CPU time is the
agent's and that of the iptables and nft that it runs; what the stand-in needs is not in it. What all agents together
ask of an API server is computed from the one. Needs root.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.podnet.__main__ import NAMESPACES, NODES, PODS, POLICIES
from tests.scale import objects, policy_scale
from tests.scale.api_stand_in import StandIn, make_certificate
from tests.unit.agents.netns import REPOSITORY, add_bridge, eventually, inside, ip, run
from tests.unit.serving import serving

SIZES = (100, 500)
PODS_OF_A_POLICY = 5
NAMESPACE = f"podnet-scale-{os.getpid()}"
ADDRESS, PORT, TOKEN = "127.0.0.1", 6443, "a-token-of-the-stand-in"
DEBIAN_PYTHON = "/usr/bin/python3"
"""The images have Debian's interpreter and pyroute2."""
CONVERGED_SECONDS = 300.0
IDLE_SECONDS = 30.0
CHANGES_SECONDS = 15.0
TICKS = os.sysconf("SC_CLK_TCK")
START = """
mount -t tmpfs none /run
mkdir -p /run/etc /run/work /run/secrets/kubernetes.io
mount -t overlay none -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc
ln -s "$1" /run/secrets/kubernetes.io/serviceaccount
exec "$2" -m agents.podnet > "$1/log" 2>&1
"""
"""In the mount namespace that `ip netns exec` makes: what the agent writes is gone with it."""


@dataclass(frozen=True)
class Spent:
    """What the agent has cost so far."""

    cpu: float
    requests: int
    bytes_sent: int

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.cpu - other.cpu, self.requests - other.requests, self.bytes_sent - other.bytes_sent)


@dataclass(frozen=True)
class Change:
    """One kind of change: how many were made, until when the node was as the cluster again, and what that cost."""

    title: str
    count: int
    spent: Spent
    settled: float


@dataclass(frozen=True)
class Result:
    nodes: int
    python: str
    seconds: float
    start: Spent
    lists: int
    most_mebibytes: float
    mebibytes: float
    idle: Spent
    watch_seconds: float
    changes: tuple[Change, ...]


class Cluster:
    """The objects of the stand-in, and what the agent's node has to be like by them."""

    def __init__(self, api: StandIn, nodes: int) -> None:
        self.api, self.nodes = api, nodes
        pods = nodes * objects.PODS_OF_A_NODE
        namespaces = range(pods // policy_scale.PODS_OF_A_NAMESPACE + 1)
        policies = range(pods // PODS_OF_A_POLICY)
        api.fill(NODES, (objects.make_node(number, mac=number > 0) for number in range(nodes)))
        api.fill(PODS, (objects.make_pod(number, nodes) for number in range(pods)))
        api.fill(
            NAMESPACES, ({"metadata": {"name": f"n{each}", "labels": {"name": f"n{each}"}}} for each in namespaces)
        )
        api.fill(POLICIES, (policy_scale.make_policy(number, pods) for number in policies))

    def pod_gets_another_address(self, number: int) -> None:
        """A pod of another node is deleted, and one of the same name comes, as a StatefulSet's does."""
        other = number % (self.nodes - 1) + 1
        name = policy_scale.make_pod(other)["metadata"]
        self.api.delete(PODS, f"{name['namespace']}/{name['name']}")
        self.api.put(PODS, objects.make_pod(other, self.nodes, address=100 + number // (self.nodes - 1) % 100))

    def pod_status(self, number: int) -> None:
        """Something of a pod changes that is nothing to podnet."""
        name = policy_scale.make_pod(number % (self.nodes * objects.PODS_OF_A_NODE))["metadata"]
        item = self.api.item(PODS, f"{name['namespace']}/{name['name']}")
        item["status"]["containerStatuses"][0]["restartCount"] += 1
        self.api.put(PODS, item)

    def node_heartbeat(self, number: int) -> None:
        item = self.api.item(NODES, objects.node_name(number % self.nodes))
        item["status"]["conditions"][0]["lastHeartbeatTime"] = f"heartbeat {number}"
        self.api.put(NODES, item)

    def node_goes_or_comes(self, number: int) -> None:
        other = number // 2 % (self.nodes - 1) + 1
        if number % 2:
            self.api.put(NODES, objects.make_node(other))
        else:
            self.api.delete(NODES, objects.node_name(other))

    def wanted(self) -> tuple[Any, ...]:
        """Routes, neighbours and FDB entries for the other nodes; addresses of pods, and policies, in force."""
        subnets = [item["spec"]["podCIDR"] for item in self.api.items(NODES) if item["metadata"]["name"] != "node0"]
        pods = {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod for pod in self.api.items(PODS)}
        return (
            sorted(subnets),
            sorted(subnet.removesuffix("/24") for subnet in subnets),
            len(subnets),
            {name: pod["status"]["podIP"] for name, pod in pods.items()},
            len(self.api.items(POLICIES)),
        )


class Agent:
    """The agent's process."""

    def __init__(self, folder: Path, python: str, agents: Path) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "NODE_NAME": objects.node_name(0),
            "POD_CIDR": str(objects.POD_CIDR),
            "KUBERNETES_SERVICE_HOST": ADDRESS,
            "KUBERNETES_SERVICE_PORT": str(PORT),
        }
        words = ["ip", "netns", "exec", NAMESPACE, "sh", "-euc", START, "sh", str(folder), python]
        self._process = subprocess.Popen(words, env=environment, cwd=agents)
        self.folder = folder

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def cpu(self) -> float:
        """Seconds of it and of the processes that it waited for (proc_pid_stat(5): utime to cstime)."""
        values = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, values[11:15])) / TICKS

    def mebibytes(self, name: str) -> float:
        """VmRSS or VmHWM (at the most) of the process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) / 1024

    def state(self) -> tuple[Any, ...] | None:
        """The node, as :meth:`Cluster.wanted` has it; None until the agent is ready."""
        if self._process.poll() is not None:
            raise RuntimeError(f"podnet has ended: {(self.folder / 'log').read_text()[-2000:]}")
        files = Path(f"/proc/{self._process.pid}/root/run/podnet")
        if not (files / "ready").exists() or not (files / "policies.json").exists():
            return None
        said = json.loads((files / "policies.json").read_text())
        routes = json.loads(ip("-j", "route", "show", "dev", "flannel.1", namespace=NAMESPACE))
        neighbours = json.loads(
            ip("-j", "-4", "neigh", "show", "dev", "flannel.1", "nud", "permanent", namespace=NAMESPACE)
        )
        entries = json.loads(run("bridge", "-n", NAMESPACE, "-j", "fdb", "show", "dev", "flannel.1"))
        return (
            sorted(route["dst"] for route in routes if "gateway" in route),
            sorted(neighbour["dst"] for neighbour in neighbours),
            sum("dst" in entry for entry in entries),
            {name: pod["ip"] for name, pod in said["pods"].items()},
            len(said["policies"]),
        )


@contextmanager
def node_namespace() -> Iterator[None]:
    """A namespace that looks like a node with ten pods on its bridge."""
    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "set", "lo", "up", namespace=NAMESPACE)
        _pair("eth0", "lan")
        ip("addr", "add", f"{objects.node_address(0)}/16", "dev", "eth0", namespace=NAMESPACE)
        add_bridge(NAMESPACE, str(objects.node_subnet(0)[1]), mtu=1450)
        for number in range(objects.PODS_OF_A_NODE):
            _pair(f"veth{number}", f"pod{number}")
            ip("link", "set", f"veth{number}", "master", "cni0", namespace=NAMESPACE)
        yield
    finally:
        run("ip", "netns", "del", NAMESPACE, check=False)


def _pair(name: str, peer: str) -> None:
    ip("link", "add", name, "type", "veth", "peer", "name", peer, namespace=NAMESPACE)
    for each in (name, peer):
        ip("link", "set", each, "up", namespace=NAMESPACE)


def measured(nodes: int, agents: Path = REPOSITORY) -> Result:
    """Have the agent in the folder ``agents`` converge and follow changes, with that many nodes."""
    python = DEBIAN_PYTHON if _has_pyroute2(DEBIAN_PYTHON) else sys.executable
    with tempfile.TemporaryDirectory() as name, node_namespace():
        folder = Path(name)
        files = make_certificate(folder, ADDRESS)
        (folder / "token").write_text(TOKEN)
        api = inside(NAMESPACE, lambda: StandIn((ADDRESS, PORT), files, TOKEN))
        with serving(api):
            cluster = Cluster(api, nodes)
            started = time.monotonic()
            agent = Agent(folder, python, agents)
            try:
                return _follow(cluster, agent, python, started)
            finally:
                agent.stop()


def _follow(cluster: Cluster, agent: Agent, python: str, started: float) -> Result:
    api = cluster.api

    def spent() -> Spent:
        return Spent(agent.cpu(), len(api.asked), api.bytes_sent)

    def change(title: str, do: Callable[[int], None], rate: float) -> Change:
        before, begun, number = spent(), time.monotonic(), 0
        while time.monotonic() < begun + CHANGES_SECONDS:
            do(number)
            number += 1
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        settled = eventually(lambda: agent.state() == cluster.wanted(), CONVERGED_SECONDS)
        return Change(title, number, spent() - before, settled)

    eventually(lambda: agent.state() is not None, CONVERGED_SECONDS)
    seconds = time.monotonic() - started
    eventually(lambda: agent.state() == cluster.wanted(), CONVERGED_SECONDS)
    # The round that followed on the agent's own changes is over, too.
    time.sleep(5)
    start = spent()
    most, lists = agent.mebibytes("VmHWM"), api.count("list")
    time.sleep(IDLE_SECONDS)
    idle = spent() - start
    watches = [float(asked.query["timeoutSeconds"]) for asked in api.asked if asked.kind == "watch"]
    changes = (
        change("a pod's status", cluster.pod_status, 10),
        change("a node's heartbeat", cluster.node_heartbeat, 10),
        change("a pod replaced", cluster.pod_gets_another_address, 10),
        change("a node goes or comes", cluster.node_goes_or_comes, 2),
    )
    return Result(
        cluster.nodes,
        python,
        seconds,
        start,
        lists,
        most,
        agent.mebibytes("VmRSS"),
        idle,
        sum(watches) / len(watches),
        changes,
    )


def _has_pyroute2(python: str) -> bool:
    return Path(python).exists() and not subprocess.run([python, "-c", "import pyroute2"], check=False).returncode


def main(sizes: Sequence[int], agents: Path = REPOSITORY) -> None:
    """Print what was measured for each number of nodes."""
    for size in sizes:
        print("\n".join(_lines(measured(size, agents))), flush=True)


def _lines(result: Result) -> Iterator[str]:
    pods = result.nodes * objects.PODS_OF_A_NODE
    yield (
        f"{result.nodes} nodes, {pods} pods, {pods // PODS_OF_A_POLICY} policies: podnet by {result.python} "
        "against a stand-in of the API"
    )
    yield f"  converged after {result.seconds:.1f} s, with {result.start.cpu:.1f} s of CPU time"
    yield f"  memory {result.mebibytes:.0f} MiB, {result.most_mebibytes:.0f} MiB at the most while it converged"
    yield (
        f"  requests {result.start.requests}, {result.lists} of them for lists; "
        f"{result.start.bytes_sent / 2**20:.1f} MiB read"
    )
    yield (
        f"  without changes: {60 * result.idle.cpu / IDLE_SECONDS:.2f} s of CPU time and "
        f"{60 * result.idle.requests / IDLE_SECONDS:.0f} requests a minute"
    )
    background = result.idle.cpu / IDLE_SECONDS * CHANGES_SECONDS
    for each in result.changes:
        yield (
            f"  {each.title}: {each.count} in {CHANGES_SECONDS:.0f} s, for each "
            f"{1000 * (each.spent.cpu - background) / each.count:.1f} ms of CPU time and "
            f"{each.spent.bytes_sent / each.count / 1024:.1f} KiB; {each.spent.requests} requests; "
            f"followed {each.settled:.1f} s after the last"
        )
    yield (
        f"  computed, not run: {result.nodes} such agents ask {result.nodes * result.start.requests} times and read "
        f"{result.nodes * result.start.bytes_sent / 2**30:.1f} GiB as all start, then open "
        f"{4 * result.nodes / result.watch_seconds:.1f} watches a second"
    )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or SIZES)
