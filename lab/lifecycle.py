"""The lab as a whole: from nothing to running nodes, and back to nothing."""

import shutil
from pathlib import Path

from rich.table import Table

from kubeproof.terminal.console import console, say
from kubeproof.terminal.errors import UserError
from kubeproof.terminal.summary import Summary
from lab import host, mirror, network, nodes, preflight
from lab.paths import CACHE, LOG_FILE, RUN, SNAPSHOTS, STATE
from lab.settings import LabSettings


def up(lab: LabSettings, summary: Summary) -> None:
    """Bring up whatever is not; safe to repeat, also after an interruption. Raises UserError, CommandError."""
    summary.check("preflight", lambda: preflight.check(lab))
    summary.change("system packages", lambda: preflight.install_packages(preflight.packages_for(lab)))
    summary.change("lab network", lambda: network.up(lab))
    summary.change("mirror", lambda: mirror.up(lab))
    summary.change("nodes", lambda: nodes.up(lab))


def down(lab: LabSettings, *, everything: bool = False) -> int:
    """Remove the lab from this machine; returns how many things there were to remove.

    Caches stay, and the routes that make the lab's addresses unreachable: something may still send to them, and its
    packets would leave by the uplink. With ``everything`` both go too.
    """
    require_root()
    if kept := sorted(folder.name for folder in SNAPSHOTS.glob("[!.]*")):
        say(f"snapshots go with it: {', '.join(kept)}")
    changes = nodes.down() + mirror.down(lab) + network.down(lab) + _remove(STATE) + _remove(RUN)
    if everything:
        return changes + network.remove_guards(lab) + _remove(CACHE) + _remove(LOG_FILE.parent)
    say(
        f"kept: what was built ({CACHE}), logs ({LOG_FILE.parent}), Debian packages, and routes that make "
        f"{', '.join(map(str, network.guarded(lab)))} unreachable until the machine reboots; "
        "`./inv lab.down --all` removes all of it but the packages"
    )
    return changes


def show_status(lab: LabSettings) -> bool:
    """Print what runs; return whether all of it does."""
    table = Table("what", "address", "state", "memory", "disk", box=None, pad_edge=False, header_style="bold")
    network_up = network.is_up(lab)
    table.add_row(f"bridge {lab.bridge}", str(lab.gateway), "up" if network_up else "down")
    services = mirror.status(lab)
    for name, url, state in services:
        table.add_row(name, url.removeprefix("http://"), state)
    states = nodes.status(lab)
    for node in states:
        table.add_row(node.name, node.address, node.state, _mib(node.memory_mib), _mib(node.disk_mib))
    console.print(table)
    if host.lacks_sys_resource():
        say("runc shim: in use, because root lacks CAP_SYS_RESOURCE on this machine (OOM scores are not adjusted)")
    else:
        say("runc shim: not needed on this machine")
    running = all(nodes.is_running(node.name) for node in lab.nodes)
    return network_up and running and all(state.startswith("running") for _, _, state in services)


def require_root() -> None:
    """Raise UserError unless this is root."""
    if not host.is_root():
        raise UserError("user: the lab's devices and containers need root, run it with sudo")


def _remove(folder: Path) -> int:
    if not folder.exists():
        return 0
    # Not by a logged command: one of these folders is the log's.
    shutil.rmtree(folder)
    return 1


def _mib(size: int | None) -> str:
    return "" if size is None else f"{size} MiB"
