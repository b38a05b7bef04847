"""Snapshots of the lab: the files of all nodes, kept, and put back together with the cluster that is on them.

A snapshot is taken of nodes that were all shut down in an orderly way, so that etcd's data is whole, and whole together
with what the other nodes know. A restore ends the nodes as a power cut does: nothing of what they are is kept.
"""

import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from kubeproof.access import remote_kubectl
from kubeproof.config import cluster, reading
from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.tables import paths
from kubeproof.networks.artifacts import CONFIGURATIONS
from kubeproof.node import kubeconfigs
from kubeproof.proof import proving
from kubeproof.proof.report import Report, show
from kubeproof.terminal import atomic_files
from kubeproof.terminal.console import console, step
from kubeproof.terminal.errors import EXIT_NOT_HOLDING, EXIT_OK, CommandError, UserError
from kubeproof.terminal.summary import Summary
from lab import inventory, machine, node_files, nodes, shell, trees
from lab.mirror import cache
from lab.paths import NODES, REPOSITORY, RESTORING, SNAPSHOTS
from lab.settings import ENVIRONMENT_PREFIX, LabSettings
from lab.wait import wait_until

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
SPARE_GIB = 0.2
"""What nodes write while they start again."""
API_SECONDS = 120
PROOF_SECONDS = 180
"""From the API's first answer until all pods are back; ten to twenty seconds were measured."""
ATTEMPT_SECONDS = 10
NETWORK_SECONDS = 60
FREE_LEASES = (
    *("delete", "--namespace=kube-system", "--ignore-not-found"),
    *("lease/kube-controller-manager", "lease/kube-scheduler"),
)
"""Who held them is gone, and nobody else would take them within 15 s (leaderElection.leaseDuration)."""


@dataclass(frozen=True)
class About:
    """What a snapshot is of: the lab's settings as text, whether a cluster is on the nodes, and when it was taken."""

    settings: dict[str, str]
    deployed: bool
    taken: str
    mib: int


def take(lab: LabSettings, name: str, summary: Summary) -> int:
    """Keep the nodes' files under a name, start the nodes again, and prove the cluster that is on them.

    Returns the proof's exit code. Raises UserError before anything is changed, CommandError.
    """
    _check_new(lab, name)
    size = _size()
    if problems := machine.disk_problems({SNAPSHOTS: size / 1024 + SPARE_GIB}):
        raise UserError(problems)
    summary.check("stop", nodes.stop_all)
    deployed = (node_files.root_of(lab.nodes[0].name) / node_files.KUBELET_CONF).exists()
    about = About(_written(lab), deployed, f"{datetime.now():%Y-%m-%d %H:%M:%S}", size)
    summary.check("copies", lambda: _keep(SNAPSHOTS / name, about))
    return _bring_back(lab, about, summary)


def restore(lab: LabSettings, name: str, summary: Summary) -> int:
    """Put the files of a snapshot back, start the nodes, and prove the cluster that is on them.

    Returns the proof's exit code. One that is interrupted is completed by the next one: until then no node starts.
    Raises UserError before anything is changed, CommandError.
    """
    _require_containers(lab)
    about = _about(name)
    if problems := _problems(lab, name, about):
        raise UserError(problems)
    RESTORING.write_text(name)
    summary.check("end", nodes.kill_all)
    summary.check("files", lambda: _put_back(SNAPSHOTS / name, lab))
    RESTORING.unlink()
    return _bring_back(lab, about, summary)


def remove(name: str) -> None:
    """Delete a snapshot. Raises UserError if there is none of that name."""
    _about(name)
    cache.remove(SNAPSHOTS / name)


def names() -> list[str]:
    return (
        sorted(folder.name for folder in SNAPSHOTS.iterdir() if NAME.fullmatch(folder.name))
        if SNAPSHOTS.exists()
        else []
    )


def show_all() -> None:
    """Print all snapshots: when each was taken, whether it has a cluster, and its size."""
    for name in names():
        about = _about(name)
        what = "with a cluster" if about.deployed else "without a cluster"
        console.print(f"{name}: {about.taken}, {what}, {about.mib} MiB", markup=False)


def _require_containers(lab: LabSettings) -> None:
    inventory.require_up(lab)
    if lab.vm_workers:
        raise UserError("nodes: a lab with virtual machines has no snapshots; set vm_workers to 0 for a lab that has")


def _check_new(lab: LabSettings, name: str) -> None:
    _require_containers(lab)
    if not NAME.fullmatch(name):
        raise UserError(f"{name}: is no name for a snapshot, use lower-case letters, digits, '.', '_' and '-'")
    if name in names():
        raise UserError(f"{name}: there is a snapshot of that name; `./inv lab.snapshots --remove {name}` deletes it")
    if nodes.existing() != sorted(node.name for node in lab.nodes):
        raise UserError("nodes: those that exist are not those of the settings; run `./inv lab.up` first")
    if problems := nodes.check(lab):
        raise UserError(problems)


def _about(name: str) -> About:
    known = names()
    if name in known:
        return About(**json.loads((SNAPSHOTS / name / "about.json").read_text()))
    meant = reading.closest(name, known)
    hint = f"did you mean {meant}?" if meant else f"there are: {', '.join(known) or 'none'}"
    raise UserError(f"{name}: no such snapshot, {hint}")


def _written(lab: LabSettings) -> dict[str, str]:
    # What hosts had when they were made makes no difference later.
    return {key: str(value) for key, value in asdict(lab).items() if key != "hosts"}


def _problems(lab: LabSettings, name: str, about: About) -> list[str]:
    now = _written(lab)
    other = {key: value for key, value in about.settings.items() if now.get(key) != value}
    if other:
        advice = " ".join(f"{ENVIRONMENT_PREFIX}{key.upper()}={value}" for key, value in other.items())
        return [f"{name}: is a snapshot of a lab with other settings; set them again: {advice}"]
    # What is there makes room for what comes.
    return machine.disk_problems({NODES: max(0.0, (about.mib - _size()) / 1024)})


def _size() -> int:
    return int(shell.run(["du", "-sm", NODES]).split()[0])


def _keep(folder: Path, about: About) -> None:
    with cache.creating(folder) as partial, step(f"copies of {', '.join(nodes.existing())}"):
        (partial / "nodes").mkdir(parents=True)

        def keep(name: str) -> None:
            trees.copy(NODES / name, partial / "nodes" / name)
            _note(partial, name, trees.stamps(NODES / name))

        _on_each(keep, nodes.existing())
        (partial / "about.json").write_text(json.dumps(asdict(about), indent=2) + "\n")


def _put_back(folder: Path, lab: LabSettings) -> None:
    wanted = [node.name for node in lab.nodes]

    def put_back(name: str) -> None:
        if name in wanted:
            _note(folder, name, trees.restore(folder / "nodes" / name, NODES / name, _noted(folder, name)))
        else:
            cache.remove(NODES / name)

    with step(f"files of snapshot {folder.name}"):
        _on_each(put_back, sorted({*wanted, *nodes.existing()}))


def _on_each(action: Callable[[str], None], names: Iterable[str]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(action, names))


def _noted(folder: Path, name: str) -> trees.Stamps:
    noted: dict[str, list[int]] = json.loads((folder / f"{name}.json").read_text())
    return {path: (inode, changed) for path, (inode, changed) in noted.items()}


def _note(folder: Path, name: str, stamps: trees.Stamps) -> None:
    """Without a node's stamps the snapshot could not be restored."""
    atomic_files.write(folder / f"{name}.json", json.dumps(stamps))


def _bring_back(lab: LabSettings, about: About, summary: Summary) -> int:
    with ThreadPoolExecutor() as pool:
        # It takes two seconds, in which the nodes boot.
        loading = pool.submit(cluster.load, REPOSITORY / "inventory" / "lab.py") if about.deployed else None
        summary.check("nodes", lambda: nodes.start_all(lab))
    if loading is None:
        summary.show()
        return EXIT_OK
    loaded = loading.result()
    _copy_kubeconfig(loaded)
    with step("the cluster"):
        summary.check("API", lambda: _free_leases(loaded))
        summary.check("network", lambda: _on_each(partial(_hurry_kubelet, loaded), loaded.ssh))
        reports: list[Report] = []
        summary.check("proof", lambda: reports.append(proving.prove_within(loaded, PROOF_SECONDS)))
    show(reports[0], console)
    summary.show()
    return EXIT_OK if reports[0].holds else EXIT_NOT_HOLDING


def _free_leases(loaded: LoadedInventory) -> None:
    """Wait for the API, and have the control plane's programs begin at once."""

    def freed() -> bool:
        try:
            remote_kubectl.capture(loaded, FREE_LEASES, seconds=ATTEMPT_SECONDS)
        except CommandError:
            return False
        return True

    wait_until(freed, seconds=API_SECONDS, what="the API server to answer")


def _hurry_kubelet(loaded: LoadedInventory, name: str) -> None:
    """Restart a node's kubelet when the pod network has come: by itself it looks, and tells, every ten seconds."""
    there = f"ls {CONFIGURATIONS}/*.conf* >/dev/null 2>&1"
    wait = f"for _ in $(seq {NETWORK_SECONDS * 5}); do {there} && break; sleep 0.2; done"
    command = [*loaded.ssh[name].command(), f"{wait}; systemctl restart kubelet"]
    shell.run(command, check=False, timeout=2 * NETWORK_SECONDS)


def _copy_kubeconfig(loaded: LoadedInventory) -> None:
    """The user's copy is of this cluster again; a file that has other clusters' too stays, as in a deploy."""
    path = Path(loaded.cluster.settings.kubeconfig).expanduser()
    if not path.exists() or kubeconfigs.read(path.read_text().splitlines()).is_only_of(loaded.cluster.api_url):
        admin = node_files.root_of(loaded.cluster.leader.name) / paths.ADMIN_CONF.lstrip("/")
        atomic_files.write(path, admin.read_text())
