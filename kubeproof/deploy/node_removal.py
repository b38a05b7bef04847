"""Takes workers out of the cluster for good: drained, deleted from the API, their hosts reset.

Every step asks first what there is to do, so a second run goes on from where the first stopped.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.markup import escape

from kubeproof.access import programs, remote_kubectl
from kubeproof.config.cluster import Cluster, LoadedInventory
from kubeproof.config.patience import patient
from kubeproof.deploy import pyinfra_run
from kubeproof.terminal.console import say, step
from kubeproof.terminal.errors import CommandError, UserError
from kubeproof.terminal.exits import REPOSITORY
from kubeproof.terminal.summary import counted

DRAIN_SECONDS = 180
GONE_SECONDS = 10
"""How long a pod may outstay its own grace period before it is no longer waited for: its kubelet is not there."""
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Left:
    changes: int
    unreachable: str = ""
    """Why its host could not be reached; empty if it could."""


def check(cluster: Cluster, names: Sequence[str]) -> None:
    """Raise UserError, with a line for each, if any of the names is not a worker's."""
    problems = list(_problems(cluster, names))
    if problems:
        raise UserError(problems)


def _problems(cluster: Cluster, names: Sequence[str]) -> Iterator[str]:
    workers = [node.name for node in cluster.workers]
    if not names:
        yield f"node: none is named, use one of {', '.join(workers) or 'the workers, of which there are none'}"
    for name in dict.fromkeys(names):
        if name == cluster.leader.name:
            yield f"{name}: is the control plane host, without which there is no cluster; `./inv reset` takes all away"
        elif name not in workers:
            yield f"{name}: no such worker in the inventory, use one of {', '.join(workers) or '(there are none)'}"


def remove(loaded: LoadedInventory, names: Sequence[str], afterwards: str) -> bool:
    """Take these workers out; return whether their hosts were reset too. Says ``afterwards`` what is to be done then.

    Raises UserError for a wrong name, before anything is done, and CommandError.
    """
    check(loaded.cluster, names)
    done = {name: _remove(loaded, name) for name in dict.fromkeys(names)}
    for name, left in done.items():
        if left.unreachable:
            say(escape(f"[error] {name}: {what_is_left(name, left.unreachable)}"))
    say(f"[bold]{counted(sum(left.changes for left in done.values()), 'change')}[/bold]")
    say(escape(afterwards))
    return not any(left.unreachable for left in done.values())


def what_is_left(name: str, reason: str) -> str:
    """What there still is of a worker whose host could not be reached, and what to do about it. Pure."""
    return (
        f"is out of the cluster, but its host cannot be reached ({reason}) and keeps kubelet, its pods and its "
        f"credentials: it registers itself again if it boots; run `./inv node.remove {name}` again when it can be "
        "reached, or wipe it"
    )


def advice(inventory: str, names: Sequence[str]) -> str:
    """What to change in an inventory file. Pure."""
    return f"next: take {', '.join(names)} out of `workers` in {inventory}, or the next apply makes it a node again"


def _remove(loaded: LoadedInventory, name: str) -> Left:
    changes = _leave_api(loaded, name)
    reason = _unreachable(loaded, name)
    if reason:
        return Left(changes, reason)
    outcome = pyinfra_run.run(loaded.file, REPOSITORY / "reset.py", limit=[name])
    if outcome.failures:
        raise CommandError(f"{name}: its reset failed, run the command again to go on (full log: {outcome.log})")
    return Left(changes + outcome.count)


def _leave_api(loaded: LoadedInventory, name: str) -> int:
    """Drain and delete the node, if the API knows it; return the number of changes."""
    answer = remote_kubectl.capture(loaded, ["get", "node", name, "--ignore-not-found", "--output=json"])
    if not answer.strip():
        say(f"{name}: the API knows no such node any more")
        return 0
    changes = 0
    if needs_drain(json.loads(answer), _pods(loaded, name)):
        with step(f"draining {name}"):
            _drain(loaded, name)
        changes += 1
    remote_kubectl.capture(loaded, ["delete", "node", name])
    say(f"{name}: deleted from the API")
    return changes + 1


def _pods(loaded: LoadedInventory, name: str) -> list[dict[str, object]]:
    words = ["get", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={name}", "--output=json"]
    items: list[dict[str, object]] = json.loads(remote_kubectl.capture(loaded, words))["items"]
    return items


def needs_drain(node: dict[str, object], pods: Sequence[dict[str, object]]) -> bool:
    """Whether anything but pods of DaemonSets and static ones is on a node, or still could come. Pure."""
    spec = node.get("spec")
    cordoned = isinstance(spec, dict) and bool(spec.get("unschedulable"))
    return not cordoned or any(not _stays(pod) for pod in pods)


def _stays(pod: dict[str, object]) -> bool:
    metadata = pod["metadata"]
    owners = metadata.get("ownerReferences", ()) if isinstance(metadata, dict) else ()
    return any(owner["kind"] in ("DaemonSet", "Node") for owner in owners)


def _drain(loaded: LoadedInventory, name: str) -> None:
    words = ["drain", name, "--ignore-daemonsets", "--delete-emptydir-data"]
    limits = [f"--timeout={patient(DRAIN_SECONDS)}s", f"--skip-wait-for-delete-timeout={patient(GONE_SECONDS)}"]
    try:
        remote_kubectl.capture(
            loaded, [*words, *limits], seconds=patient(DRAIN_SECONDS) + remote_kubectl.CAPTURE_SECONDS
        )
    except CommandError as error:
        raise CommandError(
            f"{name}: cannot be drained ({error}), nothing else was done; see to these pods, then run the command again"
        ) from None


def _unreachable(loaded: LoadedInventory, name: str) -> str:
    """Why ssh does not get to a host; empty if it does."""
    *ssh, hostname = loaded.ssh[name].command()
    seconds = patient(CONNECT_SECONDS)
    try:
        done = programs.run([*ssh, "-o", f"ConnectTimeout={seconds}", hostname, "true"], seconds=2 * seconds)
    except subprocess.TimeoutExpired:
        return f"it accepts connections and does nothing within {2 * seconds} s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["ssh failed"])[-1].strip()
