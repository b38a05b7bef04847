"""Whose a kubeconfig is. Pure, and without reading its credentials."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

OUTLINE = r"^[[:space:]]*(-[[:space:]]+)?(server|context):"
"""Lines that :func:`read` needs, as an extended regular expression."""
_LINE = re.compile(r"\s*(?:-\s+)?(?P<key>server|context):\s*(?P<value>\S*)")


@dataclass(frozen=True)
class Kubeconfig:
    """What kubectl can reach with a file."""

    servers: tuple[str, ...] = ()
    contexts: int = 0

    def is_only_of(self, server: str) -> bool:
        """Whether a deploy may replace or remove the file: everything in it is for one cluster, the one at ``server``.

        A file that cannot be read as kubectl writes it has no servers, so it is somebody else's.
        """
        return self.servers == (server,) and self.contexts <= 1


def read(lines: Iterable[str]) -> Kubeconfig:
    """Reads the lines of a file in the form in which kubeadm and kubectl write it (YAML, a key on each line)."""
    found = [line for text in lines if (line := _LINE.match(text))]
    servers = tuple(line["value"].strip("\"'") for line in found if line["key"] == "server")
    return Kubeconfig(servers, sum(line["key"] == "context" for line in found))
