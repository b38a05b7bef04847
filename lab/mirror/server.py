"""The mirror's apt repositories for nodes, which have no route to any other: files by HTTP on the lab gateway."""

from pathlib import Path
from typing import TYPE_CHECKING

from lab import paths
from lab.mirror.daemons import Daemon

if TYPE_CHECKING:
    from lab.settings import LabSettings

PROGRAM = "/usr/bin/python3"
"""Debian's, which every user may run."""
SOURCE = Path(__file__).with_name("serving.py")


def daemon(lab: "LabSettings") -> Daemon:
    """The server; it can read what everybody can, and writes nothing."""
    program = paths.MIRROR / SOURCE.name
    return Daemon(
        name="apt-repository",
        command=(PROGRAM, "-I", str(program), str(lab.gateway), str(lab.apt_port), str(paths.APT_ROOT)),
        user="nobody",
        address=lab.gateway,
        port=lab.apt_port,
        # A copy: the project may lie where only its owner gets.
        config=lambda: {program: SOURCE.read_text()},
    )
