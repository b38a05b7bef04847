"""The lab's hosts in the form that a pyinfra inventory wants."""

from pathlib import Path
from typing import TypedDict

from kubeproof.errors import UserError
from kubeproof.front import ending_cleanly
from lab import settings
from lab.settings import LabSettings, Role

INTERFACES = Path("/sys/class/net")


class HostData(TypedDict):
    """What pyinfra is told of a host."""

    address: str


def hosts(role: Role) -> list[tuple[str, HostData]]:
    """The lab's hosts of a role. Ends the program with exit code 2 while the lab is down."""
    with ending_cleanly():
        lab = settings.load()
        require_up(lab)
    return [(node.name, {"address": str(node.address)}) for node in lab.nodes if node.role == role]


def require_up(lab: LabSettings, interfaces: Path = INTERFACES) -> None:
    """Raise UserError unless the lab's bridge exists; only then do the lab's addresses stay on this machine."""
    if not (interfaces / lab.bridge).exists():
        raise UserError(f"lab: is down (no bridge {lab.bridge}), start it with `./inv lab.up`")
