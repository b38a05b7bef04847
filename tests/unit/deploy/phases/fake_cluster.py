"""Hosts that exist only in their answers, to run whole deploys against, the ways in which they fail included."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from kubeproof.deploy.facts.questions import MARKER
from tests.unit import prepared

HERE = Path(__file__).resolve().parent
ADDRESSES = {"master": "192.0.2.11", "node1": "192.0.2.12", "node2": "192.0.2.13"}
WORKERS = ("node1", "node2")
TOKEN = "abcdef.0123456789abcdef"
CA_HASH = "sha256:" + "ab" * 32
KUBECONFIG = "server: https://192.0.2.11:6443\nclient-key-data: not-to-be-seen"
MARK = "run "
"""What is before the name of a question in the command of a fact that asks several."""
DISKS = ("/var/lib/containerd", "/var/lib/docker", "/var/lib/etcd", "/var/lib/kubelet")
FEATURES = ("overlay", "veth", "bridge", "vxlan", "conntrack", "br_netfilter", "iptables")

Rule = dict[str, Any]


def sections(**answers: str) -> str:
    """Output of a fact that asks several questions."""
    parts = (
        f"@@{MARKER} out {name}\n{answer}\n@@{MARKER} err {name}\n\n@@{MARKER} rc {name} 0\n"
        for name, answer in answers.items()
    )
    return "\n".join((*parts, f"@@{MARKER} end"))


def host_facts(
    host: str,
    address: str = "",
    *,
    links: Iterable[str] = ("lo", "eth0"),
    tunnels: Iterable[Rule] = (),
    mtu: int = 1500,
    **changes: str,
) -> Rule:
    """What preflight reads of a host that is fit, with changes."""
    found = [{"ifindex": n, "ifname": name, "mtu": mtu, "operstate": "UP"} for n, name in enumerate(links, start=1)]
    own = {"family": "inet", "local": address or ADDRESSES[host], "prefixlen": 24, "scope": "global"}
    answers = {
        "identity": f"hostname={host}\nmachine_id=id-of-{host}\nproduct_uuid=uuid-of-{host}\ncontainer=",
        "system": "debian 12",
        "uid": "0",
        "architecture": "x86_64",
        "kernel": "6.1.0-13-amd64",
        "cgroups": "cgroup2fs",
        "memory_mib": "4000000",
        "cores": "2",
        "init": "systemd",
        "controllers": "cpuset cpu io memory pids" if changes.get("cgroups", "cgroup2fs") == "cgroup2fs" else "",
        "disks": "\n".join(f"{path} ext2/ext3 1000 900 /dev/sda1 20000000 5000000 15000000 25% /" for path in DISKS),
        "own_addresses": address or ADDRESSES[host],
        "hosts_file": "127.0.0.1 localhost",
        "resolvers": "198.51.100.53",
        "network-links": json.dumps([*found, *tunnels]),
        "network-addresses": json.dumps([{"ifname": "eth0", "addr_info": [own]}]),
    }
    return {"host": host, "match": f"{MARK}identity", "stdout": sections(**{**answers, **changes})}


def ready_objects(*daemon_sets: str, names: Iterable[str] = ADDRESSES) -> list[dict[str, Any]]:
    """A cluster in which all is ready: podnet, or the DaemonSets (namespace/name) of another network."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    nodes = [{"kind": "Node", "metadata": {"name": name}, "status": ready} for name in names]
    counts = dict.fromkeys(("desiredNumberScheduled", "updatedNumberScheduled", "numberReady"), 3)
    agents = [
        {
            "kind": "DaemonSet",
            "metadata": {"namespace": namespace, "name": name, "generation": 1},
            "status": {"observedGeneration": 1, **counts},
        }
        for namespace, _, name in (
            path.partition("/") for path in ("kube-system/kube-proxy", *(daemon_sets or ("kube-system/podnet",)))
        )
    ]
    replicas = {"updatedReplicas": 3, "readyReplicas": 3, "observedGeneration": 1}
    demo = [
        {
            "kind": "Deployment",
            "metadata": {"namespace": "default", "name": name, "generation": 1},
            "spec": {"replicas": 3},
            "status": dict(replicas),
        }
        for name in ("httpd", "kuard")
    ]
    return [*nodes, *agents, *demo]


def blank_hosts(facts: Iterable[Rule] | None = None, names: Iterable[str] = ADDRESSES) -> list[Rule]:
    """Hosts without anything, which become a cluster as they are told to."""
    return [
        *(map(host_facts, ADDRESSES) if facts is None else facts),
        {"match": f"{MARK}veth", "stdout": sections(**dict.fromkeys(FEATURES, "ok"))},
        {"match": r"^date \+%s", "stdout": "1700000000.5"},
        {"match": "apt-config shell", "stdout": "packages http://mirror.example.net/kubernetes/InRelease 200"},
        {"match": "peer.pl does", "stdout": "\n".join([*(f"heard {name}" for name in names), "done"])},
        {"match": "umask 077.*before.json", "sets": ["remembered"]},
        {"match": r"cat \S*before.json$", "when": ["remembered"], "stdout": "{}"},
        {"match": "--simulate", "stdout": "Inst docker.io (20.10.24 Debian:12 [amd64])"},
        {"match": "dpkg-query", "when": ["packages"], "stdout": installed_packages()},
        {"match": "apt-get.* install", "sets": ["packages"]},
        {"match": "for image in", "stdout": "registry.example.net/pause:3.2"},
        {
            "match": f"{MARK}configured",
            "when": ["initialised"],
            "stdout": sections(configured="x", healthy="ok", finished="a\nb"),
        },
        {"match": "kubeadm init", "sets": ["initialised", "@api"]},
        {"match": "curl .*/healthz", "when": ["@api"], "stdout": "ok"},
        {"match": "cat /etc/kubernetes/admin.conf", "stdout": KUBECONFIG},
        {
            "match": "kubeadm token create",
            "stdout": f"kubeadm join 192.0.2.11:6443 --token {TOKEN} --discovery-token-ca-cert-hash {CA_HASH}",
        },
        {"match": "kubectl .* diff", "stdout": "differs"},
        {"match": "get nodes,", "when": ["@api"], "stdout": json.dumps({"items": ready_objects(names=names)})},
    ]


def installed_packages() -> str:
    """dpkg-query's answer after the installation."""
    kubernetes = [f"hold installed {name} 1.20.2-1" for name in ("kubeadm", "kubelet", "kubectl")]
    others = ("docker.io", "iptables", "nftables", "conntrack", "tcpdump", "iproute2", "procps", "curl")
    return "\n".join([*kubernetes, *(f"install installed {name} 1" for name in others)])


@dataclass(frozen=True)
class Command:
    """What was run on a host, or the file that was put there."""

    host: str
    command: str = ""
    stdin: str | None = None
    file: str = ""


@dataclass
class Run:
    """How a run of pyinfra ended."""

    code: int
    output: str
    commands: list[Command]

    def places(self, pattern: str, host: str | None = None) -> list[int]:
        """Positions in the order of execution of commands that match."""
        return [
            position
            for position, item in enumerate(self.commands)
            if re.search(pattern, item.command) and host in (None, item.host)
        ]

    def ran(self, pattern: str, host: str | None = None) -> bool:
        return bool(self.places(pattern, host))


Start = Callable[[str, Sequence[str], Mapping[str, str], IO[str]], int]


@dataclass
class FakeCluster:
    """Rules and the folder in which runs leave their traces."""

    folder: Path
    rules: list[Rule] = field(default_factory=blank_hosts)
    down: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    addresses: dict[str, str] = field(default_factory=lambda: dict(ADDRESSES))
    settings: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    start: Start = prepared.run
    """Runs a module's `run` with words in an environment, its output into a file, and returns the exit code."""

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kube" / "config"

    def answer(self, match: str, host: str | None = None, **rule: Any) -> None:
        """Add a rule that goes before all others."""
        self.rules.insert(0, {"match": match, **({"host": host} if host else {}), **rule})

    def run(self, deploy: str, *arguments: str) -> Run:
        """Run a deploy file of the repository and see what it did."""
        world, log, key = (self.folder / name for name in ("world.json", "log.jsonl", "key.asc"))
        world.write_text(json.dumps({"rules": self.rules, "down": self.down, "flags": self.flags}))
        log.write_text("")
        key.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        environment = {
            **os.environ,
            "FAKE_CLUSTER_KEY": str(key),
            "FAKE_CLUSTER_KUBECONFIG": str(self.kubeconfig),
            "FAKE_CLUSTER_HOSTS": json.dumps(self.addresses),
            "FAKE_CLUSTER_SETTINGS": json.dumps(self.settings),
            "PYINFRA_PROGRESS": "off",
            # No registry answers, and reading this machine's certificates to ask one takes long.
            "SSL_CERT_FILE": os.devnull,
            **self.environment,
        }
        # A host that fails is the deploy's own affair here, whatever config.py says.
        words = [str(world), str(log), str(HERE / "inventory" / "fake.py"), deploy, *arguments, "--fail-percent", "100"]
        with tempfile.TemporaryFile("w+") as output:
            code = self.start("tests.unit.deploy.phases.fake_pyinfra", words, environment, output)
            output.seek(0)
            said = output.read()
        commands = [Command(**json.loads(line)) for line in log.read_text().splitlines()]
        return Run(code, said, commands)
