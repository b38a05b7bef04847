"""What the deploy costs beyond the bare commands: both are timed in turns on the same warm lab, from prepared hosts.

Prepared means: Docker, packages and images are on the hosts, a cluster is not (`./inv reset --keep-hosts`). The bare
side runs what a person would type over ssh, with the files that the deploy has, and checks nothing on the way.
"""

import shlex
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.table import Table

from kubeproof.config import cluster
from kubeproof.config.cluster import LoadedInventory, Node
from kubeproof.config.tables import paths
from kubeproof.deploy import pyinfra_run
from kubeproof.node.joining import Credentials, credentials
from kubeproof.node.kubeadm_config import init_command, init_config, join_config
from kubeproof.terminal.console import console, say, step
from kubeproof.terminal.errors import CommandError, UserError
from kubeproof.terminal.summary import counted
from lab.paths import REPOSITORY
from lab.settings import LabSettings

ROUNDS = 3
COMMAND_SECONDS = 300
INVENTORY = REPOSITORY / "inventory" / "lab.py"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
INIT_FILE, JOIN_FILE = "/run/bench-init.yaml", "/run/bench-join.yaml"
PLACES = '{range .items[*]}{.kind}/{.metadata.name} -n {.metadata.namespace}{"\\n"}{end}'
"""A line for each workload, as arguments of `kubectl rollout status`."""


def rounds_of(written: str) -> int:
    """How many rounds are asked for. Raises UserError."""
    if not written.isascii() or not written.isdigit() or not 0 < int(written) < 100:
        raise UserError([f"--rounds: is {written!r}, give a number from 1 to 99"])
    return int(written)


def run(lab: LabSettings, rounds: int = ROUNDS) -> None:
    """Time both sides in each round, print them with their ratio, and leave a deployed cluster.

    Raises CommandError or UserError if a side fails.
    """
    loaded = cluster.load(INVENTORY)
    with step("bench: preparing the hosts"):
        _deploy(loaded)
        network, others = _objects(loaded)
    sides: dict[str, Callable[[], None]] = {
        "bare commands over ssh": lambda: _bare(loaded, network, others),
        "deploy (pyinfra)": lambda: _deploy(loaded),
    }
    seconds: dict[str, list[float]] = {title: [] for title in sides}
    try:
        for number in range(1, rounds + 1):
            for title, make in sides.items():
                with step(f"bench: reset before {title}, round {number} of {rounds}"):
                    _reset(loaded)
                with step(f"bench: {title}, round {number} of {rounds}"):
                    started = time.monotonic()
                    make()
                    seconds[title].append(time.monotonic() - started)
    except BaseException:
        say("[bold]the cluster is half made[/bold]: run `./inv reset --keep-hosts` and then `./inv apply`")
        raise
    _show(lab, seconds)


def _show(lab: LabSettings, seconds: dict[str, list[float]]) -> None:
    rows = {title: [*times, statistics.median(times)] for title, times in seconds.items()}
    bare, deploy = rows.values()
    table = Table("side", box=None, pad_edge=False, header_style="bold")
    for name in (*(f"round {number}" for number in range(1, len(bare))), "median"):
        table.add_column(name, justify="right")
    for title, times in rows.items():
        table.add_row(title, *(f"{time:.1f}s" for time in times))
    table.add_row("ratio", *(f"{one / other:.2f}" for one, other in zip(deploy, bare, strict=True)), style="bold")
    console.print(
        f"\nCluster on {counted(1 + lab.workers, 'prepared node')}, from kubeadm init to all workloads ready:"
    )
    console.print(table)


def _deploy(loaded: LoadedInventory) -> None:
    _pyinfra(loaded, "deploy.py", {})


def _reset(loaded: LoadedInventory) -> None:
    _pyinfra(loaded, "reset.py", {"KUBEPROOF_KEEP_HOSTS": "1"})


def _pyinfra(loaded: LoadedInventory, file: str, env: dict[str, str]) -> None:
    outcome = pyinfra_run.run(loaded.file, REPOSITORY / file, env=env)
    if outcome.failures:
        raise CommandError(f"{file}: failed on {outcome.failure} (full log: {outcome.log})")


def _objects(loaded: LoadedInventory) -> tuple[str, ...]:
    """What the deploy applies to this cluster, from the files on the control plane host: the network, and the rest."""
    network = shlex.quote(f"{loaded.cluster.settings.cni}.yaml")
    others = f"for file in *.yaml; do [ $file = {network} ] || {{ echo ---; cat $file; }}; done"
    commands = (f"cd {paths.MANIFESTS} && {{ {words}; }}" for words in (f"cat {network}", others))
    return tuple(_ssh(loaded, loaded.cluster.leader, command) for command in commands)


def _bare(loaded: LoadedInventory, network: str, others: str) -> None:
    wanted = loaded.cluster
    leader = wanted.leader
    _ssh(loaded, leader, f"umask 077; cat > {INIT_FILE}", init_config(wanted))
    _ssh(loaded, leader, shlex.join(init_command(wanted, INIT_FILE)))
    _apply(loaded, network)
    made = credentials(_ssh(loaded, leader, "kubeadm token create --ttl 10m --print-join-command"))
    if made is None:
        raise CommandError("bench: kubeadm made no token that can be read")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda worker: _join(loaded, worker, made), wanted.workers))
    if others:
        _apply(loaded, others)
    each = f"{KUBECTL} rollout status --timeout={COMMAND_SECONDS}s $workload < /dev/null || exit 1"
    workloads = f"{KUBECTL} get daemonsets,deployments -A -o jsonpath={shlex.quote(PLACES)}"
    _ssh(loaded, leader, f"{KUBECTL} wait --for=condition=Ready nodes --all --timeout={COMMAND_SECONDS}s")
    _ssh(loaded, leader, f"set -o pipefail; {workloads} | while read -r workload; do {each}; done")
    _ssh(loaded, leader, f"kubeadm token delete {made.token_id}; rm {INIT_FILE}")


def _join(loaded: LoadedInventory, worker: Node, made: Credentials) -> None:
    join = f"cat > {JOIN_FILE}; kubeadm join --config {JOIN_FILE}; code=$?; rm {JOIN_FILE}; exit $code"
    _ssh(loaded, worker, f"umask 077; {join}", join_config(loaded.cluster, worker, made))


def _apply(loaded: LoadedInventory, text: str) -> None:
    _ssh(loaded, loaded.cluster.leader, f"{KUBECTL} apply -f -", text)


def _ssh(loaded: LoadedInventory, node: Node, command: str, stdin: str = "") -> str:
    words: Sequence[str] = [*loaded.ssh[node.name].command(), command]
    seconds = 2 * COMMAND_SECONDS
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise CommandError(f"{node.name}: {command}: no end after {seconds} s") from None
    if done.returncode != 0:
        raise CommandError(f"{node.name}: {command}: {done.stderr.strip()[-300:] or f'exit code {done.returncode}'}")
    return done.stdout
