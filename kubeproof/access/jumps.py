"""Jump hosts by ssh's configuration, where pyinfra's own reading of it differs from ssh's."""

from collections.abc import Callable
from typing import Any

from paramiko import SSHException
from pyinfra.connectors.sshuserclient import client
from pyinfra.connectors.sshuserclient.config import SSHConfig


def follow_ssh() -> None:
    """Have pyinfra take `ProxyJump none` and the ports of several jump hosts as ssh does.

    And have a jump host with another key than is known, or jump hosts that lead in a circle, fail their own hosts only,
    with that reason.
    """
    client.SSHConfig = _Config  # type: ignore[misc]
    # Not set before a connection, where a jump host has failed already.
    client.SSHClient._ssh_config = {}


def circle(start: str, written_for: Callable[[str], str]) -> str:
    """What is wrong where jump hosts lead back to one of themselves: pyinfra would go on until Python ends it, and ssh
    until the machine does. Empty if they do not.

    ``written_for`` tells the ProxyJump of a host: "none", or hosts with users and ports, as in ssh_config(5).
    """
    found = _circle((start,), written_for)
    if len(found) > 2:
        advice = "set `ProxyJump none` in ssh's configuration for the one that is reached directly"
        return f"jump hosts lead in a circle ({' -> '.join(found)}), {advice}"
    return f"{found[0]} is its own jump host, set `ProxyJump none` for it in ssh's configuration" if found else ""


def _circle(way: tuple[str, ...], written_for: Callable[[str], str]) -> tuple[str, ...]:
    """Hosts from the first that comes again to where it does."""
    written = written_for(way[-1])
    for hop in written.split(",") if written and written.lower() != "none" else ():
        name = hop.strip().rpartition("@")[2].partition(":")[0]
        if name in way:
            return (*way[way.index(name) :], name)
        if found := _circle((*way, name), written_for):
            return found
    return ()


class _Config(SSHConfig):
    def lookup(self, hostname: str) -> Any:
        """Values of a host by option. Raises SSHException for one whose jump hosts lead in a circle."""
        found: Any = super().lookup(hostname)
        if found.get("proxyjump", "").lower() == "none":
            del found["proxyjump"]
        plain = super().lookup
        if wrong := circle(hostname, lambda name: str(plain(name).get("proxyjump", ""))):
            raise SSHException(wrong)
        if "port" in found:
            found["port"] = int(found["port"])
        return found
