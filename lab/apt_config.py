"""Settings of this machine's own apt, such as its HTTP proxy."""

import re
from collections.abc import Mapping

from lab import shell

_OF_FETCHING = re.compile(r"^(Acquire::(https?::|Retries|ForceIPv[46]|Check-|Queue-Mode)\S*)$")


def read() -> dict[str, str]:
    # They may hold the password of a proxy.
    return parse(shell.run(["apt-config", "dump", "Acquire"], log_output=False))


def parse(dump: str) -> dict[str, str]:
    """Settings from the lines of ``apt-config dump``: ``Name "text";``."""
    return dict(re.findall(r'^(\S+) "(.*)";$', dump, re.MULTILINE))


def render(config: Mapping[str, str]) -> str:
    """Lines of apt.conf that make another apt fetch as this machine's does: proxy, retries and checks."""
    return "".join(f'{name} "{text}";\n' for name, text in config.items() if text and _OF_FETCHING.match(name))
