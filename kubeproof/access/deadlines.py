"""Deadlines of commands on hosts: what hangs is ended there, and named, with the last that it wrote.

pyinfra's own ``_timeout`` only stops to listen: the command goes on, and what it wrote is lost. timeout(1) on the host
ends it, with all that it has started.
"""

import time
from collections.abc import Callable
from typing import Any

import gevent
from pyinfra.api.host import Host
from pyinfra.connectors.util import CommandOutput, OutputLine

from kubeproof.access import patience

COMMAND_SECONDS = 180
"""For most commands. systemd gives a service 90 seconds to stop and as many to start (DefaultTimeoutStartSec)."""
LISTS_SECONDS = 300
PACKAGES_SECONDS = 1200
IMAGES_SECONDS = 1200
"""For what is downloaded, by a slow network."""
KUBEADM_SECONDS = 600
"""kubeadm itself waits four minutes for a control plane, and five for a kubelet's certificate."""
RETRIES = 1
"""How often what is downloaded is tried again when it failed or hung."""
KILL_SECONDS = 10
"""How long a command that is told to end may take for it."""
GRACE_SECONDS = 15
"""How much later the host is no longer waited for: its timeout(1) may be stuck like everything else on it."""
SCALE = 1.0
"""Factor for all of these beside the setting ``patience``, for tests that have less than the setting may be."""
SHOWN = 100
"""Characters of a command that are shown."""

running: list[tuple[str, str, float]] = []
"""Commands that run now: host, the command, shortened, and since when (time.monotonic)."""


def hold(host: Host) -> None:
    """Have every command on a host end in time: its ``_timeout`` in seconds, or COMMAND_SECONDS, times ``patience``."""
    connector: Any = host.connector
    if not hasattr(connector, "kubeproof_deadlines"):
        connector.kubeproof_deadlines = True
        connector.run_shell_command = _within(host, connector.run_shell_command)
        connector.put_file = _uploading(connector.put_file)
        # Through Any: a method of the class is set on this one host.
        asked: Any = host
        asked.get_fact = _asking(host.get_fact)


def _within(host: Host, inner: Callable[..., tuple[bool, CommandOutput]]) -> Callable[..., tuple[bool, CommandOutput]]:
    def run_shell_command(command: Any, **arguments: Any) -> tuple[bool, CommandOutput]:
        seconds = (arguments.pop("_timeout", None) or COMMAND_SECONDS) * SCALE * patience.factor()
        shell = arguments.pop("_shell_executable", None) or "sh"
        ended = {"_shell_executable": f"timeout --kill-after={KILL_SECONDS} {seconds:g} {shell}"}
        shown = _shown(str(command))
        while True:
            started = time.monotonic()
            running.append(entry := (host.name, shown, started))
            try:
                with gevent.Timeout(seconds + KILL_SECONDS + GRACE_SECONDS, TimeoutError):
                    done, output = inner(command, **arguments, **ended)
            except TimeoutError:
                done, output = False, CommandOutput([])
            finally:
                running.remove(entry)
            if done or time.monotonic() - started < seconds:
                return done, output
            output.combined_lines.append(OutputLine("stderr", f"hung, and was ended after {seconds:.0f} s: {shown}"))
            only_asks = gevent.getcurrent() in _asks or not host.state.is_executing
            if not only_asks or host.name in _asked_again:
                return done, output
            # What only asks can be repeated; once, as all of the host may be stuck.
            _asked_again.add(host.name)

    return run_shell_command


def _asking(inner: Callable[..., Any]) -> Callable[..., Any]:
    def get_fact(*words: Any, **arguments: Any) -> Any:
        asking = gevent.getcurrent()
        _asks.add(asking)
        try:
            return inner(*words, **arguments)
        finally:
            _asks.discard(asking)

    return get_fact


def _uploading(inner: Callable[..., bool]) -> Callable[..., bool]:
    def put_file(*words: Any, **arguments: Any) -> bool:
        seconds = COMMAND_SECONDS * SCALE * patience.factor()
        try:
            with gevent.Timeout(seconds, TimeoutError):
                return inner(*words, **arguments)
        except TimeoutError:
            # pyinfra says nothing more of a TimeoutError.
            raise ConnectionError(f"a file was not taken within {seconds:.0f} s") from None

    return put_file


_asked_again: set[str] = set()
_asks: set[object] = set()
"""Greenlets that find out a fact, which changes nothing on a host."""


def _shown(command: str) -> str:
    text = " ".join(command.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"
