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
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table

from kubeproof.config import cluster
from kubeproof.config.cluster import LoadedInventory, Node
from kubeproof.config.tables import paths
from kubeproof.deploy import pyinfra_run
from kubeproof.node.joining import Credentials, credentials
from kubeproof.node.kubeadm_config import init_command, init_config, join_config
from kubeproof.terminal.console import console, say, step
from kubeproof.terminal.errors import EXIT_NOT_HOLDING, EXIT_OK, CommandError, UserError
from kubeproof.terminal.summary import counted
from lab.host import is_root
from lab.paths import REPOSITORY
from lab.settings import LabSettings

ROUNDS = 3
MOST_HOSTS = 4000
"""What the networks of `tests.scale.hosts` and `tests.scale.objects` have room for."""
COMMAND_SECONDS = 300
INVENTORY = REPOSITORY / "inventory" / "lab.py"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
INIT_FILE, JOIN_FILE = "/run/bench-init.yaml", "/run/bench-join.yaml"
PLACES = '{range .items[*]}{.kind}/{.metadata.name} -n {.metadata.namespace}{"\\n"}{end}'
"""A line for each workload, as arguments of `kubectl rollout status`."""


@dataclass(frozen=True)
class Objects:
    """What the deploy applies to this cluster, read from the files that it keeps on the control plane host."""

    network: str
    others: str


@dataclass
class Side:
    """One way to the same cluster: its seconds by round, and what has failed in the others."""

    title: str
    make: Callable[[], None]
    seconds: dict[int, float] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def rounds_of(written: str) -> int:
    """How many rounds are asked for. Raises UserError."""
    if not written.isascii() or not written.isdigit() or not 0 < int(written) < 100:
        raise UserError([f"--rounds: is {written!r}, give a number from 1 to 99"])
    return int(written)


def sizes_of(option: str, written: str) -> list[int]:
    """The numbers of hosts that an option asks for, separated by commas. Raises UserError."""
    numbers = [int(word) if word.isascii() and word.isdigit() else 0 for word in written.split(",")]
    if not all(0 < number <= MOST_HOSTS for number in numbers):
        raise UserError([f"{option}: is {written!r}, give numbers from 1 to {MOST_HOSTS}, e.g. 10,100,1000"])
    return numbers


def nodes_of(written: str) -> list[int]:
    """As :func:`sizes_of`, of what only root can measure: it needs a network namespace. Raises UserError."""
    sizes = sizes_of("--agent", written)
    if min(sizes) < 2:
        raise UserError([f"--agent: is {written!r}, give at least 2 nodes"])
    if not is_root():
        raise UserError(["--agent: makes a network namespace: run it as root"])
    return sizes


def run(lab: LabSettings, rounds: int = ROUNDS) -> int:
    """Time both sides in each round, print them with their ratio, and leave a deployed cluster.

    A side that fails is told, and the next one begins with a reset, as always. Returns 1 if one has failed.
    """
    loaded = cluster.load(INVENTORY)
    with step("bench: preparing the hosts"):
        _deploy(loaded)
        objects = _objects(loaded)
    bare = Side("bare commands over ssh", lambda: _bare(loaded, objects))
    deploy = Side("deploy (pyinfra)", lambda: _deploy(loaded))
    is_deployed = True
    try:
        for number in range(1, rounds + 1):
            for side in (bare, deploy):
                is_deployed = _try(loaded, side, number, rounds) and side is deploy
    except BaseException:
        say("[bold]the cluster is half made[/bold]: run `./inv reset --keep-hosts` and then `./inv apply`")
        raise
    if not is_deployed:
        with step("bench: a cluster again, after the side that failed last"):
            _reset(loaded)
            _deploy(loaded)
    _show(lab, rounds, (bare, deploy))
    return EXIT_NOT_HOLDING if bare.failed or deploy.failed else EXIT_OK


def _try(loaded: LoadedInventory, side: Side, number: int, rounds: int) -> bool:
    """Make the cluster in one of both ways, and keep how long that took, or why it failed."""
    title = f"{side.title}, round {number} of {rounds}"
    try:
        with step(f"bench: reset before {title}"):
            _reset(loaded)
        with step(f"bench: {title}"):
            started = time.monotonic()
            side.make()
            side.seconds[number] = time.monotonic() - started
    except (CommandError, UserError) as error:
        problems = error.problems if isinstance(error, UserError) else (str(error),)
        side.failed[number] = "; ".join(problems)
        say(f"[red]{title} failed[/red]: {escape(side.failed[number])}")
        return False
    return True


def _show(lab: LabSettings, rounds: int, sides: "tuple[Side, Side]") -> None:
    table = Table("side", box=None, pad_edge=False, header_style="bold")
    numbers = range(1, rounds + 1)
    for name in (*(f"round {number}" for number in numbers), "median"):
        table.add_column(name, justify="right")
    for side in sides:
        table.add_row(side.title, *(_cell(side.seconds.get(number), "s", 1) for number in numbers), _median(side))
    bare, deploy = (side.seconds for side in sides)
    ratios = {number: deploy[number] / bare[number] for number in numbers if number in bare and number in deploy}
    middle = statistics.median(deploy.values()) / statistics.median(bare.values()) if bare and deploy else None
    table.add_row("ratio", *(_cell(ratios.get(number)) for number in numbers), _cell(middle), style="bold")
    console.print(
        f"\nCluster on {counted(1 + lab.workers, 'prepared node')}, from kubeadm init to all workloads ready:"
    )
    console.print(table)
    for side in sides:
        for number, why in side.failed.items():
            console.print(f"{side.title}, round {number}: failed: {why}", markup=False)


def _median(side: Side) -> str:
    return _cell(statistics.median(side.seconds.values()) if side.seconds else None, "s", 1)


def _cell(value: float | None, unit: str = "", digits: int = 2) -> str:
    return "failed" if value is None else f"{value:.{digits}f}{unit}"


def _deploy(loaded: LoadedInventory) -> None:
    _pyinfra(loaded, "deploy.py", {})


def _reset(loaded: LoadedInventory) -> None:
    _pyinfra(loaded, "reset.py", {"KUBEPROOF_KEEP_HOSTS": "1"})


def _pyinfra(loaded: LoadedInventory, file: str, env: dict[str, str]) -> None:
    outcome = pyinfra_run.run(loaded.file, REPOSITORY / file, env=env)
    if outcome.failures:
        raise CommandError(f"{file}: failed on {outcome.failure} (full log: {outcome.log})")


def _objects(loaded: LoadedInventory) -> Objects:
    network = shlex.quote(f"{loaded.cluster.settings.cni}.yaml")
    others = f"for file in *.yaml; do [ $file = {network} ] || {{ echo ---; cat $file; }}; done"
    network_text, others_text = (
        _ssh(loaded, loaded.cluster.leader, f"cd {paths.MANIFESTS} && {{ {words}; }}")
        for words in (f"cat {network}", others)
    )
    return Objects(network_text, others_text)


def _bare(loaded: LoadedInventory, objects: Objects) -> None:
    wanted = loaded.cluster
    leader = wanted.leader
    _ssh(loaded, leader, f"umask 077; cat > {INIT_FILE}", init_config(wanted))
    _ssh(loaded, leader, shlex.join(init_command(wanted, INIT_FILE)))
    _apply(loaded, objects.network)
    made = credentials(_ssh(loaded, leader, "kubeadm token create --ttl 10m --print-join-command"))
    if made is None:
        raise CommandError("bench: kubeadm made no token that can be read")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda worker: _join(loaded, worker, made), wanted.workers))
    if objects.others:
        _apply(loaded, objects.others)
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
