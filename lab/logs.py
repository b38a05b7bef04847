"""Log files of the lab: for root only, as programs write addresses with passwords to them."""

import os
from pathlib import Path
from typing import BinaryIO

FOLDER_MODE = 0o711
"""The mirror's daemons run as users of their own, and have to get through to their folders."""
FILE_MODE = 0o600


def appending(file: Path) -> BinaryIO:
    """Open a log for appending, its folder made. Raises PermissionError for users who may not write it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    log = open(file, "ab", opener=lambda path, flags: os.open(path, flags, FILE_MODE))  # noqa: SIM115
    if os.geteuid() == 0:
        file.parent.chmod(FOLDER_MODE)
        os.fchmod(log.fileno(), FILE_MODE)
    return log
