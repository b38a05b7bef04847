"""The lab's hosts in the form that a pyinfra inventory wants."""

from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

from kubeproof.terminal.errors import UserError
from kubeproof.terminal.exits import ending_cleanly
from lab import settings
from lab.settings import LabNode, LabSettings, Role

INTERFACES = Path("/sys/class/net")


class HostData(TypedDict):
    address: str
    _sudo: NotRequired[bool]


def hosts(role: Role) -> list[tuple[str, HostData]]:
    """The lab's hosts of a role. Ends the program with exit code 2 while the lab is down."""
    with ending_cleanly():
        lab = settings.load()
        require_up(lab)
    return [(node.name, host_data(node)) for node in lab.nodes if node.role == role]


def host_data(node: LabNode) -> HostData:
    """What is a node's own. Virtual machines are entered by a user with sudo. Pure."""
    return {"address": str(node.address), **({"_sudo": True} if node.vm else {})}  # type: ignore[typeddict-item]


def advice(lab: LabSettings, names: Sequence[str]) -> str:
    """How the lab loses these workers for good, which have left the cluster. Pure."""
    workers = [node.name for node in lab.nodes if node.role == "worker"]
    kept = [name for name in workers if name not in names]
    if kept and kept == workers[: len(kept)]:
        return (
            f"next: `KUBEPROOF_LAB_WORKERS={len(kept)} ./inv lab.up` takes the host away (for good: workers in "
            f"lab/lab.toml); with {len(workers)} workers the next apply makes it a node again"
        )
    return "next: the lab loses its last workers only, by their number; the next apply makes these nodes again"


def require_up(lab: LabSettings, interfaces: Path = INTERFACES) -> None:
    """Raise UserError unless the lab's bridge exists; only then do the lab's addresses stay on this machine."""
    if not (interfaces / lab.bridge).exists():
        raise UserError(f"lab: is down (no bridge {lab.bridge}), start it with `./inv lab.up`")
