"""Settings of this machine's own apt, such as its HTTP proxy."""

import re

from lab import shell


def read() -> dict[str, str]:
    """All settings below Acquire, by name."""
    return parse(shell.run(["apt-config", "dump", "Acquire"]))


def parse(dump: str) -> dict[str, str]:
    """Settings from the lines of ``apt-config dump``: ``Name "text";``."""
    return dict(re.findall(r'^(\S+) "(.*)";$', dump, re.MULTILINE))
