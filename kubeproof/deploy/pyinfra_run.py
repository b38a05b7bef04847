"""Runs a deploy file with the pyinfra command: progress as it comes, everything in a log file, changes counted.

pyinfra's loader replaces parts of the standard library for its whole process (gevent), so it has one of its own, which
tells what happens through a pipe (kubeproof.deploy.run_events).
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.markup import escape

from kubeproof.access import openssh, sudo
from kubeproof.config import patience
from kubeproof.config.cluster import load
from kubeproof.deploy import run_report
from kubeproof.deploy.run_report import Change, Report
from kubeproof.terminal.console import say
from kubeproof.terminal.errors import CommandError, UserError
from kubeproof.terminal.exits import REPOSITORY

END_SECONDS = 10
"""How long pyinfra may take to disconnect after Ctrl-C before it is ended."""


@dataclass(frozen=True)
class Outcome:
    """What a run did, or what a dry run would do. A change is one operation on one host."""

    changes: tuple[Change, ...]
    failures: Mapping[str, str]
    """Why, by host that failed; empty as far as it is not known."""
    log: Path

    @property
    def count(self) -> int:
        """Number of changes, without those that only a condition may bring."""
        return sum(len(change.hosts) for change in self.changes)

    @property
    def failure(self) -> str:
        """Which hosts failed and why, in one line; those with the same reason together."""
        return run_report.grouped(self.failures)


def run(
    inventory: Path, deploy: Path, *, dry: bool = False, env: Mapping[str, str] | None = None, limit: Iterable[str] = ()
) -> Outcome:
    """Run a deploy file against an inventory file; ``env`` is added to the environment.

    ``limit`` names the hosts to run it on, all by default. Raises UserError with what the deploy refuses before it
    changes anything, and CommandError if pyinfra ends without a result for another reason; hosts that failed are part
    of the outcome.
    """
    log = log_file(f"{deploy.stem}{'-plan' if dry else ''}")
    command = [sys.executable, "-m", "kubeproof.deploy.pyinfra_child", str(inventory), str(deploy)]
    command += ["--dry" if dry else "--yes", "--json", *(word for name in limit for word in ("--limit", name))]
    with log.open("a") as log_text:
        log_text.write(f"$ {' '.join(command)}\n")
        log_text.flush()
        code, report = _watched(command, log_text, {**(env or {}), patience.ENVIRONMENT: f"{patience.factor():g}"})
    for line in changed_host_keys(report, inventory):
        say(escape(line))
    if report.refusal:
        raise UserError(report.refusal)
    if report.broken or not report.is_complete or (code and not report.failures):
        reason = report.broken or f"exit code {code} after: {log.read_text().strip().splitlines()[-1].strip()}"
        raise CommandError(f"pyinfra: ended without a result: {reason} (full log: {log})")
    return Outcome(report.changes, report.failures, log)


def changed_host_keys(report: Report, inventory: Path) -> list[str]:
    """What it means, and what to do, for each host that has another host key than is known."""
    access = load(inventory).ssh if report.changed_keys else {}
    return [f"{host}: {openssh.explanation(access[host])}" for host in report.changed_keys if host in access]


def log_file(name: str) -> Path:
    """An empty log, which only its owner may read, below the machine's log folder for root, else the user's own."""
    folder = Path("/var/log/kubeproof") if os.geteuid() == 0 else Path.home() / ".local/state/kubeproof"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    log.touch(mode=0o600)
    log.chmod(0o600)
    log.write_text("")
    return log


def _watched(command: list[str], log: IO[str], env: Mapping[str, str]) -> tuple[int, Report]:
    """Run, showing progress and answering what is asked; return the exit code and what was told."""
    reading, writing = os.pipe()
    asking, answering = os.pipe()
    with (
        os.fdopen(reading) as events,
        os.fdopen(answering, "w") as answers,
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **env, run_report.FILE: f"/dev/fd/{writing}", run_report.ANSWERS: str(asking)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writing, asking],
        ) as process,
    ):
        os.close(writing)
        os.close(asking)
        try:
            report = run_report.read(_shown(events, answers))
            return process.wait(), report
        except KeyboardInterrupt:
            _end(process)
            raise


def _shown(events: Iterable[str], answers: IO[str]) -> Iterator[str]:
    """Show what is said to people, and answer what is asked; the other events go on."""
    for line in events:
        event = json.loads(line)
        if event["event"] == run_report.ASKED:
            with suppress(OSError):  # it may have ended meanwhile
                answers.write(f"{sudo.typed(event['hosts'])}\n")
                answers.flush()
        elif event["event"] != "said":
            yield line
        for text in event.get("text", "").splitlines():
            say(escape(text.strip()))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ctrl-C has reached pyinfra too, which disconnects; it gets a moment for that."""
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
