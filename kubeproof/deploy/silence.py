"""Says what a run waits for when nothing else has been said for a while; also where pyinfra is run by itself."""

import time

import gevent
from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from kubeproof.access import deadlines

QUIET_SECONDS = 15


class Watch(BaseStateCallback):
    """Hears of each operation on each host, and tells those that go on."""

    def __init__(self) -> None:
        self.going_on: dict[str, tuple[str, float]] = {}
        """Host -> operation, and since when (time.monotonic)."""
        self.news = time.monotonic()

    # pyinfra's own are functions of a class; it calls what it finds by name, so that methods do as well.
    def operation_start(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        self.news = time.monotonic()
        self.going_on.clear()

    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        if op_hash not in state.ops[host]:
            return
        name = ", ".join(sorted(state.get_op_meta(op_hash).names))
        self.going_on[host.name] = name, time.monotonic()

    def operation_host_success(self, state: State, host: Host, op_hash: str, retry_count: int = 0) -> None:  # type: ignore[override]
        self._ended(host)

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self._ended(host)

    def lines(self, now: float) -> list[str]:
        """What goes on, a line for each operation; while a plan is made, for each command that hosts are asked."""
        if now - self.news < QUIET_SECONDS:
            return []
        self.news = now
        hosts: dict[str, list[str]] = {}
        since: dict[str, float] = {}
        operations = [(host, *operation) for host, operation in self.going_on.items()]
        for host, name, started in operations or deadlines.running:
            hosts.setdefault(name, []).append(host)
            since[name] = min(started, since.get(name, now))
        return [
            f"still running for {now - since[name]:.0f} s on {', '.join(sorted(hosts[name]))}: {name}" for name in hosts
        ]

    def _ended(self, host: Host) -> None:
        self.news = time.monotonic()
        self.going_on.pop(host.name, None)


def watch(state: State) -> None:
    """Begin to watch a run, once."""
    if any(isinstance(handler, Watch) for handler in state.callback_handlers):
        return
    watch = Watch()
    state.add_callback_handler(watch)
    gevent.spawn(_tell, watch)


def _tell(watch: Watch) -> None:
    while True:
        gevent.sleep(1)
        for line in watch.lines(time.monotonic()):
            logger.info(f"--> {line}")
