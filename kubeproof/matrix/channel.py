"""Channels to clients: a process that answers a line of JSON with a line of JSON, for a whole run.

A pod's client runs by `kubectl exec` over ssh. Its streams go over the nodes' own network, so no policy touches them.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from kubeproof.access import remote_kubectl
from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.patience import patient
from kubeproof.deploy import pyinfra_run
from kubeproof.matrix.cases import Json
from kubeproof.matrix.layout import OUTSIDE, channel_pod
from kubeproof.terminal.exits import REPOSITORY

T = TypeVar("T")

OPEN_SECONDS = 30.0
"""kubectl's start, the exec, and Python's start, while others do the same on the same processor."""
ANSWER_SECONDS = 20.0
"""Longest time of one line; attempts end after a second or two by themselves."""
OPENING_AT_ONCE = 4
"""sshd refuses some connections beyond ten that are not logged in yet (sshd_config(5), MaxStartups 10:30:100)."""
KEEPALIVE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=10")
"""A host that falls silent ends a channel, and its cells say so."""
CLIENT = ("-m", "agents.probe", "client")


class ChannelError(Exception):
    """A channel that does not answer; says why in one line."""


class Asked(Protocol):
    """What the runner needs of channels; tests have their own."""

    def open(self) -> Mapping[str, str]:
        """Start all clients; those that did not start -> why."""
        ...

    def ask(self, requests: Mapping[str, Json]) -> dict[str, Json]:
        """One request for each client, all at once; an answer with "problem" for a channel that is dead."""
        ...

    def close(self) -> None:
        """End all clients."""
        ...


class Channel:
    """One process, started when it is first asked and once more after it has died."""

    def __init__(self, name: str, command: Sequence[str], log: Path, first: str = "") -> None:
        """``first`` is written before the first request of each process, and not logged."""
        self.name = name
        self._first = first
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._closed = False

    def ask(self, request: Json, *, seconds: float = ANSWER_SECONDS) -> Json:
        """Send a request and wait for its answer. Raises ChannelError; a process that is dead is started again."""
        if self._process is None or self._process.poll() is not None:
            self.open()
        return self._exchange(request, patient(seconds))

    def open(self) -> None:
        """Start the process and wait until it says hello. Raises ChannelError."""
        self._end()
        if self._closed:
            raise ChannelError(f"channel to {self.name}: is closed")
        try:
            self._start()
        except OSError as error:
            raise ChannelError(f"channel to {self.name}: {error}") from None
        self._exchange({"do": "hello"}, patient(OPEN_SECONDS), self._first)

    def close(self) -> None:
        """End the process for good; the client in the pod ends with its input."""
        self._closed = True
        self._end()

    def _start(self) -> None:
        self._rest = b""
        with self._log.open("ab") as log:
            log.write(f"$ {' '.join(self._command)}\n".encode())
            log.flush()
            # In a session of its own: Ctrl-C is for this program, which still needs its channels to clean up.
            self._process = subprocess.Popen(
                self._command,
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        end(process)
        # Last: a thread that still waits for an answer wakes up by the end of the process, not by this.
        if process.stdout is not None:
            process.stdout.close()

    def _exchange(self, request: Json, seconds: float, first: str = "") -> Json:
        text = f"{first}{json.dumps(request, separators=(',', ':'))}\n"
        try:
            self._write(text.encode(), time.monotonic() + seconds)
            answer = json.loads(self._line(time.monotonic() + seconds))
        except (OSError, ValueError, ChannelError) as error:
            self._end()
            raise ChannelError(f"channel to {self.name}: {error} {last_words(self._log)}") from None
        if not isinstance(answer, dict):
            self._end()
            raise ChannelError(f"channel to {self.name}: the answer is no JSON object")
        return answer

    def _write(self, data: bytes, end: float) -> None:
        """Without blocking for ever where the other side reads nothing."""
        assert self._process is not None  # noqa: S101  # open() has been called
        assert self._process.stdin is not None  # noqa: S101
        descriptor = self._process.stdin.fileno()
        os.set_blocking(descriptor, False)
        while data:
            _, writable, _ = select.select([], [descriptor], [], max(0.0, end - time.monotonic()))
            if not writable:
                raise ChannelError("takes no more requests")
            data = data[os.write(descriptor, data) :]

    def _line(self, end: float) -> bytes:
        assert self._process is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        descriptor = self._process.stdout.fileno()
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            readable, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
            if not readable:
                raise ChannelError("no answer in time")
            data = os.read(descriptor, 1 << 16)
            if not data:
                raise ChannelError("ended")
            parts.append(data)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line


def end(process: "subprocess.Popen[bytes]") -> None:
    """Have a process end, by force if it does not within two seconds."""
    process.terminate()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_words(log: Path) -> str:
    """What a process wrote to its log before it died, in brackets."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    last = lines[-1].strip() if lines and not lines[-1].startswith("$ ") else "without a word"
    return f"({last}; log: {log})"


class Channels:
    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = {channel.name: channel for channel in channels}
        self._given_up: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(max_workers=max(1, len(channels)))

    @classmethod
    def to(cls, loaded: LoadedInventory, clients: Sequence[str]) -> "Channels":
        """Channels to the clients of a layout, not open yet."""
        logs = {name: pyinfra_run.log_file(f"matrix-{name.replace('/', '-')}") for name in clients}
        given = {OUTSIDE: ""}
        of_leader = remote_kubectl.leader_input(loaded)
        return cls(
            [Channel(name, client_command(loaded, name), log, given.get(name, of_leader)) for name, log in logs.items()]
        )

    def open(self) -> dict[str, str]:
        """Open all, a few at a time; name -> why, for those that did not open."""
        with ThreadPoolExecutor(max_workers=OPENING_AT_ONCE) as pool:
            list(pool.map(lambda channel: self._twice(channel.name, channel.open), self._channels.values()))
        return dict(self._given_up)

    def ask(self, requests: Mapping[str, Json]) -> dict[str, Json]:
        """All at once. A channel that dies is opened again and asked once more; then it is given up for good."""

        def ask_one(name: str) -> Json:
            if name not in self._given_up:
                answer = self._twice(name, lambda: self._channels[name].ask(requests[name]))
                if answer is not None:
                    return answer
            return {"problem": self._given_up[name]}

        return dict(zip(requests, self._pool.map(ask_one, requests), strict=True))

    def _twice(self, name: str, action: Callable[[], T]) -> T | None:
        """What it returns the first time or the second. A channel that fails twice would cost each case its time."""
        for _ in range(2):
            try:
                return action()
            except ChannelError as error:
                reason = str(error)
        self._given_up[name] = reason
        return None

    def close(self) -> None:
        """End all clients for good, at the same time."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with ThreadPoolExecutor(max_workers=max(1, len(self._channels))) as pool:
            list(pool.map(lambda channel: channel.close(), self._channels.values()))


def client_command(loaded: LoadedInventory, client: str) -> list[str]:
    if client == OUTSIDE:
        return [sys.executable, *CLIENT]
    namespace, pod = channel_pod(client)
    words = ["exec", "-i", "-n", namespace, pod, "--", "/usr/bin/python3", *CLIENT]
    ssh, *rest = remote_kubectl.command(loaded, words, terminal=False)
    return [ssh, *KEEPALIVE, *rest]
