"""Runs a deploy file with the pyinfra command: progress as it comes, everything in a log file, changes counted.

pyinfra's loader replaces parts of the standard library for its whole process (gevent), so it has one of its own. The
counts are those of its JSON output, not read from text that is made for people.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from rich.markup import escape

from kubeproof.access import host_keys, patience
from kubeproof.config.cluster import load
from kubeproof.deploy import reasons
from kubeproof.terminal.console import say
from kubeproof.terminal.errors import CommandError, UserError
from kubeproof.terminal.exits import REPOSITORY

END_SECONDS = 10
"""How long pyinfra may take to disconnect after Ctrl-C before it is ended."""
_UNCHANGED = re.compile(r"^\[.*\]\s+(No changes|Ready|Loaded fact|Skipped)|^-->.*(config|inventory)\.\.\.$")
_OF_HOST = re.compile(r"\[(?P<host>[^\]]+)\]\s+(?P<text>.*)")
_REFUSED = re.compile(r"^--> pyinfra error(?: in \S+ line \d+)?:(?P<problem>.*)")
"""What deploy code refuses (DeployError), its first line; pyinfra says nothing after it."""
_NOBODY_LEFT = "No hosts remaining!"
"""Also an error of pyinfra's, but of its hosts: each of them has failed."""
_CHANGED_KEY = re.compile(r"\[([^\]]+)\].*Host key for .* does not match")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Change:
    """An operation and the hosts that it changed, or would change; ``maybe`` are those where a condition decides."""

    operation: str
    hosts: tuple[str, ...]
    maybe: tuple[str, ...] = ()
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why, by host: lines for people, where the operation has said so in a dry run."""


@dataclass(frozen=True)
class Outcome:
    """What a run did, or what a dry run would do. A change is one operation on one host."""

    changes: tuple[Change, ...]
    failed_hosts: tuple[str, ...]
    log: Path
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why, by host, as far as the log tells."""

    @property
    def count(self) -> int:
        """Number of changes, without those that only a condition may bring."""
        return sum(len(change.hosts) for change in self.changes)

    @property
    def failure(self) -> str:
        """Which hosts failed and why, in one line; those with the same reason together."""
        return grouped({host: self.failures.get(host, "") for host in self.failed_hosts})


def run(
    inventory: Path,
    deploy: Path,
    *,
    dry: bool = False,
    env: Mapping[str, str] | None = None,
    limit: Iterable[str] = (),
) -> Outcome:
    """Run a deploy file against an inventory file; ``env`` is added to the environment.

    ``limit`` names the hosts to run it on, all by default. Raises UserError with what the deploy refuses before it
    changes anything, and CommandError if pyinfra ends without a result for another reason; hosts that failed are part
    of the outcome.
    """
    log = log_file(f"{deploy.stem}{'-plan' if dry else ''}")
    command = [sys.executable, "-m", "pyinfra", str(inventory), str(deploy), "--dry" if dry else "--yes", "--json"]
    command += [word for name in limit for word in ("--limit", name)]
    with (
        tempfile.TemporaryFile("w+") as output,
        tempfile.NamedTemporaryFile("r") as notes,
        log.open("w") as log_text,
    ):
        log_text.write(f"$ {' '.join(command)}\n")
        noting = {reasons.FILE: notes.name} if dry else {}
        noting[patience.ENVIRONMENT] = f"{patience.factor():g}"
        code, last = _stream(command, output, log_text, {**(env or {}), **noting})
        noted = notes.read()
        output.seek(0)
        document = output.read()
        log_text.write(document + noted)
    for line in changed_host_keys(log.read_text(), inventory):
        say(escape(line))
    if problems := refused(log.read_text().splitlines()):
        raise UserError(problems)
    read = outcome(_document(document, code, last, log), log, noted)
    if code and not read.failed_hosts:
        # The document of a dry run names no hosts that failed.
        read = replace(read, failed_hosts=unprepared(log.read_text().splitlines()))
        if not read.failed_hosts:
            raise CommandError(f"pyinfra: ended with exit code {code}, naming no host (full log: {log})")
    return replace(read, failures=failures(log.read_text().splitlines()))


def outcome(document: Mapping[str, Any], log: Path, noted: str = "") -> Outcome:
    """Read pyinfra's JSON: its plan after a dry run, with the reasons that were ``noted`` in it, else its results."""
    results = document["results"]
    if results is None:
        why: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        for operation, host, lines in reasons.read(noted):
            why[operation][host] = lines
        changes = [
            Change(
                item["name"],
                tuple(item["hosts_with_change"]),
                tuple(item["hosts_with_conditional_change"]),
                why.get(item["op_hash"], {}),
            )
            for item in document["plan"]
        ]
        failed: tuple[str, ...] = ()
    else:
        changes = [Change(item["name"], tuple(item["success"])) for item in results["operations"]]
        failed = tuple(results["failed_hosts"])
    return Outcome(tuple(change for change in changes if change.hosts or change.maybe), failed, log)


def failures(lines: Iterable[str]) -> dict[str, str]:
    """Why hosts failed, by pyinfra's log: the operation, and the first that the host said of it. Pure."""
    found: dict[str, str] = {}
    said: dict[str, list[str]] = {}
    operation = host = ""
    for line in lines:
        text = _ANSI.sub("", line).strip()
        if text.startswith("--> "):
            operation, host, said = text.removeprefix("--> Starting operation:").strip(), "", {}
        elif of_host := _OF_HOST.match(text):
            host, words = of_host["host"], of_host["text"].strip()
            if words.startswith("Error: executed"):
                found.setdefault(host, f"{operation}: {_shortened(said.get(host, []))}".rstrip(": "))
            elif operation.startswith("--> Connecting") and not words.startswith("Connected"):
                found.setdefault(host, words)
            said.setdefault(host, []).append(words)
        elif text and host:
            said[host].append(text)
    return found


def _shortened(said: list[str]) -> str:
    """The first line, and if more are announced the last of them."""
    return f"{said[0]} {said[-1]}" if said[1:] and said[0].endswith(":") else "".join(said[:1])


def grouped(reasons_by_host: Mapping[str, str]) -> str:
    """Hosts with their reasons in one line. Pure."""
    together: dict[str, list[str]] = defaultdict(list)
    for host, reason in reasons_by_host.items():
        together[reason].append(host)
    return "; ".join(", ".join(hosts) + (f" ({reason})" if reason else "") for reason, hosts in together.items())


def unprepared(lines: Iterable[str]) -> tuple[str, ...]:
    """Hosts of which pyinfra's log tells something, but not that their operations were prepared."""
    told = [found for line in lines if (found := _OF_HOST.match(_ANSI.sub("", line).strip()))]
    ready = {found["host"] for found in told if found["text"].startswith("Ready")}
    return tuple(dict.fromkeys(found["host"] for found in told if found["host"] not in ready))


def refused(lines: Iterable[str]) -> tuple[str, ...]:
    """What deploy code has refused, by pyinfra's log, a line for each problem; empty if it has not."""
    found: list[str] | None = None
    for line in lines:
        text = _ANSI.sub("", line).strip()
        if first := _refusal(text):
            found = [first["problem"].strip()]
        elif found is not None and text.startswith(("Traceback ", "--> ")):
            # Of other hosts, whose connections are closed while they are asked.
            break
        elif found is not None:
            found.append(text)
    return tuple(filter(None, found or ()))


def _refusal(text: str) -> re.Match[str] | None:
    """A line in which a refusal begins; its first problem may be on the next one."""
    first = _REFUSED.match(text)
    return None if first and first["problem"].strip() == _NOBODY_LEFT else first


def changed_host_keys(log: str, inventory: Path) -> list[str]:
    """What it means, and what to do, for each host that pyinfra's log says has another host key than is known."""
    hosts = list(dict.fromkeys(_CHANGED_KEY.findall(_ANSI.sub("", log))))
    access = load(inventory).ssh if hosts else {}
    return [f"{host}: {host_keys.explanation(access[host])}" for host in hosts if host in access]


def log_file(name: str) -> Path:
    """An empty log, which only its owner may read, below the machine's log folder for root, else the user's own."""
    folder = Path("/var/log/kubeproof") if os.geteuid() == 0 else Path.home() / ".local/state/kubeproof"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    log.touch(mode=0o600)
    log.chmod(0o600)
    log.write_text("")
    return log


def progress(lines: Iterator[str]) -> Iterator[str]:
    """The lines that tell a person something: not what is as it should be, and of a traceback only its last line.

    What is refused is left out too: it is the command's own answer.
    """
    trace: list[str] = []
    is_refused = False
    for line in lines:
        text = _ANSI.sub("", line).strip()
        is_refused = is_refused or bool(_refusal(text))
        if not text or is_refused or _UNCHANGED.search(text):
            continue
        if trace or text.startswith("Traceback "):
            trace.append(text)
        else:
            yield text
    yield from trace[-1:]


def _stream(command: list[str], output: IO[str], log: IO[str], env: Mapping[str, str]) -> tuple[int, str]:
    """Run, showing progress; return the exit code and the last line shown."""
    last = ""
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            for last in progress(_tee(process.stderr, log)):
                say(escape(last))
            return process.wait(), last
        except KeyboardInterrupt:
            _end(process)
            raise


def _tee(lines: IO[str] | None, log: IO[str]) -> Iterator[str]:
    for line in lines or ():
        log.write(line)
        log.flush()
        yield line


def _end(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C has reached pyinfra too, which disconnects; it gets a moment for that."""
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _document(text: str, code: int, last: str, log: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        reason = last.removeprefix("--> ") or f"exit code {code}"
        if reason.endswith(_NOBODY_LEFT) and (found := failures(log.read_text().splitlines())):
            raise CommandError(f"failed on every host: {grouped(found)} (full log: {log})") from None
        raise CommandError(f"pyinfra: ended without a result: {reason} (full log: {log})") from None
    return document if isinstance(document, dict) else {}
