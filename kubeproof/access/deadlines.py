"""Deadlines of commands on hosts: what hangs is ended there, and named, with the last that it wrote.

pyinfra's own ``_timeout`` only stops to listen: the command goes on, and what it wrote is lost. timeout(1) on the host
ends it, with all that it has started.
"""

import time
from typing import Any

import gevent
from pyinfra.api.host import Host
from pyinfra.connectors.util import CommandOutput, OutputLine

from kubeproof.config import patience

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

_ATTRIBUTE = "kubeproof_deadlines"


def hold(host: Host) -> None:
    """Have every command on a host end in time: its ``_timeout`` in seconds, or COMMAND_SECONDS, times ``patience``."""
    # Through Any: methods of the classes are set on this one host and its connector.
    asked: Any = host
    if not hasattr(asked.connector, _ATTRIBUTE):
        held = _Deadlines(asked)
        setattr(asked.connector, _ATTRIBUTE, held)
        asked.connector.run_shell_command = held.run_shell_command
        asked.connector.put_file = held.put_file
        asked.get_fact = held.get_fact


def running(host: Host) -> list[tuple[str, float]]:
    """Commands that run on a host now: each shortened, and since when (time.monotonic)."""
    held: _Deadlines | None = getattr(host.connector, _ATTRIBUTE, None)
    return held.running if held else []


class _Deadlines:
    """Stands before a host and its connector."""

    def __init__(self, host: Any) -> None:
        self.running: list[tuple[str, float]] = []
        self._host = host
        self._run, self._put = host.connector.run_shell_command, host.connector.put_file
        self._get_fact = host.get_fact
        self._has_asked_again = False
        self._asking: set[object] = set()
        """Greenlets that find out a fact, which changes nothing on the host."""

    def run_shell_command(self, command: Any, **arguments: Any) -> tuple[bool, CommandOutput]:
        """Run a command; one that hangs is ended on the host, and repeated once for the host if it only asks."""
        seconds = (arguments.pop("_timeout", None) or COMMAND_SECONDS) * SCALE * patience.factor()
        shell = arguments.pop("_shell_executable", None) or "sh"
        ended = {"_shell_executable": f"timeout --kill-after={KILL_SECONDS} {seconds:g} {shell}"}
        shown = _shown(str(command))
        while True:
            started = time.monotonic()
            self.running.append(entry := (shown, started))
            try:
                with gevent.Timeout(seconds + KILL_SECONDS + GRACE_SECONDS, TimeoutError):
                    done, output = self._run(command, **arguments, **ended)
            except TimeoutError:
                done, output = False, CommandOutput([])
            finally:
                self.running.remove(entry)
            if done or time.monotonic() - started < seconds:
                return done, output
            output.combined_lines.append(OutputLine("stderr", f"hung, and was ended after {seconds:.0f} s: {shown}"))
            only_asks = gevent.getcurrent() in self._asking or not self._host.state.is_executing
            if not only_asks or self._has_asked_again:
                return done, output
            # Once, as all of the host may be stuck.
            self._has_asked_again = True

    def get_fact(self, *words: Any, **arguments: Any) -> Any:
        """Find out a fact, knowing that this only asks."""
        asking = gevent.getcurrent()
        self._asking.add(asking)
        try:
            return self._get_fact(*words, **arguments)
        finally:
            self._asking.discard(asking)

    def put_file(self, *words: Any, **arguments: Any) -> bool:
        """Upload a file. Raises ConnectionError if that hangs."""
        seconds = COMMAND_SECONDS * SCALE * patience.factor()
        try:
            with gevent.Timeout(seconds, TimeoutError):
                done: bool = self._put(*words, **arguments)
                return done
        except TimeoutError:
            # pyinfra says nothing more of a TimeoutError.
            raise ConnectionError(f"a file was not taken within {seconds:.0f} s") from None


def _shown(command: str) -> str:
    text = " ".join(command.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"
