"""Settings of the machine's kernel that nodes change for everybody: they have no namespace of their own.

kubelet sets them. The machine gets them back when the lab is removed.
"""

import json
from pathlib import Path

from kubeproof.node.record import KUBELETS_SYSCTLS as SYSCTLS
from lab.paths import STATE

FILE = STATE / "sysctls.json"


def remember(file: Path = FILE) -> None:
    """Note the values, once, before the first node starts."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({name: _path(name).read_text().strip() for name in SYSCTLS if _path(name).exists()}))


def restore(file: Path = FILE) -> int:
    """Write the noted values back; return how many had changed."""
    if not file.exists():
        return 0
    changed = [
        (name, value)
        for name, value in json.loads(file.read_text()).items()
        if _path(name).read_text().strip() != value
    ]
    for name, value in changed:
        _path(name).write_text(value)
    return len(changed)


def _path(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))
