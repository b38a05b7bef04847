"""What happens in a run of pyinfra, told from within its process: to people, and as lines of JSON to a parent process.

Run by itself, pyinfra has no such parent: then it is only said what a quiet run waits for.
"""

import contextlib
import json
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

import click
import gevent
from paramiko import BadHostKeyException
from pyinfra import host as current_host
from pyinfra import logger
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State
from pyinfra.context import ctx_host

from kubeproof.access import deadlines
from kubeproof.deploy.run_report import FILE, shortened

QUIET_SECONDS = 15
ROUTINE = ("No changes", "Skipped", "Ready:", "Loading config", "Loading inventory")
"""Words of pyinfra's log in lines that tell a person nothing."""

T = TypeVar("T")


def tell(event: str, **details: object) -> None:
    """Write an event for the parent process, if there is one. A secret does not belong in it."""
    if file := os.environ.get(FILE):
        # Not blocking, or opening the pipe of a parent that is gone would wait for ever; then nobody wants to know.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
        with contextlib.suppress(OSError), os.fdopen(os.open(file, flags, 0o600), "w") as events:
            os.set_blocking(events.fileno(), True)
            events.write(json.dumps({"event": event, **details}) + "\n")


def because(*lines: str) -> None:
    """Tell why the present operation would change the present host, while a plan is made for a parent process."""
    if _is_explaining():
        tell("reason", operation=current_host.current_op_hash, host=current_host.name, lines=lines)


def explained(commands: Iterable[T], why: Callable[[], Iterable[str]]) -> Generator[T, None, None]:
    """The commands of another operation. ``why`` is asked only if there are any, and only for a plan."""
    for number, command in enumerate(commands):
        if not number and _is_explaining():
            because(*why())
        yield command


def _is_explaining() -> bool:
    return FILE in os.environ and not current_host.state.is_executing


def listen(state: State) -> None:
    """Hear of all that happens in a run, from before the first connection on."""
    listener = Listener(state)
    initialise = state.init

    def initialise_and_listen(*words: Any, **options: Any) -> None:
        initialise(*words, **options)
        state.add_callback_handler(listener)

    # pyinfra forgets its handlers there, connects next, and runs no code of others in between.
    state.init = initialise_and_listen  # type: ignore[method-assign]
    logger.addHandler(listener)
    logger.addFilter(listener)
    gevent.spawn(listener.watch)


class Listener(BaseStateCallback, logging.Handler):
    """Hears of each operation on each host and of each line that is logged."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state
        self._running: dict[str, tuple[str, float]] = {}
        """Host -> operation, and since when (time.monotonic)."""
        self._errors: dict[str, list[str]] = defaultdict(list)
        """Host -> what was said of its errors during the present operation."""
        self._is_for_nobody = False
        self._last_said = time.monotonic()

    # pyinfra's own are functions of a class; it calls what it finds by name, so that methods do as well.
    def host_connect_error(self, state: State, host: Host, error: ConnectError) -> None:  # type: ignore[override]
        tell("failed", host=host.name, why=str(error.args[0]))
        if isinstance(error.__context__, BadHostKeyException):
            tell("host key changed", host=host.name)

    def operation_start(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        self._running.clear()
        self._errors.clear()
        self._is_for_nobody = not any(op_hash in state.ops[host] for host in state.active_hosts)

    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        if op_hash in state.ops[host]:
            self._running[host.name] = _name(state, op_hash), time.monotonic()

    def operation_host_success(self, state: State, host: Host, op_hash: str, retry_count: int = 0) -> None:  # type: ignore[override]
        self._running.pop(host.name, None)

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self._running.pop(host.name, None)
        # The last line is pyinfra's own, with the number of commands.
        why = shortened(self._errors[host.name][:-1])
        tell("failed", host=host.name, why=": ".join(filter(None, (_name(state, op_hash), why))))

    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        self._is_for_nobody = False
        metas = {
            host.name: operations[op_hash].operation_meta
            for host, operations in state.ops.items()
            if op_hash in operations
        }
        changed = [name for name, meta in metas.items() if meta.is_complete() and meta.did_change()]
        tell("operation", name=_name(state, op_hash), hash=op_hash, hosts=changed, maybe=[])

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is logged at all: an operation that no host is left for is not announced.

        pyinfra goes through all of them, whoever has failed.
        """
        return not (self._is_for_nobody and record.levelno == logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on what a person wants to see, and keep what is said of a host's errors."""
        self._last_said = time.monotonic()
        text = click.unstyle(record.getMessage()).strip()
        if isinstance(sys.exc_info()[1], click.ClickException) or not text:
            return  # how the run ends is the parent's to say
        if text.startswith("Traceback "):
            text = text.splitlines()[-1]
        host = ctx_host.get()
        if host and record.levelno >= logging.WARNING and text.startswith(prefix := f"[{host.name}]"):
            self._errors[host.name] += map(str.strip, text.removeprefix(prefix).strip().splitlines())
        if not any(words in text for words in ROUTINE):
            tell("said", text=text)

    def watch(self) -> None:
        while True:
            gevent.sleep(1)
            for line in self.waiting(time.monotonic()):
                logger.info(f"--> {line}")

    def waiting(self, now: float) -> list[str]:
        """What goes on, a line for each operation; while a plan is made, for each command that hosts are asked."""
        if now - self._last_said < QUIET_SECONDS or not self._state.initialised:
            return []
        hosts: dict[str, list[str]] = defaultdict(list)
        since: dict[str, float] = {}
        for host, name, started in self._going_on():
            hosts[name].append(host)
            since[name] = min(started, since.get(name, now))
        return [
            f"still running for {now - since[name]:.0f} s on {', '.join(sorted(hosts[name]))}: {name}" for name in hosts
        ]

    def _going_on(self) -> list[tuple[str, str, float]]:
        """Host, operation or command, and since when."""
        operations = [(host, *operation) for host, operation in self._running.items()]
        commands = [(host.name, *command) for host in self._state.inventory for command in deadlines.running(host)]
        return operations or commands

    def tell_end(self) -> None:
        """Tell which hosts failed, and what a plan would change."""
        failed = sorted(host.name for host in self._state.failed_hosts)
        tell("end", failed={host: shortened(self._errors[host]) for host in failed})
        if self._state.is_executing:
            return
        for op_hash in self._state.get_op_order():
            hosts: dict[bool, list[str]] = {True: [], False: []}
            for host, operations in self._state.ops.items():
                if op_hash in operations and operations[op_hash].operation_meta.will_change:
                    hosts[bool(operations[op_hash].global_arguments["_if"])].append(host.name)
            tell("operation", name=_name(self._state, op_hash), hash=op_hash, hosts=hosts[False], maybe=hosts[True])


def _name(state: State, op_hash: str) -> str:
    return ", ".join(sorted(state.get_op_meta(op_hash).names))
