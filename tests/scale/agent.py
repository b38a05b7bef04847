"""What podnet costs with many nodes: ``python -m tests.scale.agent [500 …]``, which `./inv bench --agent` runs.

One agent, as its container runs it, in a network namespace of its own, against a stand-in of the API
(:mod:`.api_stand_in`); ten pods for each node, and a policy for each five pods (:mod:`.objects`). It has converged when
it says that it is ready, and routes, neighbours, FDB and policies in force are those of the cluster. CPU time is the
agent's and that of the iptables and nft that it runs; what the stand-in needs is not in it. What all agents together
ask of an API server is computed from the one. Needs root.
"""

import json
import os
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
SETTLED_SECONDS = 5.0
TICKS = os.sysconf("SC_CLK_TCK")
START = """
exec > "$1/log" 2>&1
mount -t tmpfs none /run
mkdir -p /run/etc /run/work /run/secrets/kubernetes.io
mount -t overlay none -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc
ln -s "$1" /run/secrets/kubernetes.io/serviceaccount
exec "$2" -m agents.podnet
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

    def __str__(self) -> str:
        pods, policies = len(self.api.items(PODS)), len(self.api.items(POLICIES))
        return f"{self.nodes} nodes, {pods} pods, {policies} policies"

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
        self._process.kill()
        self._process.wait()

    def cpu(self) -> float:
        """Seconds of it and of the processes that it waited for (proc_pid_stat(5): utime to cstime)."""
        values = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, values[11:15])) / TICKS

    def mebibytes(self, name: str) -> float:
        """VmRSS or VmHWM (at the most) of the process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) / 1024

    def log(self) -> str:
        """The end of what it has written."""
        return (self.folder / "log").read_text()[-1000:]

    def is_as(self, cluster: Cluster) -> bool:
        """Whether it is ready, and the node as it has to be."""
        state = self._state()
        return state is not None and state == cluster.wanted()

    def _state(self) -> tuple[Any, ...] | None:
        if self._process.poll() is not None:
            raise RuntimeError(f"podnet has ended:\n{self.log()}")
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


def measured(nodes: int, agents: Path = REPOSITORY) -> Iterator[str]:
    """Have the agent in the folder ``agents`` converge and follow changes, with 2 or more nodes; tell what that cost.

    Raises RuntimeError with the agent's log if it does not.
    """
    python = DEBIAN_PYTHON if _has_pyroute2(DEBIAN_PYTHON) else sys.executable
    with tempfile.TemporaryDirectory() as name, node_namespace():
        folder = Path(name)
        files = make_certificate(folder, ADDRESS)
        (folder / "token").write_text(TOKEN)
        api = inside(NAMESPACE, lambda: StandIn((ADDRESS, PORT), files, TOKEN))
        with serving(api):
            cluster = Cluster(api, nodes)
            agent = Agent(folder, python, agents)
            try:
                yield f"{cluster}: podnet by {python} against a stand-in of the API"
                yield from Measurement(cluster, agent).lines()
            finally:
                agent.stop()


class Measurement:
    """What an agent that has just been started costs."""

    def __init__(self, cluster: Cluster, agent: Agent) -> None:
        self._cluster, self._api, self._agent = cluster, cluster.api, agent
        self._idle = 0.0

    def lines(self) -> Iterator[str]:
        yield f"  converged after {self._settled():.1f} s"
        # The round that follows on the agent's own changes belongs to it, too.
        time.sleep(SETTLED_SECONDS)
        start = self._spent()
        mebibytes = start.bytes_sent / 2**20
        yield f"  {start.cpu:.1f} s of CPU time, memory {self._agent.mebibytes('VmRSS'):.0f} MiB by then"
        yield f"  {start.requests} requests, {self._api.count('list')} of them lists, {mebibytes:.1f} MiB read"
        time.sleep(IDLE_SECONDS)
        idle = self._spent() - start
        self._idle = idle.cpu / IDLE_SECONDS
        minute = 60 / IDLE_SECONDS
        yield f"  no changes: {60 * self._idle:.2f} s of CPU time, {minute * idle.requests:.0f} requests a minute"
        yield self._change("a pod's status", self._cluster.pod_status, 10)
        yield self._change("a node's heartbeat", self._cluster.node_heartbeat, 10)
        yield self._change("a pod replaced", self._cluster.pod_gets_another_address, 10)
        yield self._change("a node goes or comes", self._cluster.node_goes_or_comes, 2)
        yield f"  memory {self._agent.mebibytes('VmHWM'):.0f} MiB at the most"
        nodes = self._cluster.nodes
        watches = [float(asked.query["timeoutSeconds"]) for asked in self._api.asked if asked.kind == "watch"]
        yield (
            f"  computed, not run: {nodes} such agents that start at once ask {nodes * start.requests} times and read "
            f"{nodes * mebibytes / 1024:.1f} GiB; then they open {nodes * 4 * len(watches) / sum(watches):.0f} watches "
            "a second"
        )

    def _spent(self) -> Spent:
        return Spent(self._agent.cpu(), len(self._api.asked), self._api.bytes_sent)

    def _change(self, title: str, do: Callable[[int], None], rate: float) -> str:
        """Make changes, so many a second, and tell what each of them costs beyond what nothing costs."""
        before, begun, number = self._spent(), time.monotonic(), 0
        while (passed := time.monotonic() - begun) < CHANGES_SECONDS:
            if passed * rate >= number:
                do(number)
                number += 1
            time.sleep(0.01)
        settled = self._settled()
        spent = self._spent() - before
        cpu = max(0.0, spent.cpu - (time.monotonic() - begun) * self._idle)
        return (
            f"  {title}: {number} in {CHANGES_SECONDS:.0f} s, {1000 * cpu / number:.1f} ms of CPU time and "
            f"{spent.bytes_sent / number / 1024:.1f} KiB each, {spent.requests} requests, "
            f"in force {settled:.1f} s after the last"
        )

    def _settled(self) -> float:
        """Seconds until the node is as the cluster."""
        try:
            return eventually(lambda: self._agent.is_as(self._cluster), CONVERGED_SECONDS)
        except AssertionError:
            raise RuntimeError(f"not as the cluster after {CONVERGED_SECONDS:.0f} s:\n{self._agent.log()}") from None


def _has_pyroute2(python: str) -> bool:
    return Path(python).exists() and not subprocess.run([python, "-c", "import pyroute2"], check=False).returncode


def main(sizes: Sequence[int], agents: Path = REPOSITORY) -> int:
    """Print what was measured for each number of nodes; 1 where that could not be."""
    for size in sizes:
        try:
            for line in measured(size, agents):
                print(line, flush=True)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            print(f"podnet with {size} nodes: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]] or SIZES))
