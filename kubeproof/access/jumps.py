"""Jump hosts by ssh's configuration, where pyinfra's own reading of it differs from ssh's."""

from typing import Any

from paramiko import SSHException
from pyinfra.connectors.sshuserclient import client
from pyinfra.connectors.sshuserclient.config import SSHConfig


def follow_ssh() -> None:
    """Have pyinfra take `ProxyJump none` and the ports of several jump hosts as ssh does.

    And have a jump host with another key than is known fail its own hosts only, with that reason.
    """
    client.SSHConfig = _Config  # type: ignore[misc]
    # Not set before a connection, where a jump host has failed already.
    client.SSHClient._ssh_config = {}


class _Config(SSHConfig):
    def lookup(self, hostname: str) -> Any:
        """Values of a host by option. Raises SSHException for one that is its own jump host."""
        found: Any = super().lookup(hostname)
        if found.get("proxyjump", "").lower() == "none":
            del found["proxyjump"]
        ways = found.get("proxyjump", "").split(",")
        if hostname in (way.rpartition("@")[2].partition(":")[0] for way in ways):
            # Followed, it would end in a RecursionError; ssh itself hangs.
            raise SSHException(f"{hostname} is its own jump host, set `ProxyJump none` for it in ssh's configuration")
        if "port" in found:
            found["port"] = int(found["port"])
        return found
