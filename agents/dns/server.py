"""dnsmasq as a child: its command line, and the hosts file that it is told to read again."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from agents.dns.records import reverse_zones

CACHE_ENTRIES = 1000
TTL_SECONDS = 5
"""How long a client may keep a name of the cluster, as CoreDNS has it by default."""
CONCURRENT_FORWARDS = 150
HOSTS_FILE_NAME = "hosts"


@dataclass(frozen=True)
class Config:
    """``networks`` (service CIDR, pod CIDR) and ``domain`` are answered for here and never forwarded."""

    domain: str
    networks: tuple[IPv4Network, ...]
    directory: Path = Path("/run/cluster-dns")
    port: int = 53


def upstream_servers(resolv_conf: str, own: Iterable[IPv4Address] = ()) -> list[str]:
    """Name servers of a resolv.conf that a pod can use: no loopback addresses (those are the node's), not itself."""
    found: list[str] = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = IPv4Address(words[1])
        except ValueError:
            continue
        if not address.is_loopback and address not in set(own) and words[1] not in found:
            found.append(words[1])
    return found


def command(config: Config, upstream: Sequence[str]) -> list[str]:
    """dnsmasq in the foreground, logging to standard error; without upstream it refuses outside names at once."""
    zones = [config.domain, *(zone for network in config.networks for zone in reverse_zones(network))]
    return [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--log-facility=-",
        # Another user would need capabilities to change to it; the pod's let root bind port 53 and little else.
        "--user=root",
        "--group=root",
        "--pid-file=",
        f"--port={config.port}",
        "--no-hosts",
        f"--addn-hosts={config.directory / HOSTS_FILE_NAME}",
        "--no-resolv",
        "--no-poll",
        *(f"--server={address}" for address in upstream),
        *(f"--local=/{zone}/" for zone in zones),
        f"--local-ttl={TTL_SECONDS}",
        f"--cache-size={CACHE_ENTRIES}",
        f"--dns-forward-max={CONCURRENT_FORWARDS}",
        "--no-negcache",
        "--domain-needed",
    ]


class Dnsmasq:
    """The running server. Start it once the first hosts file is written: then it is ready as soon as it answers."""

    def __init__(self, config: Config, upstream: Sequence[str]) -> None:
        self._config = config
        self._upstream = upstream
        self._child: subprocess.Popen[bytes] | None = None
        self._text: str | None = None

    def serve(self, hosts: str) -> bool:
        """Answer with the names of this hosts file from now on; False if these were the names already."""
        if hosts == self._text:
            return False
        _write(self._config.directory / HOSTS_FILE_NAME, hosts)
        self._text = hosts
        if self._child is None:
            self._child = subprocess.Popen(command(self._config, self._upstream), stdin=subprocess.DEVNULL)
        else:
            self._child.send_signal(signal.SIGHUP)
        return True

    def exit_code(self) -> int | None:
        """dnsmasq's exit code, None while it runs or has not been started."""
        return None if self._child is None else self._child.poll()

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
    Path(temporary).replace(path)
