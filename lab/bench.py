"""What the deploy costs beyond the bare commands: both are timed in turns on the same warm lab, from prepared hosts.

Prepared means: Docker, packages and images are on the hosts, a cluster is not (`./inv reset --keep-hosts`). The bare
side runs what a person would type over ssh, with the deploy's own configuration files, and checks nothing on the way.
"""

import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rich.table import Table

from kubeproof import cluster, pyinfra_run
from kubeproof.cluster import LoadedInventory, Node
from kubeproof.console import console, step
from kubeproof.errors import CommandError
from kubeproof.node import templates
from kubeproof.node.images import pause_image
from kubeproof.node.joining import Credentials, credentials
from kubeproof.node.kubeadm_config import init_config
from lab.paths import REPOSITORY
from lab.settings import LabSettings

RUNS = 3
COMMAND_SECONDS = 300
INVENTORY = REPOSITORY / "inventory" / "lab.py"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
MANIFESTS = ("podnet.yaml.j2", "cluster-dns.yaml.j2", "httpd.yaml.j2", "kuard.yaml.j2")
WORKLOADS = (
    "-n kube-system daemonset/kube-proxy",
    "-n kube-system daemonset/podnet",
    "-n kube-system deployment/kube-dns",
    "deployment/httpd",
    "deployment/kuard",
)


def run(lab: LabSettings, runs: int = RUNS) -> int:
    """Time both sides ``runs`` times, print them with their ratio, and leave a deployed cluster. Returns 0."""
    loaded = cluster.load(INVENTORY)
    with step("bench: preparing the hosts"):
        _deploy(loaded)
    bare, deployed = [], []
    for number in range(1, runs + 1):
        bare.append(_timed(loaded, f"bare commands, run {number} of {runs}", _bare))
        deployed.append(_timed(loaded, f"deploy, run {number} of {runs}", _deploy))
    _show(lab, bare, deployed)
    return 0


def _timed(loaded: LoadedInventory, title: str, side: Callable[[LoadedInventory], None]) -> float:
    with step(f"bench: reset before {title}"):
        _pyinfra(loaded, "reset.py", {"KUBEPROOF_KEEP_HOSTS": "1"})
    with step(f"bench: {title}"):
        started = time.monotonic()
        side(loaded)
        return time.monotonic() - started


def _show(lab: LabSettings, bare: list[float], deployed: list[float]) -> None:
    table = Table("side", box=None, pad_edge=False, header_style="bold")
    for name in (*(f"run {number}" for number in range(1, len(bare) + 1)), "median"):
        table.add_column(name, justify="right")
    for title, seconds in (("bare commands over ssh", bare), ("deploy (pyinfra)", deployed)):
        table.add_row(title, *(f"{value:.1f}s" for value in (*seconds, statistics.median(seconds))))
    ratios = [ours / theirs for ours, theirs in zip(deployed, bare, strict=True)]
    table.add_row("ratio", *(f"{value:.2f}" for value in ratios), f"{_ratio(bare, deployed):.2f}", style="bold")
    console.print(f"\nCluster on {1 + lab.workers} prepared nodes, from kubeadm init to a running demo:")
    console.print(table)


def _ratio(bare: list[float], deployed: list[float]) -> float:
    return statistics.median(deployed) / statistics.median(bare)


def _deploy(loaded: LoadedInventory) -> None:
    _pyinfra(loaded, "deploy.py", {})


def _pyinfra(loaded: LoadedInventory, file: str, env: dict[str, str]) -> None:
    outcome = pyinfra_run.run(loaded.file, REPOSITORY / file, env=env)
    if outcome.failed_hosts:
        raise CommandError(f"{file}: failed on {', '.join(outcome.failed_hosts)} (full log: {outcome.log})")


def _bare(loaded: LoadedInventory) -> None:
    wanted = loaded.cluster
    leader = wanted.leader
    init = "umask 077; cat > /run/bench-init.yaml; kubeadm init --config /run/bench-init.yaml --skip-token-print"
    _ssh(loaded, leader, f"{init} --skip-phases addon/coredns", init_config(wanted))
    _apply(loaded, MANIFESTS[0])
    made = credentials(_ssh(loaded, leader, "kubeadm token create --ttl 10m --print-join-command"))
    if made is None:
        raise CommandError("bench: kubeadm made no token that can be read")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda worker: _join(loaded, worker, made), wanted.workers))
    for manifest in MANIFESTS[1:]:
        _apply(loaded, manifest)
    waits = [f"{KUBECTL} wait --for=condition=Ready nodes --all --timeout={COMMAND_SECONDS}s"]
    waits += [f"{KUBECTL} rollout status --timeout={COMMAND_SECONDS}s {workload}" for workload in WORKLOADS]
    _ssh(loaded, leader, " && ".join(waits))
    _ssh(loaded, leader, f"kubeadm token delete {made.token_id}; rm /run/bench-init.yaml")


def _join(loaded: LoadedInventory, worker: Node, made: Credentials) -> None:
    settings = loaded.cluster.settings
    text = templates.render(
        "kubeadm-join.yaml.j2",
        node=worker,
        endpoint=f"{loaded.cluster.leader.address}:{settings.api_port}",
        token=made.token,
        ca_hash=made.ca_hash,
        pause_image=pause_image(settings),
        ignored_errors=list(settings.ignore_preflight_errors),
    )
    file = "/run/bench-join.yaml"
    _ssh(loaded, worker, f"umask 077; cat > {file}; kubeadm join --config {file}; code=$?; rm {file}; exit $code", text)


def _apply(loaded: LoadedInventory, manifest: str) -> None:
    text = templates.render(manifest, cluster=loaded.cluster, settings=loaded.cluster.settings)
    _ssh(loaded, loaded.cluster.leader, f"{KUBECTL} apply -f -", text)


def _ssh(loaded: LoadedInventory, node: Node, command: str, stdin: str = "") -> str:
    done = subprocess.run(
        [*loaded.ssh[node.name].command(), command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=2 * COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise CommandError(f"{node.name}: {command.split(';')[-1].strip()}: {done.stderr.strip()[-300:]}")
    return done.stdout
